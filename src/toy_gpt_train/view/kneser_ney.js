// kneser_ney.js - Rung 450: what to do when a context was never seen? Ask a shorter one.
//
//     p(w | h) = (c(h w) - D(c(h w))) / c(h)  +  gamma(h) p(w | h without its oldest token)
//
// Concepts:
//     gram: a context of N values, oldest first, and the token that came after it, with a count.
//     continuation count: below the longest context, after how many different older values a token came.
//     memory: the grams of one length, and what follows from them for all shorter contexts.
//
// WHY sorted: the file holds the longest contexts only. Sorted by the newest value, then the next older one, and so
// on, all grams whose contexts end alike lie together, at every length. So a context is a range, and what came after
// it is counted when it is asked for. Loading is a sort and nothing else.
//
// It does not know where files come from; a value of a context may be a token or any other view (mixture.js).

import { eachRow, finiteNumber, idsOfLabel, knownId, wholeNumber } from "./csv.js";
import { topK } from "./sampling.js";

const COUNTS_NAME = "02_counts.csv";
const DISCOUNTS_NAME = "03_discounts.csv";
const COUNTS_HEADER = ["context", "token", "count"];
const DISCOUNTS_HEADER = ["context_size", "once", "twice", "three_or_more"];

// WHY: counting a short range again is quicker than looking it up; a long one is kept.
const SHORTEST_KEPT = 64;
const LARGEST_SQUARE = 2_000; // tokens, for a picture of all pairs

/**
 * What came after a context.
 *
 * @typedef {object} Seen
 * @property {number[]} ids - The tokens that came.
 * @property {number[]} counts - The count of each: plain at the longest length, continuation counts below.
 * @property {number[]} shares - (count - discount) / total of each.
 * @property {number} total - The sum of the counts.
 * @property {number} gamma - The share of probability that the discounts give to the shorter context.
 */

/**
 * @typedef {object} Memory
 * @property {number[][]} discounts - D1, D2, D3+ for each context length.
 * @property {(context: number[]) => Seen[]} matched - What came after the last 0, 1, 2, … values of a context, as far
 *     as that was ever met.
 */

/** @type {import("./run.js").FilesOf} */
export const filesOf = () => [COUNTS_NAME, DISCOUNTS_NAME];

/** @type {import("./run.js").Rebuild} */
export function rebuild(meta, { tokens, idOf }, files) {
  const expected = meta.weights.rows;
  // WHY first: it says whether there are as many context lengths as the metadata say.
  const discounts = readDiscounts(files.get(DISCOUNTS_NAME), meta.context_size, expected[DISCOUNTS_NAME]);
  const grams = createGrams(meta.context_size);
  const take = ([label, token, count]) =>
    grams.add(idsOfLabel(label, idOf, meta.context_size), knownId(token, idOf), wholeNumber(count, "count"));
  eachRow(files.get(COUNTS_NAME), COUNTS_NAME, COUNTS_HEADER, take, expected[COUNTS_NAME]);
  const memory = createMemory(grams, discounts, COUNTS_NAME);
  return {
    leastContext: 0,
    forward: (ids) => interpolate(memory.matched(ids), tokens.length),
    explain: (ids, k) => ({ kind: "backoff", levels: explainLevels(memory, ids, k, tokens) }),
    matrices: () => matricesOf(memory, tokens),
    vectors: () => null,
  };
}

function readDiscounts(text, longest, expected) {
  const discounts = [];
  const take = ([length, ...cells]) => {
    if (wholeNumber(length, "context_size") !== discounts.length) {
      throw new Error(`context_size ${length} where ${discounts.length} should stand`);
    }
    discounts.push(discountsOf(cells));
  };
  eachRow(text, DISCOUNTS_NAME, DISCOUNTS_HEADER, take, expected);
  if (discounts.length !== longest + 1) {
    throw new Error(`${DISCOUNTS_NAME}: not a row for each context size from 0 to ${longest}`);
  }
  return discounts;
}

