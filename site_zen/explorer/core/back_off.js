// back_off.js - A model that other software counted: n-grams with probabilities, and weights for backing off.
//
//     p(w | h) = what the list says, if it has the n-gram h w
//     p(w | h) = weight(h) p(w | h without its oldest token), if it has not
//
// Concepts:
//     order: all n-grams of one length, by context.
//
// The probabilities after a context are divided by their sum, which is 1 but for the digits of the file.
//
// It does not know where files come from, or how anything was counted.

import { eachRow, finiteNumber, knownId, quoted } from "./csv.js";
import { topK } from "./sampling.js";

const ZERO = -99; // log10 of what never happens
const LARGEST = 280; // log10 of all weights together
const LARGEST_SQUARE = 2_000; // tokens, for a heatmap of all pairs

/** @typedef {{weight: number, followers: Map<number, number>}} Context - Its weight, and probabilities by token id. */

const tableName = (length) => `02_ngrams_${length}.csv`;

/** @type {import("./run.js").FilesOf} */
export const filesOf = (meta) => {
  const { rows } = meta.weights;
  if (Object.keys(rows).length !== meta.context_size + 1) {
    throw new Error(`00_meta.json: not a table of n-grams for each length up to ${meta.context_size + 1}`);
  }
  return Array.from({ length: meta.context_size + 1 }, (_, i) => tableName(i + 1));
};

/** @type {import("./run.js").Rebuild} */
export function rebuild(meta, { tokens, idOf }, files) {
  /** @type {Map<string, Context>[]} */
  const orders = [new Map([["", { weight: 1, followers: new Map() }]])];
  for (let length = 1; length <= meta.context_size + 1; length++) {
    const name = tableName(length);
    orders.push(readOrder(files.get(name), name, orders.at(-1), { length, meta, idOf }));
  }
  const { followers } = orders[0].get("");
  if (followers.size !== tokens.length) {
    throw new Error(`${tableName(1)}: not a row for each token`);
  }
  const unigrams = Float64Array.from(tokens, (_, id) => followers.get(id));
  const levelsOf = (ids) => levels(orders, ids);
  return {
    minContext: 0,
    nextProbs: (ids) => probabilities(unigrams, levelsOf(ids)),
    explain: (ids, k) => ({ kind: "ngrams", levels: explainLevels(unigrams, levelsOf(ids), ids, k, tokens) }),
    matrices: () => matricesOf(unigrams, levelsOf, tokens, meta.context_size),
    vectors: () => null,
  };
}

/** Read the n-grams of one length into their contexts; return the contexts one token longer that have a weight. */
function readOrder(text, name, contexts, { length, meta, idOf }) {
  const longer = new Map();
  const hasWeights = length <= meta.context_size;
  const numbers = ["log10_probability", ...(hasWeights ? ["log10_back_off"] : [])];
  const header = [...Array.from({ length }, (_, i) => `token_${i + 1}`), ...numbers];
  const take = (cells) => {
    const ids = cells.slice(0, length).map((token) => knownId(token, idOf));
    const log = finiteNumber(cells[length], "log10_probability");
    const weight = hasWeights ? finiteNumber(cells[length + 1], "log10_back_off") : 0;
    if (log > 0 || weight * meta.context_size > LARGEST) {
      throw new Error("a probability above 1, or a weight out of all proportion");
    }
    const key = ids.slice(0, -1).join(" ");
    if (!contexts.has(key)) {
      contexts.set(key, { weight: 1, followers: new Map() });
    }
    const { followers } = contexts.get(key);
    if (followers.has(ids.at(-1))) {
      throw new Error(`the n-gram ${quoted(cells.slice(0, length).join(" "))} appears twice`);
    }
    followers.set(ids.at(-1), 10 ** Math.max(log, ZERO));
    if (weight !== 0) {
      longer.set(ids.join(" "), { weight: 10 ** Math.max(weight, ZERO), followers: new Map() });
    }
  };
  eachRow(text, name, header, take, meta.weights.rows[name]);
  return longer;
}

/** Return the last 1, 2, … tokens of a context; null where these have no followers. */
function levels(orders, ids) {
  return ids.map((_, i) => {
    const found = orders[i + 1].get(ids.slice(ids.length - i - 1).join(" "));
    return found?.followers.size ? found : null;
  });
}

/** Return V probabilities: those of the shortest context, changed by each longer one that has followers. */
function probabilities(unigrams, found) {
  const probs = Float64Array.from(unigrams);
  for (const level of found.filter((one) => one !== null)) {
    for (let id = 0; id < probs.length; id++) {
      probs[id] *= level.weight;
    }
    level.followers.forEach((p, id) => (probs[id] = p));
  }
  const total = probs.reduce((a, b) => a + b, 0);
  return probs.map((p) => p / total);
}

// --- looking into it ----------------------------------------------------------------------------------------

/**
 * Explain a prediction level by level, longest context first. A level is `found` if the list has n-grams that begin
 * with its context; its entries are their last tokens, most likely first.
 */
function explainLevels(unigrams, found, ids, k, tokens) {
  const all = Array.from(unigrams, (p, id) => [id, p]);
  return [{ weight: 1, followers: new Map(all) }, ...found].map((level, length) => {
    const followers = level === null ? [] : [...level.followers];
    const probs = probabilities(unigrams, found.slice(0, length));
    const entries = topK(followers.map(([, p]) => p), k).map((i) => {
      const [id] = followers[i];
      return { token: tokens[id], probability: probs[id] };
    });
    const context = ids.slice(ids.length - length).map((id) => tokens[id]);
    return { context, found: level !== null, followers: followers.length, weight: level?.weight ?? 1, entries };
  }).toReversed();
}

function matricesOf(unigrams, levelsOf, tokens, contextSize) {
  const pairs = {
    name: "p(next | last)",
    file: tableName(2),
    rows: tokens,
    columns: tokens,
    note: "one row per last token: the probability of each next token, given only that one",
    get numbers() {
      const numbers = new Float64Array(tokens.length ** 2);
      tokens.forEach((_, id) => numbers.set(probabilities(unigrams, levelsOf([id])), id * tokens.length));
      return numbers;
    },
  };
  return contextSize > 0 && tokens.length <= LARGEST_SQUARE ? [pairs] : [];
}
