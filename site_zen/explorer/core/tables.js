// tables.js - Models 100 to 400: a table with a row of logits for each context of N tokens, and softmax over the row.
//
// Concepts:
//     row: the weights of some tokens, and one weight for all others. A context that training never saw has a row of
//         zeros, which is not stored.
//     layout: which rows and cells the file holds. all, observed: one line per row. sparse: one line for each token
//         with its own weight, and one with the token "*" for the weight of all others.
//
// It does not know how weights are learned, or where files come from.

import { contextLabel, eachRow, finiteNumber, idsInOrder, idsOfLabel, quoted } from "./csv.js";
import { topK } from "./sampling.js";

const WEIGHTS_NAME = "02_model_weights.csv";
const SPARSE_HEADER = ["input_token", "output_token", "weight"];
const REST_MARK = "*";

// WHY: more cells show nothing new, and the numbers would fill the memory.
const LARGEST_MATRIX = 4_000_000;

/**
 * A row in its canonical form: the most common weight is the rest, the others are listed by token id.
 *
 * @typedef {{ids: number[], weights: number[], rest: number}} TableRow
 */

// The row of every context that training never saw.
const ZERO_ROW = { ids: [], weights: [], rest: 0 };

/** @type {import("./run.js").FilesOf} */
export const filesOf = () => [WEIGHTS_NAME];

/** @type {import("./run.js").Rebuild} */
export function rebuild(meta, vocabulary, files) {
  const { tokens } = vocabulary;
  const rows = new Map();
  const labels = [];
  const idsOf = meta.weights.in_order === true
    ? (label) => idsInOrder(label, labels.length, vocabulary, meta.context_size)
    : (label) => idsOfLabel(label, vocabulary.idOf, meta.context_size);
  const add = (label, row) => {
    const key = idsOf(label).join(" ");
    if (rows.has(key)) {
      throw new Error(`row ${quoted(label)} appears twice`);
    }
    rows.set(key, row);
    labels.push(label);
  };
  const read = meta.weights.layout === "sparse" ? readSparse : readDense;
  read(files.get(WEIGHTS_NAME), vocabulary, meta.weights.rows, add);
  const rowOf = (ids) => rows.get(ids.join(" ")) ?? ZERO_ROW;
  return {
    minContext: meta.context_size,
    nextProbs: (ids) => rowProbabilities(rowOf(ids), tokens.length),
    explain: (ids, k) => explainRow(rowOf(ids), ids, k, tokens),
    matrices: () => [weightsMatrix(labels, [...rows.values()], tokens)],
    vectors: () => firstTwoWeights(labels, [...rows.values()], tokens.length),
  };
}

// --- reading ------------------------------------------------------------------------------------------------

function readDense(text, { tokens }, expected, add) {
  const take = ([label, ...cells]) => {
    // WHY: most cells of a table are "0".
    const weights = cells.map((cell) => (cell === "0" ? 0 : finiteNumber(cell, "weight")));
    add(label, compactRow(weights));
  };
  eachRow(text, WEIGHTS_NAME, ["input_token", ...tokens], take, expected);
}

function readSparse(text, { tokens, idOf }, expected, add) {
  let current = null;
  let own = new Map();
  const take = ([label, output, cell]) => {
    if (current !== null && current !== label) {
      throw new Error(`row ${quoted(current)} has no line for "${REST_MARK}", all other tokens`);
    }
    current = label;
    const weight = finiteNumber(cell, "weight");
    if (output === REST_MARK) {
      add(label, compactSparse(own, weight, tokens.length));
      own = new Map();
      current = null;
      return;
    }
    const [id] = idsOfLabel(output, idOf, 1);
    if (own.has(id)) {
      throw new Error(`token ${quoted(output)} appears twice in its row`);
    }
    own.set(id, weight);
  };
  eachRow(text, WEIGHTS_NAME, SPARSE_HEADER, take, expected);
  if (current !== null) {
    throw new Error(`${WEIGHTS_NAME}: the file ends in the middle of row ${quoted(current)}`);
  }
}

