// parameters.js - The weights of a network: which there are, as the metadata list them, and the files that hold them.
//
// Concepts:
//     parameter: one array of weights with a name, for example "blocks.0.attention.q_proj.weight".
//     linear layer: y = W x + b, with W of shape (out, in). A CSV file holds W as (in, out), the W of x W.
//
// It does not know how a network computes, or where files come from.

import { eachRow, finiteNumber, quoted } from "./csv.js";
import { isObject } from "./json.js";
import { readSafetensors } from "./safetensors.js";

const META_NAME = "00_meta.json";
const SAFETENSORS_NAME = "02_model_weights.safetensors";

// What a parameter does, by its name without the block.
const NOTES = {
  "output.weight": "from the last layer to a logit for each token",
  "output.bias": "added to the logit of each token",
  "token_embeddings.weight": "a learned vector for each token",
  "position_embeddings.weight": "a learned vector for each position",
  "attention.q_proj.weight": "queries: what a token looks for",
  "attention.k_proj.weight": "keys: what a token can be found by",
  "attention.v_proj.weight": "values: what a token passes on to those that look at it",
  "attention.q_proj.bias": "added to every query",
  "attention.k_proj.bias": "added to every key",
  "attention.v_proj.bias": "added to every value",
  "attention.o_proj.weight": "combines the outputs of the heads",
  "attention.o_proj.bias": "added to the combined outputs of the heads",
  "feed_forward.up_proj.weight": "into the feed-forward layer",
  "feed_forward.up_proj.bias": "added in the feed-forward layer",
  "feed_forward.gate_proj.weight": "the gate of the feed-forward layer",
  "feed_forward.down_proj.weight": "out of the feed-forward layer",
  "feed_forward.down_proj.bias": "added after the feed-forward layer",
  "hidden.weight": "from the vectors of the context into the hidden layer",
  "hidden.bias": "added in the hidden layer",
  "norm_1.weight": "scales the numbers before attention",
  "norm_1.bias": "shifts the numbers before attention",
  "norm_2.weight": "scales the numbers before the feed-forward layer",
  "norm_2.bias": "shifts the numbers before the feed-forward layer",
  "norm.weight": "scales the numbers before the output",
  "norm.bias": "shifts the numbers before the output",
};

/** @typedef {{name: string, file: string, shape: number[]}} Parameter */
/** @typedef {{shape: number[], numbers: Float64Array | Float32Array}} Tensor */

/**
 * Return the parameters that the metadata list.
 *
 * @type {(meta: object) => Parameter[]}
 */
export function parametersOf({ parameters, weights: { layout, rows } }) {
  if (parameters === undefined) {
    throw new Error(`${META_NAME}: it lists no parameters: an earlier version trained this network; train it again`);
  }
  const isSize = (size) => Number.isSafeInteger(size) && size >= 1;
  const isTable = (file) => typeof file === "string" && file.endsWith(".csv") && Object.hasOwn(rows, file);
  const isFile = (file) => (layout === "tables" ? isTable(file) : file === SAFETENSORS_NAME);
  const isShape = (shape) => Array.isArray(shape) && (shape.length === 1 || shape.length === 2) && shape.every(isSize);
  const isParameter = ({ name, file, shape }) => typeof name === "string" && isFile(file) && isShape(shape);
  const countOf = (key) => new Set(parameters.map((one) => one[key])).size;
  const good =
    Array.isArray(parameters) &&
    parameters.every((one) => isObject(one) && isParameter(one)) &&
    countOf("name") === parameters.length &&
    (layout !== "tables" || (countOf("file") === parameters.length && parameters.length === Object.keys(rows).length));
  if (!good) {
    throw new Error(`${META_NAME}: its parameters are not a list of a name, a file and a shape for all of its weights`);
  }
  return parameters;
}

function isLinear({ name, shape }) {
  return shape.length === 2 && !name.endsWith("embeddings.weight");
}

/** Return how a parameter's table looks: the names of its rows and columns, its header, and how rows begin. */
function layoutOf(parameter, { model_kind: kind, context_size: context, architecture, weights }, tokens) {
  const { name, shape } = parameter;
  const [numRows, numColumns] = isLinear(parameter) ? shape.toReversed() : shape;
  const numbered = (label, count) => Array.from({ length: count }, (_, i) => label(i));
  const dims = (count) => numbered((i) => `dim_${i}`, count);
  const columns = shape.length === 1 ? ["value"] : dims(numColumns);
  if (name === "output.weight") {
    const size = architecture.embedding_dim;
    const sideBySide = kind === "embeddings" && !architecture.hidden_dim; // the vectors of all context tokens
    const label = (i) => `${Math.floor(i / size) - context}|dim_${i % size}`;
    const rows = sideBySide ? numbered(label, numRows) : dims(numRows);
    const begins = [weights.in_order === true ? null : rows]; // null: its place says which row it is
    return { rows, columns: tokens, header: ["input_token", ...tokens], begins };
  }
  const ids = numbered(String, numRows);
  if (name === "token_embeddings.weight" || name === "output.bias") {
    return { rows: tokens, columns, header: ["token_id", "token", ...columns], begins: [ids, tokens] };
  }
  const first = name.startsWith("position") ? "position" : "dim";
  return { rows: ids, columns, header: [first, ...columns], begins: [ids] };
}