/**
 * Read the discounts of one context length.
 *
 * @param {string[]} cells - For tokens counted once, twice, and more often.
 * @returns {number[]}
 */
export function discountsOf(cells) {
  const taken = cells.map((cell) => finiteNumber(cell, "discount"));
  if (!taken.every((discount, i) => discount > 0 && discount <= i + 1)) {
    throw new Error("a discount takes nothing, or more than was counted");
  }
  return taken;
}

// --- memories -----------------------------------------------------------------------------------------------

/**
 * Return an empty list of grams.
 *
 * @param {number} longest - N, how many values a context has.
 * @returns {{columns: number[][], tokens: number[], counts: number[],
 *     add: (context: number[], token: number, count: number) => void}} columns: the newest values first.
 */
export function createGrams(longest) {
  const columns = Array.from({ length: longest }, () => []);
  const tokens = [];
  const counts = [];
  const add = (context, token, count) => {
    if (count < 1) {
      throw new Error("a count is below 1");
    }
    columns.forEach((values, i) => values.push(context[longest - 1 - i]));
    tokens.push(token);
    counts.push(count);
  };
  return { columns, tokens, counts, add };
}

/**
 * Return what follows from counted grams.
 *
 * Cost: a pass over all grams for each value of a context, and once more.
 *
 * @param {ReturnType<typeof createGrams>} grams
 * @param {number[][]} discounts - Those of each context length, from 0 to N.
 * @param {string} file - Where the grams stood, for messages.
 * @returns {Memory}
 */
export function createMemory(grams, discounts, file) {
  const { columns, tokens, counts } = sortedGrams(grams, file);
  const kept = new Map();
  const seenIn = (begin, end, length) => {
    const key = begin * discounts.length + length;
    let seen = kept.get(key);
    if (seen === undefined) {
      seen = see(followers(columns[length], tokens, counts, begin, end), discounts[length]);
      if (end - begin >= SHORTEST_KEPT) {
        kept.set(key, seen);
      }
    }
    return seen;
  };
  const matched = (context) => {
    const chain = [];
    let [begin, end] = [0, tokens.length];
    for (let length = 0; begin < end; length++) {
      chain.push(seenIn(begin, end, length));
      if (length === Math.min(context.length, columns.length)) {
        break;
      }
      const value = context[context.length - 1 - length];
      const values = columns[length];
      [begin, end] = [firstAtLeast(values, value, begin, end), firstAtLeast(values, value + 1, begin, end)];
    }
    return chain;
  };
  return { discounts, matched };
}

function sortedGrams(grams, file) {
  let order = Uint32Array.from(grams.tokens.keys());
  for (const values of [grams.tokens, ...grams.columns.toReversed()]) {
    order = sortedBy(order, values);
  }
  const columns = grams.columns.map((values) => Uint32Array.from(order, (i) => values[i]));
  const tokens = Uint32Array.from(order, (i) => grams.tokens[i]);
  const counts = Float64Array.from(order, (i) => grams.counts[i]);
  const isTwice = (_, i) => i > 0 && [tokens, ...columns].every((values) => values[i] === values[i - 1]);
  if (tokens.length === 0 || tokens.some(isTwice)) {
    throw new Error(`${file}: there is nothing in it, or a context and token stand there twice`);
  }
  return { columns, tokens, counts };
}

/** Return places sorted by their values; those of equal value keep their order. */
function sortedBy(order, values) {
  const largest = values.reduce((a, b) => Math.max(a, b), 0);
  const starts = new Uint32Array(largest + 2);
  for (const value of values) {
    starts[value + 1] += 1;
  }
  for (let value = 0; value < largest; value++) {
    starts[value + 1] += starts[value];
  }
  const sorted = new Uint32Array(order.length);
  for (const place of order) {
    sorted[starts[values[place]]++] = place;
  }
  return sorted;
}

