// network.js - Rungs 500 to 800: neural networks, read from their files and run forward, token by token.
//
// Concepts:
//     parameter: one array of weights with a name, for example "blocks.0.attention.q_proj.weight".
//     map: a parameter of shape (out, in); y = W x. Its file has it as (in, out), the W of x W.
//     memory: the keys and values of the tokens already read. While a text grows, they stay as they are, so a new
//         token needs one way through the network only.
//     glimpse: what the network would say if the way ended at a place half-way through.
//
// Shapes: V tokens in the vocabulary, N in the context, C numbers a token, F in the feed-forward layer.
//
// It does not know how weights are learned, or where files come from.

import { eachRow, finiteNumber, quoted } from "./csv.js";
import { readSafetensors } from "./safetensors.js";
import { softmax, topK } from "./sampling.js";

const SAFETENSORS_NAME = "02_model_weights.safetensors";

const ROPE_BASE = 10_000;
const NORM_EPSILON = 1e-5;
const LARGEST_DIMENSION = 65_536;

// What each parameter is for: the name of its file, and what it does, in a few words.
const ROLES = {
  "output.weight": ["02_model_weights", "from the last layer to a logit for each token"],
  "token_embeddings.weight": ["03_token_embeddings", "a learned vector for each token"],
  "position_embeddings.weight": ["04_positional_embeddings", "a learned vector for each place"],
  "attention.q_proj.weight": ["05_W_Q", "queries: what a token looks for"],
  "attention.k_proj.weight": ["06_W_K", "keys: what a token offers to be found by"],
  "attention.v_proj.weight": ["07_W_V", "values: what a token tells those that look at it"],
  "attention.q_proj.bias": ["08_b_Q", "added to every query"],
  "attention.k_proj.bias": ["09_b_K", "added to every key"],
  "attention.v_proj.bias": ["10_b_V", "added to every value"],
  "attention.o_proj.weight": ["11_W_O", "joins what the heads found"],
  "attention.o_proj.bias": ["12_b_O", "added to what the heads found"],
  "feed_forward.up_proj.weight": ["13_W_up", "into the feed-forward layer"],
  "feed_forward.up_proj.bias": ["14_b_up", "added in the feed-forward layer"],
  "feed_forward.gate_proj.weight": ["15_W_gate", "the gate of the feed-forward layer"],
  "feed_forward.down_proj.weight": ["16_W_down", "out of the feed-forward layer"],
  "feed_forward.down_proj.bias": ["17_b_down", "added after the feed-forward layer"],
  "hidden.weight": ["18_W_hidden", "from the vectors of the context into the hidden layer"],
  "hidden.bias": ["19_b_hidden", "added in the hidden layer"],
  "norm_1.weight": ["20_norm_1_gain", "scales the numbers before attention"],
  "norm_1.bias": ["21_norm_1_shift", "shifts the numbers before attention"],
  "norm_2.weight": ["22_norm_2_gain", "scales the numbers before the feed-forward layer"],
  "norm_2.bias": ["23_norm_2_shift", "shifts the numbers before the feed-forward layer"],
  "norm.weight": ["24_final_norm_gain", "scales the numbers before the output"],
  "norm.bias": ["25_final_norm_shift", "shifts the numbers before the output"],
  "output.bias": ["26_output_bias", "added to the logit of each token"],
};

/** @typedef {{name: string, role: string, block: number, shape: number[]}} Parameter */
/** @typedef {{place: string, attention: number[][], logits: Float64Array}} Glimpse */

/** @type {import("./run.js").FilesOf} */
export function filesOf(meta) {
  checkArchitecture(meta);
  if (meta.weights.layout === "safetensors") {
    return [SAFETENSORS_NAME];
  }
  const names = [];
  for (const parameter of parametersOf(meta)) {
    // WHY at once: a number of blocks that is not true must not ask for thousands of files.
    if (!Object.hasOwn(meta.weights.rows, fileOf(parameter))) {
      throw new Error(`00_meta.json: its weights say nothing about ${fileOf(parameter)}, which the network needs`);
    }
    names.push(fileOf(parameter));
  }
  return names;
}

