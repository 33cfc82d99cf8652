// panel_inside.js - One prediction of a network from its first numbers to its last: ten steps, each tied to a part of the
// picture and shown with its numbers; and for every head what each token looks at.

import { bar } from "./charts.js";
import { element, fill, labeled, selectOf } from "./dom.js";
import { attentionView } from "./attention.js";
import { strip } from "./strip.js";
import { plainTable } from "./record_table.js";
import { softmax, topK } from "../core/sampling.js";
import { numberText, percentText, probabilityText, visible } from "../core/text.js";

const MOST_ROWS = 6;

/**
 * Make the panel. It is computed only while it is open.
 *
 * @type {(session: import("../core/session.js").Session) => {node: HTMLElement, update: () => void}}
 */
export function insidePanel(session) {
  const choice = { block: 0, head: 0, step: 0, isMade: false };
  const place = element("div");
  const view = attentionView((block, head) => {
    Object.assign(choice, { block, head, isMade: true });
    show();
  });
  const node = element("section.inside-prediction", element("h3", "Inside this prediction"), place, view.node);
  let trace = null;
  let shown = null;

  function show() {
    const { blocks, attention } = trace;
    const steps = stepsOf(trace, choice, session.run);
    choice.step = Math.min(choice.step, steps.length - 1);
    const number = (name, count, value, what) => {
      const choices = Array.from({ length: count }, (_, i) => [String(i), `${i + 1} of ${count}`]);
      const select = selectOf(choices, String(value), (chosen) => {
        choice[what] = Number(chosen);
        choice.isMade = true;
        show();
      });
      return labeled(name, select);
    };
    const detail = element("div.detail", { role: "region", "aria-label": "A step of the prediction", "aria-live": "polite" });
    const back = element("button", { type: "button", onclick: () => go(choice.step - 1) }, "Back");
    const next = element("button.main", { type: "button", onclick: () => go(choice.step + 1) }, "Next");
    const pickers = element(
      "div.fields",
      number("Block", blocks.length, choice.block, "block"),
      number("Head", attention[0].length, choice.head, "head"),
    );
    const go = (i) => {
      choice.step = Math.max(0, Math.min(i, steps.length - 1));
      [...boxes.children].forEach((box, j) => {
        box.firstChild.setAttribute("aria-current", j === choice.step ? "step" : "false");
      });
      const { title, says, numbers } = steps[choice.step];
      back.disabled = choice.step === 0;
      next.disabled = choice.step === steps.length - 1;
      fill(
        detail,
        element("p.note", `Step ${choice.step + 1} of ${steps.length}`),
        element("h4", title),
        ...says.map((sentence) => element("p", sentence)),
        numbers(),
      );
    };
    const boxOf = ({ title, shape, vector, isOfBlock }, i) => {
      const parts = [element("span.title", title), vector ? strip(vector) : null, element("span.shape", shape)];
      const button = element("button", { type: "button", onclick: () => go(i), onpointerenter: (event) => event.pointerType === "mouse" && go(i) }, ...parts);
      return element(isOfBlock ? "li.of-block" : "li", button);
    };
    const boxes = element("ol.flow", ...steps.map((step, i) => boxOf(step, i)));
    fill(
      place,
      element("p", "How the last token becomes a prediction. Point at a part, or press Next and walk through it."),
      pickers,
      element("div.parts.walk", boxes, element("div", element("div.fields", back, next), detail)),
    );
    go(choice.step);
    view.show(trace, choice);
  }

  const update = () => {
    if (shown === session.pieces) {
      return; // WHY: another way of choosing does not change the model's prediction
    }
    shown = session.pieces;
    node.hidden = session.problem !== null;
    if (!node.hidden) {
      trace = session.trace();
      if (!choice.isMade) {
        Object.assign(choice, surest(trace));
      }
      show();
    }
  };
  return { node, update };
}

/** Return the block and the head whose last token looks hardest at a single other one: the one to look at first. */
function surest({ blocks }) {
  const looks = blocks.flatMap(({ weights }, block) =>
    weights.map((shares, head) => ({ block, head, most: Math.max(...shares.slice(0, -1), 0) })),
  );
  const { block, head } = looks.reduce((best, one) => (one.most > best.most ? one : best));
  return { block, head };
}

// --- the steps ----------------------------------------------------------------------------------------------

/** Return the numbers of a vector as a table of a few, and a strip of all. */
function vectorOf(name, vector) {
  const some = Array.from(vector.slice(0, 8), (value) => numberText(value, 3)).join(", ");
  return element("div", strip(vector, 26), element("p.note", `${name}: ${some}${vector.length > 8 ? ", …" : ""} (${vector.length} numbers)`));
}

