// network.js - Models 500 to 800: neural networks, read from their files and run forward, token by token.
//
// Concepts:
//     key-value cache: the keys and values of the tokens already read. While a text grows they stay the same, so only
//         the new tokens are read.
//     logit-lens step: what the network would predict if it stopped at a point on the way.
//
// Shapes: V tokens in the vocabulary, N in the context, C numbers per token, F in the feed-forward layer.
//
// It does not know how weights are learned, or where files come from.

import { headSizeOf, normEpsilonOf, sharedByOf, sizeOf, turnsOf } from "./architecture.js";
import { quoted } from "./csv.js";
import { isObject } from "./json.js";
import { matrixOf, parametersOf, readWeights } from "./parameters.js";
import { softmax, topK } from "./sampling.js";

const META_NAME = "00_meta.json";

/** @typedef {{step: string, attention: number[][], logits: Float64Array}} LogitLensStep */

/** @type {import("./run.js").FilesOf} */
export function filesOf(meta) {
  return [...new Set(parametersOf(meta).map(({ file }) => file))];
}

/** @type {import("./run.js").Rebuild} */
export function rebuild(meta, { tokens }, files) {
  if (!isObject(meta.architecture)) {
    throw new Error(`${META_NAME}: architecture is missing`);
  }
  const stored = readWeights(meta, tokens, files);
  const layers = layersFrom(stored, normEpsilonOf(meta));
  const network = NETWORKS[meta.model_kind](meta, layers);
  layers.checkAllUsed();
  const inOrder = parametersOf(meta).toSorted((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0));
  return {
    minContext: meta.model_kind === "embeddings" ? meta.context_size : 1,
    nextProbs: (ids) => softmax(network.logits(ids)),
    explain: (ids, k) => explainSteps(network.steps(ids), ids, k, tokens),
    matrices: () => inOrder.map((parameter) => matrixOf(parameter, meta, tokens, stored)),
    vectors() {
      const { shape, numbers } = stored.get("token_embeddings.weight");
      return { labels: tokens, numbers: Float64Array.from(numbers), size: shape[1] };
    },
  };
}

// --- layers: each is a function of one token's numbers ------------------------------------------------------

/**
 * Return makers of layers: each takes the stored weights of a name, and refuses a shape that does not fit.
 *
 * @param {Map<string, import("./parameters.js").Tensor>} stored - Weights by name.
 * @param {number} epsilon - What the norms add to a variance.
 */
function layersFrom(stored, epsilon) {
  const unused = new Set(stored.keys());
  const weights = (name, ...shape) => {
    const tensor = stored.get(name);
    if (tensor?.shape.join() !== shape.join()) {
      throw new Error(`${META_NAME}: its parameters lack ${name} of the shape ${shape.join(" x ")}`);
    }
    unused.delete(name);
    return tensor;
  };
  const has = (name) => stored.has(name);
  const biasOf = (name, size) => (has(`${name}.bias`) ? weights(`${name}.bias`, size).numbers : null);
  return {
    has: (name) => has(`${name}.weight`),
    vectors(name, count, size) {
      const { numbers } = weights(`${name}.weight`, count, size);
      return (i) => Float64Array.from(numbers.subarray(i * size, (i + 1) * size));
    },
    linear(name, numOut, numIn) {
      const { numbers } = weights(`${name}.weight`, numOut, numIn);
      const bias = biasOf(name, numOut);
      return (x) => linear(x, numbers, bias, numOut);
    },
    norm(name, size) {
      const gain = weights(`${name}.weight`, size).numbers;
      const shift = biasOf(name, size);
      return (x) => normalize(x, gain, shift, epsilon);
    },
    checkAllUsed() {
      for (const name of unused) {
        throw new Error(`${META_NAME}: the network has no use for its parameter ${quoted(name)}`);
      }
    },
  };
}

/** Return W x + b. */
function linear(x, numbers, bias, numOut) {
  const y = new Float64Array(numOut);
  for (let i = 0, at = 0; i < numOut; i++) {
    let sum = 0;
    for (let j = 0; j < x.length; j++) {
      sum += x[j] * numbers[at++];
    }
    y[i] = bias === null ? sum : sum + bias[i];
  }
  return y;
}

function plus(x, y) {
  return x.map((a, i) => a + y[i]);
}

/** LayerNorm if there is a shift, RMSNorm otherwise. */
function normalize(x, gain, shift, epsilon) {
  const mean = shift === null ? 0 : x.reduce((a, b) => a + b, 0) / x.length;
  const centered = x.map((a) => a - mean);
  const scale = 1 / Math.sqrt(centered.reduce((sum, a) => sum + a * a, 0) / x.length + epsilon);
  return centered.map((a, i) => a * scale * gain[i] + (shift === null ? 0 : shift[i]));
}

