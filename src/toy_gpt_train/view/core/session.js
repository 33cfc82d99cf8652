// session.js - A text being written with a model: the prompt, what was added to it, and what may come next.
//
// It uses a model's nextProbs() and explain(), a tokenizer's tokenize() and join(), and knows nothing of the page.

import { chooseToken, lastIds, seededRandom, topK } from "./sampling.js";
import { nearest, plural, visible } from "./text.js";

/** @typedef {{token: string, id: number | undefined, used: boolean, generated: boolean}} Piece A token of the text. */

export class Session {
  /** @param {object} run - What loadRun() gives. */
  constructor(run) {
    this.run = run;
    this.sampling = { temperature: 0, topP: 1, seed: 0 };
    this.setPrompt(run.tokenizer.join(run.meta.start_tokens ?? []));
  }

  /** Start again with another text. */
  setPrompt(text) {
    this.prompt = text;
    this.promptTokens = this.run.tokenizer.tokenize(text);
    this.reset();
  }

  /** Remove the added tokens, and restart the random numbers from the seed. */
  reset() {
    this.generated = [];
    this.random = seededRandom(this.sampling.seed);
    this.lookAfter(null);
  }

  /** Predict what comes after the first `count` tokens, as if the text ended there; null: after all of them. */
  lookAfter(count) {
    this.end = count;
    this.#forget();
  }

  /** Change how the next token is chosen; a new seed restarts the random numbers. */
  setSampling(changes) {
    const seed = this.sampling.seed;
    this.sampling = { ...this.sampling, ...changes };
    if (this.sampling.seed !== seed) {
      this.random = seededRandom(this.sampling.seed);
    }
  }

  #forget() {
    this.probs = null;
    this.piecesNow = null;
  }

  /** @returns {Piece[]} The tokens of the text and the generated ones; `used` marks those the model uses. */
  get pieces() {
    if (this.piecesNow === null) {
      const { tokens, idOf } = this.run.vocabulary;
      const prompt = this.promptTokens.map((token) => ({ token, id: idOf.get(token), generated: false }));
      const added = this.generated.map((id) => ({ token: tokens[id], id, generated: true }));
      const all = [...prompt, ...added];
      const end = this.end ?? all.length;
      const first = Math.max(end - this.run.model.contextSize, 0);
      this.piecesNow = all.map((piece, i) => ({ ...piece, used: i >= first && i < end }));
    }
    return this.piecesNow;
  }

  /** @returns {number[]} The ids that the model uses, oldest first. */
  get context() {
    return this.pieces.filter((piece) => piece.used).map((piece) => piece.id);
  }

  /** @returns {string[]} The tokens that the model would use but does not know, each once. */
  get unknown() {
    return [...new Set(this.pieces.filter((piece) => piece.used && piece.id === undefined).map(({ token }) => token))];
  }

  /** @returns {string | null} Why nothing can be predicted, as a sentence; null if it can. */
  get problem() {
    const { model } = this.run;
    if (this.unknown.length) {
      return `The model does not know ${this.unknown.map(visible).join(", ")}, so it cannot say what comes next.`;
    }
    const have = this.end ?? this.pieces.length;
    if (have < model.minContext) {
      const needs = `This model looks back ${plural(model.minContext, "token")}, so it needs that many to start from`;
      return `${needs}; there ${have === 1 ? "is 1" : `are ${have}`}. Write more.`;
    }
    return null;
  }

  /** @returns {boolean} Whether all tokens of a text are known. */
  knows(text) {
    return this.run.tokenizer.tokenize(text).every((token) => this.run.vocabulary.idOf.has(token));
  }

  /** @returns {string[]} Known tokens that are like an unknown one. */
  suggestions(token) {
    return nearest(token, this.run.vocabulary.tokens);
  }

  /** @returns {string} The prompt with `by` in place of an unknown token, or without it if `by` is null. */
  replaced(token, by) {
    const tokens = this.promptTokens.map((one) => (one === token ? by : one)).filter((one) => one !== null);
    return this.run.tokenizer.join(tokens);
  }

  /** Wait until what comes next is known, and perhaps why; at once where the page computes it. */
  async prepare(explained) {
    if (this.problem === null) {
      await this.run.model.prepare?.(this.context, explained);
    }
  }

  /** @returns {boolean} Whether the next token is known, or the page can compute it. */
  get isReady() {
    return this.problem === null && (this.isLocal || this.run.model.isReady(this.context));
  }

  /** @returns {boolean} Whether several tokens may be added without waiting. */
  get isLocal() {
    return this.run.model.prepare === undefined;
  }

  /** @returns {Float64Array | null} The probability of each next token; null if there is a problem. */
  probabilities() {
    if (this.probs === null && this.problem === null) {
      this.probs = this.run.model.nextProbs(this.context);
    }
    return this.probs;
  }

  /** Append one token, chosen by the sampling settings. */
  step() {
    const id = chooseToken(this.probabilities(), this.sampling, this.random);
    this.generated.push(id);
    this.lookAfter(null);
  }

  /** @returns {string[]} The tokens that were added. */
  get added() {
    return this.generated.map((id) => this.run.vocabulary.tokens[id]);
  }

  /** @returns {string} The tokens of the prompt as text. */
  get start() {
    return this.run.tokenizer.join(this.promptTokens);
  }

  /** @returns {string} The prompt and what was added, as text. */
  get text() {
    return this.run.tokenizer.join([...this.promptTokens, ...this.added]);
  }

  /** @returns {object} Why this token: the model's explanation for the current context. */
  explain(k) {
    return this.run.model.explain(lastIds(this.context, this.run.model.contextSize), k);
  }

  /** @returns {import("./network.js").Trace} A prediction part by part; only of a model that has `trace`. */
  trace() {
    return this.run.model.trace(this.context);
  }
}

/**
 * Return the probability that each token is drawn: after temperature and top-p.
 *
 * @param {Float64Array} probs
 * @param {{temperature: number, topP: number}} sampling
 * @returns {Float64Array}
 */
export function drawProbabilities(probs, { temperature, topP }) {
  const ranked = topK(probs, probs.length);
  const drawn = new Float64Array(probs.length);
  if (temperature === 0) {
    drawn[ranked[0]] = 1;
    return drawn;
  }
  const weights = ranked.map((id) => (probs[id] / probs[ranked[0]]) ** (1 / temperature));
  const limit = topP * weights.reduce((sum, weight) => sum + weight, 0);
  let kept = 0;
  let reached = 0;
  while (kept < ranked.length && (kept === 0 || reached < limit)) {
    reached += weights[kept];
    kept += 1;
  }
  for (let i = 0; i < kept; i++) {
    drawn[ranked[i]] = weights[i] / reached;
  }
  return drawn;
}