/** @type {import("./run.js").Rebuild} */
export function rebuild(meta, { tokens }, files) {
  const fromTables = meta.weights.layout === "tables";
  const stored = fromTables ? weightsOfTables(meta, tokens, files) : weightsOfSafetensors(meta, files);
  const network = NETWORKS[meta.model_kind](meta, (name) => stored.get(name));
  const parameters = [...parametersOf(meta)].sort((a, b) => (fileOf(a) < fileOf(b) ? -1 : 1));
  return {
    leastContext: meta.model_kind === "embeddings" ? meta.context_size : 1,
    forward: (ids) => softmax(network.logits(ids)),
    explain: (ids, k) => explainGlimpses(network.glimpses(ids), ids, k, tokens),
    matrices: () => parameters.map((parameter) => matrixOf(parameter, meta, tokens, stored)),
    vectors() {
      const { shape, numbers } = stored.get("token_embeddings.weight");
      return { labels: tokens, numbers: Float64Array.from(numbers), size: shape[1] };
    },
  };
}

// --- parameters ---------------------------------------------------------------------------------------------

function checkArchitecture({ model_kind: kind, context_size: contextSize, architecture }) {
  const limits = { embedding_dim: 1, hidden_dim: 0, heads: 1, layers: 1 };
  const given = { hidden_dim: 0, heads: 1, layers: 1, ...architecture };
  const isSize = (name) =>
    Number.isInteger(given[name]) && given[name] >= limits[name] && given[name] <= LARGEST_DIMENSION;
  const head = given.embedding_dim / given.heads;
  const isTransformer = kind === "gpt" || kind === "llama";
  const good =
    Object.keys(limits).every(isSize) &&
    Object.keys(given).every((name) => name === "dropout" || Object.hasOwn(limits, name)) &&
    contextSize >= 1 &&
    Number.isInteger(head) &&
    !(isTransformer && given.hidden_dim < 1) &&
    !(kind === "llama" && head % 2);
  if (!good) {
    const shown = quoted(JSON.stringify(architecture));
    throw new Error(`00_meta.json: no ${kind} can look back ${contextSize} tokens and have the architecture ${shown}`);
  }
}

/** Yield the parameters of a network with their shapes. */
function* parametersOf({ model_kind: kind, vocab_size: vocab, context_size: context, architecture }) {
  const { embedding_dim: size, hidden_dim: hidden = 0, layers = 1 } = architecture;
  const biasOf = (role, count) => [`${role}.bias`, count];
  const part = (role, biased, ...shape) => [[`${role}.weight`, ...shape], ...(biased ? [biasOf(role, shape[0])] : [])];
  const isGpt = kind === "gpt";
  const norm = (name) => part(name, isGpt, size);
  const attention = (maps) => [...maps].flatMap((map) => part(`attention.${map}_proj`, isGpt, size, size));
  const feedForward = (map, ...shape) => part(`feed_forward.${map}_proj`, isGpt, ...shape);
  const tokens = part("token_embeddings", false, vocab, size);
  const places = part("position_embeddings", false, context, size);
  const joined = context * size;
  const whole = {
    embeddings: () => [
      ...tokens,
      ...(hidden ? part("hidden", true, hidden, joined) : []),
      ...part("output", true, vocab, hidden || joined),
    ],
    attention: () => [...tokens, ...places, ...attention("qkv"), ...part("output", true, vocab, size)],
    gpt: () => [...tokens, ...places, ...norm("norm"), ...part("output", false, vocab, size)],
    llama: () => [...tokens, ...norm("norm"), ...part("output", false, vocab, size)],
  };
  yield* whole[kind]().map(([role, ...shape]) => ({ name: role, role, block: 0, shape }));
  const ofBlock = [
    ...norm("norm_1"),
    ...attention("qkvo"),
    ...norm("norm_2"),
    ...(kind === "llama" ? feedForward("gate", hidden, size) : []),
    ...feedForward("up", hidden, size),
    ...feedForward("down", size, hidden),
  ];
  for (let block = 0; block < layers && (isGpt || kind === "llama"); block++) {
    yield* ofBlock.map(([role, ...shape]) => ({ name: `blocks.${block}.${role}`, role, block, shape }));
  }
}

/** Return the file that holds a parameter; from the second block on its number is in the name. */
function fileOf({ role, block }) {
  return `${ROLES[role][0]}${block ? `_block_${block + 1}` : ""}.csv`;
}

/** Whether a parameter maps numbers to numbers, unlike a list of vectors or a single vector. */
function isMap({ role, shape }) {
  return shape.length === 2 && !role.endsWith("embeddings.weight");
}