const GELU_SCALE = Math.sqrt(2 / Math.PI);

function gelu(a) {
  return 0.5 * a * (1 + Math.tanh(GELU_SCALE * (a + 0.044715 * a * a * a)));
}

function silu(a) {
  return a * (0.5 + 0.5 * Math.tanh(0.5 * a)); // x sigmoid(x), which does not overflow in this form
}

/** Rotate pairs of numbers by an angle that grows with the token's position, in each head. */
function rotate(x, position, turns) {
  const y = new Float64Array(x.length);
  for (let i = 0; i < x.length; i += 2) {
    const angle = position * turns[(i / 2) % turns.length];
    const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
    y[i] = x[i] * cosine - x[i + 1] * sine;
    y[i + 1] = x[i] * sine + x[i + 1] * cosine;
  }
  return y;
}

/** Return softmax(q K^T / sqrt(D)) V for the last token, and the softmax of each head; heads may share keys, values. */
function attend(query, keys, values, size, sharedBy = 1) {
  const found = new Float64Array(query.length);
  const weights = [];
  for (let begin = 0; begin < query.length; begin += size) {
    const shared = Math.floor(begin / size / sharedBy) * size; // where the head's keys and values begin
    const scores = keys.map((key) => {
      let score = 0;
      for (let i = 0; i < size; i++) {
        score += query[begin + i] * key[shared + i];
      }
      return score / Math.sqrt(size);
    });
    const shares = softmax(scores);
    weights.push([...shares]);
    shares.forEach((share, position) => {
      for (let i = 0; i < size; i++) {
        found[begin + i] += share * values[position][shared + i];
      }
    });
  }
  return { found, weights };
}

// --- the networks -------------------------------------------------------------------------------------------

// Each is built from the metadata and the makers of layers, and answers logits(ids) and steps(ids).
const NETWORKS = {
  embeddings: embeddingsNetwork,
  attention: attentionNetwork,
  gpt: transformerNetwork,
  llama: transformerNetwork,
};

/** Model 500: N vectors side by side, an optional hidden layer, and a linear layer to logits. */
function embeddingsNetwork(meta, layers) {
  const { vocab_size: vocab, context_size: context } = meta;
  const size = sizeOf(meta, "embedding_dim");
  const numJoined = context * size;
  const embedding = layers.vectors("token_embeddings", vocab, size);
  const numHidden = meta.architecture.hidden_dim ? sizeOf(meta, "hidden_dim") : 0;
  const hidden = numHidden ? layers.linear("hidden", numHidden, numJoined) : null;
  const output = layers.linear("output", vocab, numHidden || numJoined);
  // The logits if only the last `known` tokens are known; an unknown one is a vector of zeros.
  const logitsOf = (ids, known) => {
    const x = new Float64Array(numJoined);
    for (let position = ids.length - known; position < ids.length; position++) {
      x.set(embedding(ids[position]), position * size);
    }
    return output(hidden ? hidden(x).map(Math.tanh) : x);
  };
  const stepName = (known) => (known === 0 ? "no token" : known === 1 ? "last token" : `last ${known} tokens`);
  return {
    logits: (ids) => logitsOf(ids, ids.length),
    steps: (ids) =>
      Array.from({ length: ids.length + 1 }, (_, known) => ({
        step: stepName(known),
        attention: [],
        logits: logitsOf(ids, known),
      })),
  };
}

/** Model 600: vectors of tokens and positions, one attention head, and a linear layer to logits. */
function attentionNetwork(meta, layers) {
  const { vocab_size: vocab, context_size: context } = meta;
  const size = sizeOf(meta, "embedding_dim");
  const embedding = layers.vectors("token_embeddings", vocab, size);
  const position = layers.vectors("position_embeddings", context, size);
  const [query, key, value] = ["q", "k", "v"].map((name) => layers.linear(`attention.${name}_proj`, size, size));
  const output = layers.linear("output", vocab, size);
  const look = (ids) => {
    const vectors = ids.map((id, i) => plus(embedding(id), position(i)));
    const { found, weights } = attend(query(vectors.at(-1)), vectors.map(key), vectors.map(value), size);
    return { logits: output(found), attention: weights };
  };
  return {
    logits: (ids) => look(ids).logits,
    steps: (ids) => [
      { step: "no token", attention: [], logits: output(new Float64Array(size)) },
      { step: "attention", ...look(ids) },
    ],
  };
}