/** Return a table of the largest of some numbers, a row for each token. */
function ranked(caption, names, tokens, numbers, cells) {
  const rows = topK(numbers, MOST_ROWS).map((i) => [element("code", visible(tokens[i])), ...cells(i)]);
  return plainTable(caption, ["token", ...names], rows, 2);
}

/**
 * Return the steps of a prediction: the title of each, what it says, the numbers it shows, and how the picture has it.
 *
 * @param {import("../core/network.js").Trace} trace
 */
function stepsOf(trace, { block: at, head }, run) {
  const { tokens, embedding, blocks, logits, headSize } = trace;
  const block = blocks[at];
  const last = visible(tokens.at(-1));
  const sharedBy = block.query.length / block.key.length;
  const part = (vector, of = head) => vector.subarray(of * headSize, (of + 1) * headSize);
  const [query, key, value] = [part(block.query), part(block.key, Math.floor(head / sharedBy)), part(block.value, Math.floor(head / sharedBy))];
  const [scores, weights] = [block.scores[head], block.weights[head]];
  const most = tokens[topK(weights, 1)[0]];
  const probs = softmax(logits);
  const best = run.vocabulary.tokens[topK(probs, 1)[0]];
  const where = `block ${at + 1}, head ${head + 1}`;
  const vocabulary = run.vocabulary.tokens;
  const [id] = [run.vocabulary.idOf.get(tokens.at(-1))];
  const one = (title, vector, says) => ({
    title,
    vector,
    shape: `${vector.length}`,
    says,
    isOfBlock: true,
    numbers: () => vectorOf(title, vector),
  });
  const steps = [
    {
      title: "Tokens",
      shape: `${tokens.length}`,
      says: [`The network reads ${tokens.length} tokens. It predicts what comes after the last one, “${last}”.`, `For the network, “${last}” is only a number: ${id} of ${vocabulary.length}.`],
      numbers: () => element("p", ...tokens.slice(-12).flatMap((token) => [element("code", visible(token)), " "])),
    },
    {
      title: "Embedding",
      vector: embedding,
      shape: `${embedding.length}`,
      says: [`Row ${id} of the embedding table: ${embedding.length} learned numbers that stand for “${last}”. Each cell of the strip is one of them: orange above zero, blue below.`],
      numbers: () => vectorOf("embedding", embedding),
    },
    block.normed && one("Norm", block.normed, [`Block ${at + 1} begins. It brings the numbers to a common size, so that no token is louder than another.`]),
    {
      title: "Query, key, value",
      vector: query,
      shape: `3 × ${headSize}`,
      isOfBlock: true,
      says: [`Three linear layers of ${where}. The query says what “${last}” looks for. Each token has a key, which says what it offers, and a value, which is what it gives.`],
      numbers: () => element("div", vectorOf("query", query), vectorOf("key", key), vectorOf("value", value)),
    },
    {
      title: "Scores",
      vector: Float64Array.from(scores),
      shape: `${tokens.length}`,
      isOfBlock: true,
      says: [`The query of “${last}” times the key of each token, summed, and divided by √${headSize}. A large score means: this is what I look for.`],
      numbers: () => ranked("Largest scores", ["score"], tokens, scores, (i) => [numberText(scores[i], 3)]),
    },
    {
      title: "Attention",
      vector: Float64Array.from(weights),
      shape: `${tokens.length}`,
      isOfBlock: true,
      says: [`Softmax turns the scores into shares that sum to 1. This head looks most at “${visible(most)}”.`],
      numbers: () => ranked("Largest shares", ["as a bar", "share"], tokens, weights, (i) => [bar(weights[i]), percentText(weights[i])]),
    },
    one("Mix of values", part(block.mix), [`The values of all tokens, each multiplied by its share, and summed: mostly what “${visible(most)}” gives. All ${block.scores.length} heads do this, and stand side by side.`]),
    block.between && one("Add", block.between, ["What attention has found is added to the numbers that came into the block. So nothing is lost: a block only adds."]),
    block.inside && {
      ...one("Feed-forward", block.forward, [`Each token by itself: ${block.inside.length} hidden numbers, most of them near zero, then back to ${block.forward.length}. The result is added, too.`]),
      numbers: () => element("div", vectorOf("hidden", block.inside), vectorOf("added", block.forward), vectorOf("leaves the block", block.output)),
    },
    {
      title: "Logits, probabilities",
      shape: `${logits.length}`,
      says: [`A score for each of the ${logits.length} tokens. Softmax makes them probabilities. “${visible(best)}” is the most likely.`],
      numbers: () => ranked("Most likely", ["as a bar", "logit", "probability"], vocabulary, logits, (i) => [bar(probs[i]), numberText(logits[i], 3), probabilityText(probs[i])]),
    },
  ];
  return steps.filter(Boolean);
}
