// sampling.js - From scores to probabilities, and from probabilities to the next token.
//
// The same seed gives the same text as `toy-gpt infer --seed`: the generator is the one of Python's random module.
//
// It knows only numbers, no models or tokens.

const STATE_SIZE = 624;
const STATE_MIDDLE = 397;

/**
 * @typedef {{temperature: number, topP: number, seed: number}} Sampling
 *     temperature: 0 is greedy, always the most likely token; 1 draws from the model's own probabilities. topP: draw
 *     only from the most likely tokens that together have this probability. seed: a whole number of 0 or more.
 */

/**
 * Turn scores (logits) into probabilities: exp(score) over the sum of all exp(score).
 *
 * @type {(scores: ArrayLike<number>) => Float64Array}
 */
export function softmax(scores) {
  const probs = Float64Array.from(scores);
  // WHY: shifting all scores changes no ratio, and exp(0) becomes the largest term, so nothing overflows.
  const top = probs[argmax(probs)];
  let total = 0;
  for (let i = 0; i < probs.length; i++) {
    probs[i] = Math.exp(probs[i] - top);
    total += probs[i];
  }
  for (let i = 0; i < probs.length; i++) {
    probs[i] /= total;
  }
  return probs;
}

/**
 * Return the index of the largest number, the first one if several are largest.
 *
 * @type {(numbers: ArrayLike<number>) => number}
 */
export function argmax(numbers) {
  let best = 0;
  for (let i = 1; i < numbers.length; i++) {
    if (numbers[i] > numbers[best]) {
      best = i;
    }
  }
  return best;
}

/**
 * Return the indices of the k largest numbers, the largest first, ties by index; all if there are fewer.
 *
 * @type {(numbers: ArrayLike<number>, k: number) => number[]}
 */
export function topK(numbers, k) {
  const places = Array.from(numbers, (_, i) => i);
  return places.sort((i, j) => numbers[j] - numbers[i] || i - j).slice(0, k);
}

/**
 * Choose the next token from its distribution.
 *
 * @param {ArrayLike<number>} probs - A probability for each token.
 * @param {Sampling} sampling
 * @param {() => number} random - Returns a number from 0 to below 1.
 * @returns {number} A token id.
 */
export function chooseToken(probs, { temperature = 0, topP = 1 }, random) {
  if (!(temperature >= 0 && temperature <= 100)) {
    throw new Error(`the temperature must be from 0 to 100, got ${temperature}`);
  }
  if (!(topP > 0 && topP <= 1)) {
    throw new Error(`top-p must be above 0 and at most 1, got ${topP}`);
  }
  const best = argmax(probs);
  if (temperature === 0) {
    return best;
  }
  // p to the power 1/T is softmax(log p / T): the temperature divides the logits. Dividing by the largest
  // probability first keeps all the powers from underflowing.
  const weights = Float64Array.from(probs, (p) => (p / probs[best]) ** (1 / temperature));
  const ranked = topK(weights, weights.length);
  let total = 0;
  const sums = ranked.map((id) => (total += weights[id]));
  const limit = topP * total;
  const reached = sums.findIndex((sum) => sum >= limit);
  const nucleus = reached < 0 ? sums.length : reached + 1;
  const drawn = random() * sums[nucleus - 1];
  const place = sums.findIndex((sum) => sum > drawn);
  return ranked[place < 0 ? nucleus - 1 : Math.min(place, nucleus - 1)];
}

/**
 * Return the part of a text that a model uses: its last N ids.
 *
 * @type {(ids: number[], contextSize: number) => number[]}
 */
export function lastIds(ids, contextSize) {
  return ids.slice(Math.max(ids.length - contextSize, 0));
}

// --- random numbers -----------------------------------------------------------------------------------------

/**
 * Return a generator of numbers from 0 to below 1: those of Python's random.Random(seed).
 *
 * Source: Matsumoto and Nishimura (1998), "Mersenne Twister: a 623-dimensionally equidistributed uniform
 * pseudo-random number generator".
 *
 * @param {number} seed - A whole number of 0 or more.
 * @returns {() => number}
 */
export function seededRandom(seed) {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new Error(`the seed must be a whole number of 0 or more, got ${seed}`);
  }
  const state = stateOfSeed(seed);
  let place = STATE_SIZE;
  const next = () => {
    if (place === STATE_SIZE) {
      twist(state);
      place = 0;
    }
    let y = state[place++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
  // 53 bits: as many as a double holds.
  return () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53;
}

/** Mix the 32-bit words of a seed into a state. */
function stateOfSeed(seed) {
  const words = seed < 2 ** 32 ? [seed] : [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
  const state = new Uint32Array(STATE_SIZE);
  state[0] = 19650218;
  for (let i = 1; i < STATE_SIZE; i++) {
    state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  }
  let i = 1;
  const mix = (factor, added) => {
    state[i] = (state[i] ^ Math.imul(state[i - 1] ^ (state[i - 1] >>> 30), factor)) + added;
    if (++i === STATE_SIZE) {
      state[0] = state[STATE_SIZE - 1];
      i = 1;
    }
  };
  for (let k = 0; k < STATE_SIZE; k++) {
    const j = k % words.length;
    mix(1664525, words[j] + j);
  }
  for (let k = 1; k < STATE_SIZE; k++) {
    mix(1566083941, -i);
  }
  state[0] = 0x80000000;
  return state;
}

/** Compute the next 624 words of a state. */
function twist(state) {
  for (let i = 0; i < STATE_SIZE; i++) {
    const y = (state[i] & 0x80000000) | (state[(i + 1) % STATE_SIZE] & 0x7fffffff);
    state[i] = state[(i + STATE_MIDDLE) % STATE_SIZE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
  }
}