/** Return how a parameter's table looks: what its rows and columns are called, its header, and how rows begin. */
function layoutOf(parameter, { model_kind: kind, context_size: context, architecture }, tokens) {
  const { role, shape } = parameter;
  const [numRows, numColumns] = isMap(parameter) ? shape.toReversed() : shape;
  const numbered = (label, count) => Array.from({ length: count }, (_, i) => label(i));
  const dims = (count) => numbered((i) => `dim_${i}`, count);
  const columns = shape.length === 1 ? ["value"] : dims(numColumns);
  if (role === "output.weight") {
    const size = architecture.embedding_dim;
    const sideBySide = kind === "embeddings" && !architecture.hidden_dim; // the vectors of all context tokens
    const label = (i) => `${Math.floor(i / size) - context}|dim_${i % size}`;
    const rows = sideBySide ? numbered(label, numRows) : dims(numRows);
    return { rows, columns: tokens, header: ["input_token", ...tokens], begins: [rows] };
  }
  const ids = numbered(String, numRows);
  if (role === "token_embeddings.weight" || role === "output.bias") {
    return { rows: tokens, columns, header: ["token_id", "token", ...columns], begins: [ids, tokens] };
  }
  const first = role.startsWith("position") ? "position" : "dim";
  return { rows: ids, columns, header: [first, ...columns], begins: [ids] };
}

// --- reading ------------------------------------------------------------------------------------------------

function weightsOfTables(meta, tokens, files) {
  const stored = new Map();
  for (const parameter of parametersOf(meta)) {
    const file = fileOf(parameter);
    const text = files.get(file);
    // WHY: a size that is not true must not fill the memory. A weight takes a digit and what parts it from the next.
    if (parameter.shape.reduce((a, b) => a * b) * 2 > text.length) {
      throw new Error(`${file}: too small for the ${parameter.shape.join(" x ")} weights that the metadata say`);
    }
    const layout = layoutOf(parameter, meta, tokens);
    stored.set(parameter.name, readParameter(parameter, layout, file, text, meta.weights.rows[file]));
  }
  return stored;
}