/** Return the first place from `begin` to `end` with a value not below the given one; the values rise. */
function firstAtLeast(values, value, begin, end) {
  let [low, high] = [begin, end];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle] < value) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/** Count what came after a context, which is a range of grams; `older` are the values just before it, if any. */
function followers(older, tokens, counts, begin, end) {
  const found = new Map();
  const latest = new Map();
  for (let i = begin; i < end; i++) {
    const token = tokens[i];
    if (older === undefined) {
      found.set(token, counts[i]);
    } else if (latest.get(token) !== older[i]) {
      latest.set(token, older[i]);
      found.set(token, (found.get(token) ?? 0) + 1);
    }
  }
  return found;
}

/** Discount what was counted; the shares and gamma together sum to 1. */
function see(found, discounts) {
  const ids = [...found.keys()];
  const counts = [...found.values()];
  const total = counts.reduce((a, b) => a + b, 0);
  const kinds = [0, 0, 0];
  const shares = counts.map((count) => {
    const kind = Math.min(count, 3) - 1;
    kinds[kind] += 1;
    return (count - discounts[kind]) / total;
  });
  const taken = discounts[0] * kinds[0] + discounts[1] * kinds[1] + discounts[2] * kinds[2];
  return { ids, counts, shares, total, gamma: taken / total };
}

/**
 * Return the distribution of a chain of lengths: each adds its shares to gamma times the shorter one's.
 *
 * @param {Seen[]} chain - From the empty context on.
 * @param {number} vocabSize - V.
 * @returns {Float64Array} V probabilities.
 */
export function interpolate(chain, vocabSize) {
  const probs = new Float64Array(vocabSize).fill(1 / vocabSize);
  for (const { ids, shares, gamma } of chain) {
    for (let id = 0; id < vocabSize; id++) {
      probs[id] *= gamma;
    }
    for (let i = 0; i < ids.length; i++) {
      probs[ids[i]] += shares[i];
    }
  }
  return probs;
}

// --- looking into it ----------------------------------------------------------------------------------------

/**
 * Explain a prediction level by level, longest context first. A level whose context was never met has count 0, no
 * entries, and gives all to the shorter one. `probability` is that of the level: with what it gets from the shorter.
 */
function explainLevels(memory, ids, k, tokens) {
  const chain = memory.matched(ids);
  return memory.discounts.slice(0, ids.length + 1).map(([once, twice, threeOrMore], length) => {
    const seen = chain[length] ?? { ids: [], total: 0, gamma: 1 };
    const probs = interpolate(chain.slice(0, length + 1), tokens.length);
    const entries = topK(seen.ids.map((id) => probs[id]), k).map((i) => ({
      token: tokens[seen.ids[i]],
      count: seen.counts[i],
      share: seen.shares[i],
      probability: probs[seen.ids[i]],
    }));
    const context = ids.slice(ids.length - length).map((id) => tokens[id]);
    return { context, count: seen.total, once, twice, threeOrMore, entries, weightOfShorter: seen.gamma };
  }).toReversed();
}

function matricesOf({ discounts, matched }, tokens) {
  const taken = {
    name: "discounts",
    file: DISCOUNTS_NAME,
    rows: discounts.map((_, length) => `context of ${length}`),
    columns: DISCOUNTS_HEADER.slice(1),
    numbers: Float64Array.from(discounts.flat()),
    note: "how much each context length takes from a count, to give it to the shorter one",
  };
  const pairs = {
    name: "p(next | last)",
    file: COUNTS_NAME,
    rows: tokens,
    columns: tokens,
    note: "a row for each last token: the probability of each next one, with no more context than that",
    get numbers() {
      const rows = tokens.map((_, id) => interpolate(matched([id]), tokens.length));
      const numbers = new Float64Array(tokens.length ** 2);
      rows.forEach((probs, id) => numbers.set(probs, id * tokens.length));
      return numbers;
    },
  };
  return discounts.length > 1 && tokens.length <= LARGEST_SQUARE ? [pairs, taken] : [taken];
}
