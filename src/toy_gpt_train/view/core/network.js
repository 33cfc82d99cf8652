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
import { attend, gelu, linear, normalize, plus, rotate, silu } from "./layers.js";
import { matrixOf, parametersOf, readWeights } from "./parameters.js";
import { softmax, topK } from "./sampling.js";

const META_NAME = "00_meta.json";

/** @typedef {{step: string, attention: number[][], logits: Float64Array}} LogitLensStep */

/**
 * What a token's numbers become in a block: `input`, `normed`, its `query`, `key` and `value`, for each head its `scores`
 * of all tokens so far and their softmax `weights`, the `mix` of values, what attention adds (`attended`), the sum
 * (`between`), the `inside` of the feed-forward layer, what that adds (`forward`), and the `output`.
 *
 * @typedef {Object<string, Float64Array | number[][]>} BlockNotes
 */
/**
 * One prediction, part by part: the numbers of the last token, and for all tokens what each head looks at.
 *
 * @typedef {object} Trace
 * @property {string[]} tokens - T of them.
 * @property {number} headSize
 * @property {Float64Array} embedding
 * @property {BlockNotes[]} blocks
 * @property {Float64Array[][]} attention - For each block and head T x T numbers, a row for each token that looks.
 * @property {Float64Array} logits
 */

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
    trace: network.trace && ((ids) => ({ tokens: ids.map((id) => tokens[id]), ...network.trace(ids) })),
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
    trace(ids) {
      const vectors = ids.map((id, i) => plus(embedding(id), position(i)));
      const [queries, keys, values] = [query, key, value].map((layer) => vectors.map(layer));
      const looks = vectors.map((_, i) => attend(queries[i], keys.slice(0, i + 1), values.slice(0, i + 1), size));
      const { found, weights, scores } = looks.at(-1);
      const last = { query: queries.at(-1), key: keys.at(-1), value: values.at(-1), scores, weights, mix: found };
      return {
        headSize: size,
        embedding: vectors.at(-1),
        blocks: [{ input: vectors.at(-1), ...last, output: found }],
        attention: triangles(looks.map((one) => [one.weights])),
        logits: output(found),
      };
    },
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
  /** Read one more token; return its numbers, and pass what each block does to `watch`: see BlockNotes. */
  const readOne = (id, watch) => {
    let x = embedding(id);
    if (position) {
      x = plus(x, position(read.length));
    }
    watch?.({ output: x, weights: [] });
    blocks.forEach((block, i) => {
      const looked = block.attention(x, caches[i], read.length);
      const between = plus(x, looked.attended);
      const { inside, forward } = block.feedForward(between);
      const output = plus(between, forward);
      watch?.({ input: x, ...looked, between, inside, forward, output });
      x = output;
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
      readOne(ids.at(-1), ({ weights: attention, output: x }) =>
        steps.push({ step: steps.length ? `block ${steps.length}` : "embeddings", attention, logits: output(x) }),
      );
      return steps;
    },
    trace(ids) {
      forget();
      let notes; // of one token: its embedding, then each block
      const looks = ids.map((id) => {
        notes = [];
        readOne(id, (some) => notes.push(some));
        return notes.slice(1).map(({ weights }) => weights);
      });
      const [{ output: embedded }, ...inBlocks] = notes;
      return {
        headSize: headSizeOf(meta),
        embedding: embedded,
        blocks: inBlocks,
        attention: triangles(looks),
        logits: output(inBlocks.at(-1).output),
      };
    },
  };
}

/** Return for each block and head the matrix of what each token looks at, from the rows by token, block and head. */
function triangles(looks) {
  const count = looks.length;
  return looks[0].map((heads, block) =>
    heads.map((_, head) => {
      const matrix = new Float64Array(count * count);
      looks.forEach((look, row) => matrix.set(look[block][head], row * count));
      return matrix;
    }),
  );
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
    const asked = placed(query(normed), position);
    const { found, weights, scores } = attend(asked, cache.keys, cache.values, headSize, sharedBy);
    const [lastKey, lastValue] = [cache.keys.at(-1), cache.values.at(-1)];
    return { normed, query: asked, key: lastKey, value: lastValue, scores, weights, mix: found, attended: output(found) };
  };
  return { attention, feedForward: feedForwardOf(name, meta, layers) };
}

/**
 * Return the feed-forward layer, a function that gives its inside and its result: GPT-2's W_down gelu(W_up x), or with a
 * gate Llama's W_down (silu(W_gate x) * W_up x).
 */
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
    const inside = gates ? raised.map((a, i) => silu(gates[i]) * a) : raised.map(gelu);
    return { inside, forward: down(inside) };
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
