// older_series.js - Runs of the older toy-gpt series: what their 00_meta.json leaves out, the other files say.
//
// Their metadata have no schema_version and no context_size. A table's file has all V to the N rows in index order, so
// the number of its rows gives N; what a row is labelled does not matter. Their embeddings are N vectors side by side
// and one matrix; its bias was trained, but not written, and their own programs predict without it.

import { quoted } from "./csv.js";

const WEIGHTS_NAME = "02_model_weights.csv";
const EMBEDDINGS_NAME = "03_token_embeddings.csv";
const NAMES = new Set([
  ...["repo_name", "model_kind", "vocab_size", "training", "corpus", "artifacts", "concepts", "notes"],
  "start_tokens",
]);
// The contexts that a table of this kind may have, the series' own first.
const CONTEXTS = { unigram: [1, 0], bigram: [2, 1] };

/**
 * Whether these are metadata of the older series, and not today's with a damaged name.
 *
 * @type {(meta: object) => boolean}
 */
export const isOlder = (meta) => Object.hasOwn(meta, "model_kind") && Object.keys(meta).every((name) => NAMES.has(name));

/**
 * Return the older series' metadata with what today's readers need.
 *
 * @param {object} meta
 * @param {(name: string) => Promise<string>} read - Returns the text of one of the run's files.
 * @returns {Promise<object>}
 * @throws {Error} The weights do not fit, or the kind of model is unknown.
 */
export async function asToday(meta, read) {
  const { model_kind: kind, vocab_size: vocabSize, start_tokens: start = [] } = meta;
  const weights = await read(WEIGHTS_NAME);
  const numRows = Math.max(weights.split("\n").length - 2, 0);
  const found =
    kind === "embeddings" ? embeddings(vocabSize, numRows, await read(EMBEDDINGS_NAME)) : table(kind, vocabSize, numRows);
  const more = { schema_version: 1, tokenizer: { kind: "word" }, start_tokens: start, metrics: {}, loss_floor: null };
  return { ...meta, ...found, ...more, origin: "an older run of the toy-gpt series" };
}

/** Return the metadata of a table; N is the one that its number of rows is the N-th power of V for. */
function table(kind, vocabSize, numRows) {
  const window = /^context-?([0-9]{1,4})$/u.exec(kind);
  const sizes = window ? [Number(window[1])] : Object.hasOwn(CONTEXTS, kind) ? CONTEXTS[kind] : [];
  if (sizes.length === 0) {
    throw new Error(`${quoted(String(kind))} of the older toy-gpt series cannot be read`);
  }
  const size = sizes.find((n) => vocabSize ** n === numRows);
  if (size === undefined) {
    const wanted = sizes.map((n) => `${vocabSize} to the power of ${n}`).join(" or ");
    throw new Error(`${WEIGHTS_NAME} has ${numRows} rows, but an older run of ${kind} has ${wanted}`);
  }
  return { context_size: size, weights: { layout: "all", rows: numRows, in_order: true } };
}

/** Return the metadata of embeddings; N is how often the length of a vector goes into the rows of the matrix. */
function embeddings(vocabSize, numRows, text) {
  const header = text.slice(0, Math.max(text.indexOf("\n"), 0)).trim().split(",");
  const size = header.length - 2;
  if (size < 1 || header.join() !== ["token_id", "token", ...Array.from({ length: size }, (_, i) => `dim_${i}`)].join()) {
    throw new Error(`${EMBEDDINGS_NAME} has no header of learned vectors, which is token_id,token,dim_0 and so on`);
  }
  if (numRows < size || numRows % size !== 0) {
    throw new Error(`${WEIGHTS_NAME} has ${numRows} rows, which is no multiple of the ${size} values of a vector`);
  }
  return {
    context_size: numRows / size,
    weights: { layout: "tables", rows: { [WEIGHTS_NAME]: numRows, [EMBEDDINGS_NAME]: vocabSize }, in_order: true },
    architecture: { embedding_dim: size, hidden_dim: 0, heads: 1, layers: 1, dropout: 0, bias: false },
    parameters: [
      { name: "output.weight", file: WEIGHTS_NAME, shape: [vocabSize, numRows] },
      { name: "token_embeddings.weight", file: EMBEDDINGS_NAME, shape: [vocabSize, size] },
    ],
  };
}