/** Return a row of V weights in its canonical form. */
function compactRow(weights) {
  const rest = mostCommon(weights, new Map());
  const row = { ids: [], weights: [], rest };
  weights.forEach((weight, id) => {
    if (weight !== rest) {
      row.ids.push(id);
      row.weights.push(weight);
    }
  });
  return row;
}

/** Return the canonical form of a row in O(weights given), not O(V). */
function compactSparse(own, rest, vocabSize) {
  if (mostCommon(own.values(), new Map([[rest, vocabSize - own.size]])) !== rest) {
    return compactRow(Array.from({ length: vocabSize }, (_, id) => own.get(id) ?? rest));
  }
  const ids = [...own.keys()].filter((id) => own.get(id) !== rest).sort((i, j) => i - j);
  return { ids, weights: ids.map((id) => own.get(id)), rest };
}

/** Return the most common weight, the smaller one of two; `counts` holds earlier counts. */
function mostCommon(weights, counts) {
  for (const weight of weights) {
    counts.set(weight, (counts.get(weight) ?? 0) + 1);
  }
  let common = Infinity;
  let most = 0;
  for (const [weight, count] of counts) {
    if (count > most || (count === most && weight < common)) {
      common = weight;
      most = count;
    }
  }
  return common;
}

// --- predicting ---------------------------------------------------------------------------------------------

/** Return softmax over a row. */
function rowProbabilities(row, vocabSize) {
  const numRest = vocabSize - row.ids.length;
  const top = row.weights.reduce((a, b) => Math.max(a, b), numRest > 0 ? row.rest : -Infinity);
  const exps = row.weights.map((weight) => Math.exp(weight - top));
  const rest = numRest > 0 ? Math.exp(row.rest - top) : 0;
  const total = exps.reduce((a, b) => a + b, 0) + numRest * rest;
  return spread(row.ids, exps.map((e) => e / total), rest / total, vocabSize);
}

/** Return V numbers: some by id, and one for all other ids. */
function spread(ids, numbers, rest, vocabSize) {
  const all = new Float64Array(vocabSize).fill(rest);
  ids.forEach((id, i) => {
    all[id] = numbers[i];
  });
  return all;
}

function logitsOf({ ids, weights, rest }, vocabSize) {
  return spread(ids, weights, rest, vocabSize);
}

// --- looking into it ----------------------------------------------------------------------------------------

function explainRow(row, ids, k, tokens) {
  const probs = rowProbabilities(row, tokens.length);
  const logits = logitsOf(row, tokens.length);
  return {
    kind: "row",
    label: contextLabel(ids.map((id) => tokens[id])),
    entries: topK(probs, k).map((id) => ({ token: tokens[id], logit: logits[id], probability: probs[id] })),
    seen: row.ids.length > 0 || row.rest !== 0,
  };
}

function weightsMatrix(labels, rows, tokens) {
  const shown = Math.min(rows.length, Math.max(Math.floor(LARGEST_MATRIX / tokens.length), 1));
  const part = shown < rows.length ? `; the first ${shown} of ${rows.length} rows` : "";
  return {
    name: "weights",
    file: WEIGHTS_NAME,
    rows: labels.slice(0, shown),
    columns: tokens,
    note: `one row per context, one logit per next token${part}`,
    get numbers() {
      const numbers = new Float64Array(shown * tokens.length);
      for (let i = 0; i < shown; i++) {
        numbers.set(logitsOf(rows[i], tokens.length), i * tokens.length);
      }
      return numbers;
    },
  };
}

/** Return the 2-D view of 03_token_embeddings.csv: the first two weights of each row, not learned vectors. */
function firstTwoWeights(labels, rows, vocabSize) {
  const weightOf = ({ ids, weights, rest }, id) => weights[ids.indexOf(id)] ?? (id < vocabSize ? rest : 0);
  return { labels, numbers: Float64Array.from(rows.flatMap((row) => [weightOf(row, 0), weightOf(row, 1)])), size: 2 };
}
