// kneser_ney.js - Model 450: what if a context was never seen? Ask a shorter one.
//
//     p(w | h) = (c(h w) - D(c(h w))) / c(h)  +  gamma(h) p(w | h without its oldest token)
//
// Concepts:
//     ngram: a context of N values, oldest first, and the token that followed it, with a count.
//     continuation count: below the longest context, the number of different older values before a token.
//     followers: the tokens that followed a context, with their counts.
//     memory: all ngrams of one length; it finds the followers of a context of any length up to N.
//
// WHY sorted: the file holds the longest contexts only. Sorted by the newest value, then the next older one, and so
// on, all ngrams whose contexts end alike are neighbors, at every length. So a context is a range, and its followers
// are counted when they are needed. Loading is only a sort.
//
// It does not know where files come from. A value of a context may be a token or any other view (mixture.js).

import { eachRow, finiteNumber, idsOfLabel, knownId, quoted, wholeNumber } from "./csv.js";
import { isObject } from "./json.js";
import { topK } from "./sampling.js";

const COUNTS_NAME = "02_counts.csv";
const DISCOUNTS_NAME = "03_discounts.csv";
const TRACE_NAME = "04_trace.safetensors"; // the training text, for training_text.js
const COUNTS_HEADER = ["context", "token", "count"];
const DISCOUNTS_HEADER = ["context_size", "once", "twice", "three_or_more"];

// WHY: counting a short range again is faster than looking it up; a long one is kept.
const SHORTEST_KEPT = 64;
const LARGEST_SQUARE = 2_000; // tokens, for a heatmap of all pairs

/**
 * What followed a context.
 *
 * @typedef {object} Followers
 * @property {number[]} ids - The tokens.
 * @property {number[]} counts - The count of each: plain counts at the longest length, continuation counts below.
 * @property {number[]} shares - (count - discount) / total of each.
 * @property {number} total - The sum of the counts.
 * @property {number} gamma - The share of the probability that the discounts leave to the shorter context.
 */

/**
 * @typedef {object} Memory
 * @property {number[][]} discounts - D1, D2, D3+ for each context length.
 * @property {(context: number[]) => Followers[]} matched - What followed the last 0, 1, 2, … values of a context, up
 *     to the longest part that was ever seen.
 */

/** @type {import("./run.js").FilesOf} */
export const filesOf = ({ artifacts }) => [
  ...[COUNTS_NAME, DISCOUNTS_NAME],
  ...(isObject(artifacts) && Object.hasOwn(artifacts, TRACE_NAME) ? [TRACE_NAME] : []),
];

/** @type {import("./run.js").Rebuild} */
export function rebuild(meta, vocabulary, files) {
  const { tokens, idOf } = vocabulary;
  const expected = meta.weights.rows;
  // WHY first: it checks the number of context lengths in the metadata.
  const discounts = readDiscounts(files.get(DISCOUNTS_NAME), meta.context_size, expected[DISCOUNTS_NAME]);
  const ngrams = createNgrams(meta.context_size);
  const take = ([label, token, count]) =>
    ngrams.add(idsOfLabel(label, idOf, meta.context_size), knownId(token, idOf), wholeNumber(count, "count"));
  eachRow(files.get(COUNTS_NAME), COUNTS_NAME, COUNTS_HEADER, take, expected[COUNTS_NAME]);
  checkCounts(ngrams, vocabulary, meta.start_tokens, COUNTS_NAME);
  const memory = createMemory(ngrams, discounts, COUNTS_NAME);
  return {
    minContext: 0,
    nextProbs: (ids) => interpolate(memory.matched(ids), tokens.length),
    explain: (ids, k) => ({ kind: "backoff", levels: explainLevels(memory, ids, k, tokens) }),
    matrices: () => matricesOf(memory, tokens),
    vectors: () => null,
    ...(files.has(TRACE_NAME) ? { learned: { bytes: files.get(TRACE_NAME), memory } } : {}),
  };
}