function readParameter(parameter, { rows, columns, header, begins }, file, text, expected) {
  const [high, wide] = [rows.length, columns.length];
  const numbers = new Float64Array(high * wide);
  // In a map, a row of the file is a column of W.
  const [rowStep, columnStep] = isMap(parameter) ? [1, high] : [wide, 1];
  let row = 0;
  const take = (cells) => {
    if (begins.some((labels, i) => cells[i] !== labels[row])) {
      throw new Error(`the row of ${quoted(rows[row] ?? "nothing more")} should stand here`);
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
  return { shape: parameter.shape, numbers };
}

function weightsOfSafetensors(meta, files) {
  const stored = readSafetensors(files.get(SAFETENSORS_NAME), SAFETENSORS_NAME);
  let needed = 0;
  for (const { name, shape } of parametersOf(meta)) {
    needed += 1;
    if (stored.get(name)?.shape.join() !== shape.join()) {
      throw new Error(`${SAFETENSORS_NAME}: ${name} is missing, or its shape is not ${shape.join(" x ")}`);
    }
  }
  if (needed !== stored.size) {
    throw new Error(`${SAFETENSORS_NAME}: ${stored.size} parameters instead of ${needed}`);
  }
  return stored;
}

// --- operations on one token's numbers ----------------------------------------------------------------------

/** Return W x + b. */
function linear(x, { shape, numbers }, bias) {
  const [numOut, numIn] = shape;
  const y = new Float64Array(numOut);
  for (let i = 0, at = 0; i < numOut; i++) {
    let sum = 0;
    for (let j = 0; j < numIn; j++) {
      sum += x[j] * numbers[at++];
    }
    y[i] = bias === undefined ? sum : sum + bias.numbers[i];
  }
  return y;
}

/** Return a row of a list of vectors. */
function rowOf({ shape, numbers }, index) {
  return Float64Array.from(numbers.subarray(index * shape[1], (index + 1) * shape[1]));
}

function plus(x, y) {
  return x.map((a, i) => a + y[i]);
}

/** LayerNorm where there is a bias, RMSNorm otherwise. */
function normalize(x, gain, bias) {
  const mean = bias === undefined ? 0 : x.reduce((a, b) => a + b, 0) / x.length;
  const centred = x.map((a) => a - mean);
  const scale = 1 / Math.sqrt(centred.reduce((sum, a) => sum + a * a, 0) / x.length + NORM_EPSILON);
  return centred.map((a, i) => a * scale * gain.numbers[i] + (bias === undefined ? 0 : bias.numbers[i]));
}

const GELU_SCALE = Math.sqrt(2 / Math.PI);

function gelu(a) {
  return 0.5 * a * (1 + Math.tanh(GELU_SCALE * (a + 0.044715 * a * a * a)));
}

function silu(a) {
  return a * (0.5 + 0.5 * Math.tanh(0.5 * a)); // x sigmoid(x), which does not overflow in this form
}

/** Turn pairs of numbers by an angle that grows with the token's position, in each head. */
function rotate(x, position, headSize) {
  const y = new Float64Array(x.length);
  for (let i = 0; i < x.length; i += 2) {
    const angle = position * ROPE_BASE ** (-(i % headSize) / headSize);
    const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
    y[i] = x[i] * cosine - x[i + 1] * sine;
    y[i + 1] = x[i] * sine + x[i + 1] * cosine;
  }
  return y;
}

/** Let the last token look at all: softmax(q K^T / sqrt(D)) V, and how much it looked at each token, by head. */
function attend(query, keys, values, heads) {
  const size = query.length / heads;
  const found = new Float64Array(query.length);
  const weights = [];
  for (let begin = 0; begin < query.length; begin += size) {
    const scores = keys.map((key) => {
      let score = 0;
      for (let i = begin; i < begin + size; i++) {
        score += query[i] * key[i];
      }
      return score / Math.sqrt(size);
    });
    const shares = softmax(scores);
    weights.push([...shares]);
    shares.forEach((share, place) => {
      for (let i = begin; i < begin + size; i++) {
        found[i] += share * values[place][i];
      }
    });
  }
  return { found, weights };
}

// --- the networks -------------------------------------------------------------------------------------------

// Each is built from the metadata and the weights by name, and answers logits(ids) and glimpses(ids).
const NETWORKS = {
  embeddings: embeddingsNetwork,
  attention: attentionNetwork,
  gpt: transformerNetwork,
  llama: transformerNetwork,
};

/** Rung 500: N vectors side by side, perhaps a hidden layer, and one map to logits. */
function embeddingsNetwork(meta, weights) {
  const size = meta.architecture.embedding_dim;
  const join = (ids, known) => {
    const x = new Float64Array(ids.length * size);
    for (let place = ids.length - known; place < ids.length; place++) {
      x.set(rowOf(weights("token_embeddings.weight"), ids[place]), place * size);
    }
    return x;
  };
  const read = (x) => {
    const hidden = weights("hidden.weight");
    const last = hidden ? linear(x, hidden, weights("hidden.bias")).map(Math.tanh) : x;
    return linear(last, weights("output.weight"), weights("output.bias"));
  };
  const placeName = (known) => (known === 0 ? "no token" : known === 1 ? "last token" : `last ${known} tokens`);
  return {
    logits: (ids) => read(join(ids, ids.length)),
    // A token not yet known is a vector of zeros.
    glimpses: (ids) =>
      Array.from({ length: ids.length + 1 }, (_, known) => ({
        place: placeName(known),
        attention: [],
        logits: read(join(ids, known)),
      })),
  };
}

/** Rung 600: vectors of tokens and positions, one head, and one map to logits. */
function attentionNetwork(meta, weights) {
  const look = (ids) => {
    const vectors = ids.map((id, place) =>
      plus(rowOf(weights("token_embeddings.weight"), id), rowOf(weights("position_embeddings.weight"), place)),
    );
    const query = linear(vectors.at(-1), weights("attention.q_proj.weight"));
    const keys = vectors.map((x) => linear(x, weights("attention.k_proj.weight")));
    const values = vectors.map((x) => linear(x, weights("attention.v_proj.weight")));
    const { found, weights: shares } = attend(query, keys, values, 1);
    return { logits: linear(found, weights("output.weight"), weights("output.bias")), shares };
  };
  return {
    logits: (ids) => look(ids).logits,
    glimpses(ids) {
      const { logits, shares } = look(ids);
      const blind = Float64Array.from(weights("output.bias").numbers);
      return [
        { place: "no token", attention: [], logits: blind },
        { place: "attention", attention: shares, logits },
      ];
    },
  };
}

/** Rungs 700 and 800: blocks of attention and feed-forward around a stream that each adds to. */
function transformerNetwork(meta, weights) {
  const layers = meta.architecture.layers ?? 1;
  let read; // the ids that the memories hold
  let memories;
  const forget = () => {
    read = [];
    memories = Array.from({ length: layers }, () => ({ keys: [], values: [] }));
  };
  forget();
  /** Read one more token; return its numbers, and hand each stage to `watch`. */
  const step = (id, watch) => {
    let x = rowOf(weights("token_embeddings.weight"), id);
    const positions = weights("position_embeddings.weight");
    if (positions) {
      x = plus(x, rowOf(positions, read.length));
    }
    watch?.("embeddings", [], x);
    memories.forEach((memory, i) => {
      const block = (role) => weights(`blocks.${i}.${role}`);
      const { found, shares } = blockAttention(x, block, memory, read.length, meta);
      x = plus(x, found);
      x = plus(x, feedForward(normalize(x, block("norm_2.weight"), block("norm_2.bias")), block));
      watch?.(`block ${i + 1}`, shares, x);
    });
    read.push(id);
    return x;
  };
  const output = (x) => linear(normalize(x, weights("norm.weight"), weights("norm.bias")), weights("output.weight"));
  return {
    logits(ids) {
      // WHY: while a text grows token by token, only the new ones are read. When the window slides, every token has
      // another position, or another past, and all are read again.
      if (read.length >= ids.length || read.some((id, place) => id !== ids[place])) {
        forget();
      }
      return output(ids.slice(read.length).map((id) => step(id)).at(-1));
    },
    glimpses(ids) {
      forget();
      const glimpses = [];
      ids.slice(0, -1).forEach((id) => step(id));
      step(ids.at(-1), (place, attention, x) => glimpses.push({ place, attention, logits: output(x) }));
      return glimpses;
    },
  };
}

/** Return what attention adds to a token in one block; its key and value are kept in the block's memory. */
function blockAttention(x, block, memory, position, { model_kind: kind, architecture }) {
  const heads = architecture.heads ?? 1;
  const normed = normalize(x, block("norm_1.weight"), block("norm_1.bias"));
  const map = (role, numbers) => linear(numbers, block(`attention.${role}.weight`), block(`attention.${role}.bias`));
  let [query, key] = [map("q_proj", normed), map("k_proj", normed)];
  if (kind === "llama") {
    [query, key] = [query, key].map((numbers) => rotate(numbers, position, numbers.length / heads));
  }
  memory.keys.push(key);
  memory.values.push(map("v_proj", normed));
  const { found, weights } = attend(query, memory.keys, memory.values, heads);
  return { found: map("o_proj", found), shares: weights };
}

/** GPT-2's feed-forward layer; with a gate, Llama's: W_down (silu(W_gate x) * W_up x). */
function feedForward(x, block) {
  const gate = block("feed_forward.gate_proj.weight");
  const up = linear(x, block("feed_forward.up_proj.weight"), block("feed_forward.up_proj.bias"));
  const gates = gate ? linear(x, gate) : null;
  const inside = gates ? up.map((a, i) => silu(gates[i]) * a) : up.map(gelu);
  return linear(inside, block("feed_forward.down_proj.weight"), block("feed_forward.down_proj.bias"));
}

// --- looking into it ----------------------------------------------------------------------------------------

function explainGlimpses(glimpses, ids, k, tokens) {
  const probs = softmax(glimpses.at(-1).logits);
  const likeliest = topK(probs, k);
  return {
    kind: "network",
    context: ids.map((id) => tokens[id]),
    entries: likeliest.map((id) => ({ token: tokens[id], probability: probs[id] })),
    places: glimpses.map(({ place, attention, logits }) => ({
      place,
      attention,
      entries: likeliest.map((id) => ({ token: tokens[id], logit: logits[id] })),
    })),
  };
}

/** Return a parameter as a matrix to look at: a map inputs by outputs, as in its file. */
function matrixOf(parameter, meta, tokens, stored) {
  const { rows, columns } = layoutOf(parameter, meta, tokens);
  const file = fileOf(parameter);
  const [high, wide] = [rows.length, columns.length];
  const inBlock = meta.architecture.layers > 1 && parameter.name !== parameter.role;
  return {
    name: file.slice("00_".length, -".csv".length),
    file: meta.weights.layout === "safetensors" ? SAFETENSORS_NAME : file,
    rows,
    columns,
    note: ROLES[parameter.role][1] + (inBlock ? `, block ${parameter.block + 1}` : ""),
    get numbers() {
      const { numbers } = stored.get(parameter.name);
      const at = isMap(parameter) ? (i) => (i % wide) * high + Math.floor(i / wide) : (i) => i;
      return Float64Array.from(numbers, (_, i) => numbers[at(i)]);
    },
  };
}