// --- reading ------------------------------------------------------------------------------------------------

/**
 * Read the weights of a network.
 *
 * @param {object} meta
 * @param {string[]} tokens
 * @param {import("./run.js").Files} files
 * @returns {Map<string, Tensor>} By name.
 * @throws {Error} A file is damaged, or its shape is not the one in the metadata.
 */
export function readWeights(meta, tokens, files) {
  const read = meta.weights.layout === "tables" ? weightsOfTables : weightsOfSafetensors;
  return read(parametersOf(meta), meta, tokens, files);
}

function weightsOfTables(parameters, meta, tokens, files) {
  const stored = new Map();
  for (const parameter of parameters) {
    const { name, file, shape } = parameter;
    const text = files.get(file);
    // WHY: a false size must not fill the memory. A weight takes at least a digit and a separator.
    if (shape.reduce((a, b) => a * b) * 2 > text.length) {
      throw new Error(`${file}: too small for the ${shape.join(" x ")} weights that the metadata promise`);
    }
    const layout = layoutOf(parameter, meta, tokens);
    stored.set(name, readParameter(parameter, layout, text, meta.weights.rows[file]));
  }
  return stored;
}

function readParameter(parameter, { rows, columns, header, begins }, text, expected) {
  const { file, shape } = parameter;
  const [high, wide] = [rows.length, columns.length];
  if (high * wide !== shape.reduce((a, b) => a * b)) {
    throw new Error(`${file}: a table of ${high} x ${wide} weights, but the metadata promise ${shape.join(" x ")}`);
  }
  const numbers = new Float64Array(high * wide);
  // A row of a linear layer's file is a column of W.
  const [rowStep, columnStep] = isLinear(parameter) ? [1, high] : [wide, 1];
  let row = 0;
  const take = (cells) => {
    if (begins.some((labels, i) => labels !== null && cells[i] !== labels[row])) {
      throw new Error(`expected the row ${quoted(rows[row] ?? "nothing more")}`);
    }
    for (let j = 0; j < wide; j++) {
      numbers[row * rowStep + j * columnStep] = finiteNumber(cells[begins.length + j], "weight");
    }
    row += 1;
  };
  eachRow(text, file, header, take, expected);
  if (row !== high) {
    throw new Error(`${file}: ${row} rows instead of ${high}`);
  }
  return { shape, numbers };
}

function weightsOfSafetensors(parameters, meta, tokens, files) {
  const stored = readSafetensors(files.get(SAFETENSORS_NAME), SAFETENSORS_NAME);
  for (const { name, shape } of parameters) {
    if (stored.get(name)?.shape.join() !== shape.join()) {
      throw new Error(`${SAFETENSORS_NAME}: ${name} is missing, or its shape is not ${shape.join(" x ")}`);
    }
  }
  if (parameters.length !== stored.size) {
    throw new Error(`${SAFETENSORS_NAME}: ${stored.size} parameters instead of ${parameters.length}`);
  }
  return stored;
}

// --- looking into it ----------------------------------------------------------------------------------------

/**
 * Return a parameter as a matrix to look at: a linear layer as inputs by outputs, as in its file.
 *
 * @param {Parameter} parameter
 * @param {object} meta
 * @param {string[]} tokens
 * @param {Map<string, Tensor>} stored - What readWeights() gives.
 * @returns {import("./run.js").Matrix}
 */
export function matrixOf(parameter, meta, tokens, stored) {
  const { name, file } = parameter;
  const { rows, columns } = layoutOf(parameter, meta, tokens);
  const [high, wide] = [rows.length, columns.length];
  const [, block, role] = /^(?:blocks\.([0-9]+)\.)?(.*)$/u.exec(name);
  const inBlock = meta.architecture.layers > 1 && block !== undefined ? `, block ${Number(block) + 1}` : "";
  return {
    name: file === SAFETENSORS_NAME ? name : file.slice("00_".length, -".csv".length),
    file,
    rows,
    columns,
    note: (NOTES[role] ?? role) + inBlock,
    get numbers() {
      const { numbers } = stored.get(name);
      const at = isLinear(parameter) ? (i) => (i % wide) * high + Math.floor(i / wide) : (i) => i;
      return Float64Array.from(numbers, (_, i) => numbers[at(i)]);
    },
  };
}