function readDiscounts(text, longest, expected) {
  const discounts = [];
  const take = ([length, ...cells]) => {
    if (wholeNumber(length, "context_size") !== discounts.length) {
      throw new Error(`context_size ${length} instead of ${discounts.length}`);
    }
    discounts.push(discountsOf(cells));
  };
  eachRow(text, DISCOUNTS_NAME, DISCOUNTS_HEADER, take, expected);
  if (discounts.length !== longest + 1) {
    throw new Error(`${DISCOUNTS_NAME}: it does not have one row for each context size from 0 to ${longest}`);
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
 * Return an empty list of ngrams.
 *
 * @param {number} longest - N, the values in a context.
 * @returns {{columns: number[][], tokens: number[], counts: number[],
 *     add: (context: number[], token: number, count: number) => void}} columns: the newest values first.
 */
export function createNgrams(longest) {
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
 * Check that every token is counted as often as the text has it.
 *
 * @param {ReturnType<typeof createNgrams>} ngrams
 * @param {import("./run.js").Vocabulary} vocabulary
 * @param {string[]} firsts - The first tokens of the text, which no ngram ends with.
 * @param {string} file - Where the ngrams come from, for messages.
 */
export function checkCounts(ngrams, { tokens, idOf, frequency }, firsts, file) {
  const left = [...frequency];
  firsts.forEach((token) => (left[idOf.get(token)] -= 1));
  ngrams.tokens.forEach((id, i) => (left[id] -= ngrams.counts[i]));
  const wrong = left.findIndex((count) => count !== 0);
  if (wrong !== -1) {
    throw new Error(`${file}: the counts of ${quoted(tokens[wrong])} do not fit its frequency in 01_vocabulary.csv`);
  }
}

/**
 * Build a memory of counted ngrams.
 *
 * Cost: N + 1 passes over all ngrams.
 *
 * @param {ReturnType<typeof createNgrams>} ngrams
 * @param {number[][]} discounts - Those of each context length, from 0 to N.
 * @param {string} file - Where the ngrams come from, for messages.
 * @returns {Memory}
 */
export function createMemory(ngrams, discounts, file) {
  const { columns, tokens, counts } = sortedNgrams(ngrams, file);
  const kept = new Map();
  const followersIn = (begin, end, length) => {
    const key = begin * discounts.length + length;
    let followers = kept.get(key);
    if (followers === undefined) {
      followers = discounted(countsIn(columns[length], tokens, counts, begin, end), discounts[length]);
      if (end - begin >= SHORTEST_KEPT) {
        kept.set(key, followers);
      }
    }
    return followers;
  };
  const matched = (context) => {
    const found = [];
    let [begin, end] = [0, tokens.length];
    for (let length = 0; begin < end; length++) {
      found.push(followersIn(begin, end, length));
      if (length === Math.min(context.length, columns.length)) {
        break;
      }
      const value = context[context.length - 1 - length];
      const values = columns[length];
      [begin, end] = [firstAtLeast(values, value, begin, end), firstAtLeast(values, value + 1, begin, end)];
    }
    return found;
  };
  return { discounts, matched };
}

function sortedNgrams(ngrams, file) {
  let order = Uint32Array.from(ngrams.tokens.keys());
  for (const values of [ngrams.tokens, ...ngrams.columns.toReversed()]) {
    order = sortedBy(order, values);
  }
  const columns = ngrams.columns.map((values) => Uint32Array.from(order, (i) => values[i]));
  const tokens = Uint32Array.from(order, (i) => ngrams.tokens[i]);
  const counts = Float64Array.from(order, (i) => ngrams.counts[i]);
  const isTwice = (_, i) => i > 0 && [tokens, ...columns].every((values) => values[i] === values[i - 1]);
  if (tokens.length === 0 || tokens.some(isTwice)) {
    throw new Error(`${file}: it is empty, or a context and token appear twice`);
  }
  return { columns, tokens, counts };
}

/** Return indices sorted by their values; equal values keep their order. */
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

/** Return the first index from `begin` to `end` whose value is at least the given one; the values are sorted. */
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

/** Count what followed a context, which is a range of ngrams; `older` are the values just before it, if any. */
function countsIn(older, tokens, counts, begin, end) {
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

/** Discount the counts; the shares and gamma together sum to 1. */
function discounted(found, discounts) {
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
 * Return the distribution of a context: each length adds its shares to gamma times the shorter one's distribution.
 *
 * @param {Followers[]} matched - From the empty context on.
 * @param {number} vocabSize - V.
 * @returns {Float64Array} V probabilities.
 */
export function interpolate(matched, vocabSize) {
  const probs = new Float64Array(vocabSize).fill(1 / vocabSize);
  for (const { ids, shares, gamma } of matched) {
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
 * Explain a prediction level by level, longest context first. A level whose context was never seen has count 0, no
 * entries, and passes everything on to the shorter one. `probability` includes what a level gets from the shorter one.
 */
function explainLevels(memory, ids, k, tokens) {
  const matched = memory.matched(ids);
  return memory.discounts.slice(0, ids.length + 1).map(([once, twice, threeOrMore], length) => {
    const followers = matched[length] ?? { ids: [], total: 0, gamma: 1 };
    const probs = interpolate(matched.slice(0, length + 1), tokens.length);
    const entries = topK(followers.ids.map((id) => probs[id]), k).map((i) => ({
      token: tokens[followers.ids[i]],
      count: followers.counts[i],
      share: followers.shares[i],
      probability: probs[followers.ids[i]],
    }));
    const context = ids.slice(ids.length - length).map((id) => tokens[id]);
    return { context, count: followers.total, once, twice, threeOrMore, entries, weightOfShorter: followers.gamma };
  }).toReversed();
}

function matricesOf({ discounts, matched }, tokens) {
  const taken = {
    name: "discounts",
    file: DISCOUNTS_NAME,
    rows: discounts.map((_, length) => `context of ${length}`),
    columns: DISCOUNTS_HEADER.slice(1),
    numbers: Float64Array.from(discounts.flat()),
    note: "how much each context length takes from a count and leaves to the shorter one",
  };
  const pairs = {
    name: "p(next | last)",
    file: COUNTS_NAME,
    rows: tokens,
    columns: tokens,
    note: "one row per last token: the probability of each next token, given only that one",
    get numbers() {
      const rows = tokens.map((_, id) => interpolate(matched([id]), tokens.length));
      const numbers = new Float64Array(tokens.length ** 2);
      rows.forEach((probs, id) => numbers.set(probs, id * tokens.length));
      return numbers;
    },
  };
  return discounts.length > 1 && tokens.length <= LARGEST_SQUARE ? [pairs, taken] : [taken];
}
