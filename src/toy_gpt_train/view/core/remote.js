// remote.js - A run that the page cannot compute: the server that sent the page computes the predictions.
//
// The model has the same interface as all others. Only, what it is asked for must have been fetched: prepare() does that.
//
// It does not know how a network computes.

import { isObject, parseObject } from "./json.js";

const ENTRIES = 8; // tokens explained

/** No file of weights is fetched. */
export const filesOf = () => [];

/** @type {(fetchAnswer: (query: string) => Promise<string>) => import("./run.js").Rebuild} */
export function rebuildFrom(fetchAnswer) {
  return (meta, { tokens }) => {
    let answer = { key: null };
    let asked = 0;
    let turn = Promise.resolve();
    const fetchOne = async (ids, explained) => {
      const text = await fetchAnswer(`ids=${ids.join(",")}&k=${explained ? ENTRIES : 0}`);
      answer = { key: ids.join(), explained, ...checked(parseObject(text, "predict"), meta.vocab_size) };
    };
    const isReady = (ids, explained = false) => answer.key === ids.join() && (answer.explained || !explained);
    const known = (ids, explained) => {
      if (!isReady(ids, explained)) {
        throw new Error("the server was not asked for this context");
      }
      return answer;
    };
    return {
      minContext: meta.model_kind === "embeddings" ? meta.context_size : 1,
      isReady,
      /** Fetch what nextProbs() and explain() will need; the server computes one context at a time, so only the last. */
      prepare(ids, explained) {
        if (isReady(ids, explained)) {
          return Promise.resolve();
        }
        asked += 1;
        const mine = asked;
        turn = turn.catch(() => {}).then(() => (mine === asked ? fetchOne(ids, explained) : null));
        return turn;
      },
      nextProbs: (ids) => known(ids, false).probs,
      explain(ids) {
        const { probs, best, steps } = known(ids, true);
        const entriesOf = (key, numbers) => best.map((id, i) => ({ token: tokens[id], [key]: numbers[i] }));
        return {
          kind: meta.model_kind === "context-mixing" ? "votes" : steps.length > 0 ? "network" : "probabilities",
          context: ids.map((id) => tokens[id]),
          entries: entriesOf("probability", best.map((id) => probs[id])),
          steps: steps.map(({ step, attention, logits }) => ({ step, attention, entries: entriesOf("logit", logits) })),
        };
      },
      matrices: () => [],
      vectors: () => null,
    };
  };
}

function checked({ probs, best = [], steps = [] }, vocabSize) {
  const isList = (value) => Array.isArray(value) && value.every(Number.isFinite);
  const isId = (id) => Number.isInteger(id) && id >= 0 && id < vocabSize;
  const isStep = ({ step, attention, logits }) =>
    typeof step === "string" && Array.isArray(attention) && attention.every(isList) && isList(logits);
  const good =
    isList(probs) && probs.length === vocabSize && Array.isArray(best) && best.every(isId) &&
    Array.isArray(steps) && steps.every((step) => isObject(step) && isStep(step));
  if (!good) {
    throw new Error("predict: not a list of probabilities and steps");
  }
  return { probs: Float64Array.from(probs), best, steps };
}