/** Models 700 and 800: blocks of attention and feed-forward, each of which adds to the token's numbers. */
function transformerNetwork(meta, layers) {
  const size = sizeOf(meta, "embedding_dim");
  const embedding = layers.vectors("token_embeddings", meta.vocab_size, size);
  // WHY asked: a Llama has no vectors of positions; it rotates queries and keys instead.
  const position = layers.has("position_embeddings")
    ? layers.vectors("position_embeddings", meta.context_size, size)
    : null;
  const blocks = [];
  for (let i = 0; i < sizeOf(meta, "layers"); i++) {
    blocks.push(blockOf(`blocks.${i}`, meta, layers, position === null));
  }
  const norm = layers.norm("norm", size);
  const head = layers.linear(meta.architecture.tied === true ? "token_embeddings" : "output", meta.vocab_size, size);
  const output = (x) => head(norm(x));

  let read; // the ids that the caches hold
  let caches;
  const forget = () => {
    read = [];
    caches = blocks.map(() => ({ keys: [], values: [] }));
  };
  forget();
  /** Read one more token; return its numbers, and pass what each step gives to `watch`. */
  const readOne = (id, watch) => {
    let x = embedding(id);
    if (position) {
      x = plus(x, position(read.length));
    }
    watch?.("embeddings", [], x);
    blocks.forEach((block, i) => {
      const { found, weights } = block.attention(x, caches[i], read.length);
      x = plus(x, found);
      x = plus(x, block.feedForward(x));
      watch?.(`block ${i + 1}`, weights, x);
    });
    read.push(id);
    return x;
  };
  return {
    logits(ids) {
      // WHY: when the window slides, every token has another position or another past, so all are read again.
      if (read.length >= ids.length || read.some((id, i) => id !== ids[i])) {
        forget();
      }
      return output(ids.slice(read.length).map((id) => readOne(id)).at(-1));
    },
    steps(ids) {
      forget();
      const steps = [];
      ids.slice(0, -1).forEach((id) => readOne(id));
      readOne(ids.at(-1), (step, attention, x) => steps.push({ step, attention, logits: output(x) }));
      return steps;
    },
  };
}

/** Return the two halves of a block: what each adds to a token's numbers. Attention extends the block's cache. */
function blockOf(name, meta, layers, isRotary) {
  const size = sizeOf(meta, "embedding_dim");
  const headSize = headSizeOf(meta);
  if (isRotary && headSize % 2) {
    throw new Error(`${META_NAME}: a head of ${headSize} numbers cannot be rotated in pairs`);
  }
  const norm = layers.norm(`${name}.norm_1`, size);
  const sharedBy = isRotary ? sharedByOf(meta) : 1;
  const numInside = headSize * sizeOf(meta, "heads");
  const query = layers.linear(`${name}.attention.q_proj`, numInside, size);
  const [key, value] = ["k", "v"].map((part) =>
    layers.linear(`${name}.attention.${part}_proj`, numInside / sharedBy, size),
  );
  const output = layers.linear(`${name}.attention.o_proj`, size, numInside);
  const turns = isRotary ? turnsOf(meta, headSize) : null;
  const placed = (x, position) => (isRotary ? rotate(x, position, turns) : x);
  const attention = (x, cache, position) => {
    const normed = norm(x);
    cache.keys.push(placed(key(normed), position));
    cache.values.push(value(normed));
    const { found, weights } = attend(placed(query(normed), position), cache.keys, cache.values, headSize, sharedBy);
    return { found: output(found), weights };
  };
  return { attention, feedForward: feedForwardOf(name, meta, layers) };
}

/** Return GPT-2's feed-forward layer W_down gelu(W_up x), or with a gate Llama's: W_down (silu(W_gate x) * W_up x). */
function feedForwardOf(name, meta, layers) {
  const [size, numInside] = [sizeOf(meta, "embedding_dim"), sizeOf(meta, "hidden_dim")];
  const norm = layers.norm(`${name}.norm_2`, size);
  const inner = (part) => layers.linear(`${name}.feed_forward.${part}_proj`, numInside, size);
  const gate = layers.has(`${name}.feed_forward.gate_proj`) ? inner("gate") : null;
  const up = inner("up");
  const down = layers.linear(`${name}.feed_forward.down_proj`, size, numInside);
  return (x) => {
    const normed = norm(x);
    const raised = up(normed);
    const gates = gate?.(normed);
    return down(gates ? raised.map((a, i) => silu(gates[i]) * a) : raised.map(gelu));
  };
}

// --- looking into it ----------------------------------------------------------------------------------------

function explainSteps(steps, ids, k, tokens) {
  const probs = softmax(steps.at(-1).logits);
  const best = topK(probs, k);
  return {
    kind: "network",
    context: ids.map((id) => tokens[id]),
    entries: best.map((id) => ({ token: tokens[id], probability: probs[id] })),
    steps: steps.map(({ step, attention, logits }) => ({
      step,
      attention,
      entries: best.map((id) => ({ token: tokens[id], logit: logits[id] })),
    })),
  };
}
