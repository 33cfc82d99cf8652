// layers.js - The arithmetic of networks, on the numbers of one token: linear layers, norms, activations, attention.
//
// It knows no weights by name, and no files.

import { softmax } from "./sampling.js";

/** Return W x + b. */
export function linear(x, numbers, bias, numOut) {
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

export function plus(x, y) {
  return x.map((a, i) => a + y[i]);
}

/** LayerNorm if there is a shift, RMSNorm otherwise. */
export function normalize(x, gain, shift, epsilon) {
  const mean = shift === null ? 0 : x.reduce((a, b) => a + b, 0) / x.length;
  const centered = x.map((a) => a - mean);
  const scale = 1 / Math.sqrt(centered.reduce((sum, a) => sum + a * a, 0) / x.length + epsilon);
  return centered.map((a, i) => a * scale * gain[i] + (shift === null ? 0 : shift[i]));
}

const GELU_SCALE = Math.sqrt(2 / Math.PI);

export function gelu(a) {
  return 0.5 * a * (1 + Math.tanh(GELU_SCALE * (a + 0.044715 * a * a * a)));
}

export function silu(a) {
  return a * (0.5 + 0.5 * Math.tanh(0.5 * a)); // x sigmoid(x), which does not overflow in this form
}

/** Rotate pairs of numbers by an angle that grows with the token's position, in each head. */
export function rotate(x, position, turns) {
  const y = new Float64Array(x.length);
  for (let i = 0; i < x.length; i += 2) {
    const angle = position * turns[(i / 2) % turns.length];
    const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
    y[i] = x[i] * cosine - x[i + 1] * sine;
    y[i + 1] = x[i] * sine + x[i + 1] * cosine;
  }
  return y;
}

/** Return softmax(q K^T / sqrt(D)) V for the last token, and each head's scores and softmax; heads may share keys, values. */
export function attend(query, keys, values, size, sharedBy = 1) {
  const found = new Float64Array(query.length);
  const [allScores, weights] = [[], []];
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
    allScores.push(scores);
    weights.push([...shares]);
    shares.forEach((share, position) => {
      for (let i = 0; i < size; i++) {
        found[begin + i] += share * values[position][shared + i];
      }
    });
  }
  return { found, weights, scores: allScores };
}
