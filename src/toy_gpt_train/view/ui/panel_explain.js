// panel_explain.js - Why this token? The model's explanation of its prediction, shown in a way that fits the model.

import { element, fill } from "./dom.js";
import { plainTable } from "./record_table.js";
import { numberText, probabilityText, visible } from "../core/text.js";

const MOST_ENTRIES = 8;

/**
 * Make the panel. It is computed only while it is open.
 *
 * @type {(session: import("../core/session.js").Session, change: () => void) =>
 *     {node: HTMLElement, update: () => void}}
 */
export function explainPanel(session, change) {
  const shows = { row: showRow, network: showNetwork };
  const place = element("div.why");
  // WHY not of all: a prediction that can be traced is shown in full below.
  const node = element("details", { open: !session.run.model.trace }, element("summary", element("h3", "Why this token?")), place);
  let shown = null;
  const update = () => {
    if (!node.open || shown === session.pieces) {
      return; // WHY: another way of choosing does not change the model's prediction
    }
    shown = session.pieces;
    if (session.problem !== null) {
      fill(place, element("p.note", "Nothing to explain yet."));
      return;
    }
    const explanation = session.explain(MOST_ENTRIES);
    fill(place, ...(shows[explanation.kind] ?? showCounts)(explanation, session));
  };
  node.addEventListener("toggle", () => node.open && change());
  return { node, update };
}

/** Make the name of a token. */
export function name(token) {
  return element("code", visible(token));
}

// --- a table ------------------------------------------------------------------------------------------------

function showRow({ label, entries, seen }) {
  const rows = entries.map(({ token, logit, probability }) => [
    name(token),
    numberText(logit),
    numberText(Math.exp(logit)),
    probabilityText(probability),
  ]);
  const sum = numberText(Math.exp(entries[0].logit) / entries[0].probability);
  const how = seen
    ? `Its weights become probabilities by softmax: e to the power of each, divided by the sum over all tokens, ${sum}.`
    : "Training never saw this context, so all its weights are still 0: every token is equally likely.";
  return [
    element("p", "The table has one row for each context. The row used here is ", name(label), "."),
    element("p", how),
    plainTable("Largest weights of the row", ["token", "weight (logit)", "e to the weight", "probability"], rows),
  ];
}

// --- a network ----------------------------------------------------------------------------------------------

function showNetwork({ context, steps }, session) {
  const probs = session.probabilities();
  const rows = steps.at(-1).entries.map(({ token }) => [
    name(token),
    ...steps.map(({ entries }) => numberText(entries.find((one) => one.token === token).logit)),
    probabilityText(probs[session.run.vocabulary.idOf.get(token)]),
  ]);
  const how =
    "What the network would predict if it stopped after each step (the logit lens). Softmax turns the logits of the " +
    "last step into the probabilities.";
  const names = ["token", ...steps.map(({ step }) => step), "probability"];
  const heads = steps.flatMap(({ step, attention }) =>
    attention.map((weights, i) => [`${step}, head ${i + 1}`, weights]),
  );
  const matrix = {
    name: "Attention of the last token",
    rows: heads.map(([head]) => head),
    columns: context.map(visible),
    numbers: heads.flatMap(([, weights]) => [...weights]),
    rowName: "head",
    columnName: "token",
    fromEnd: true,
  };
  const attention = [
    element("h4", "Attention"),
    element("p", "How much the last token looks at each token of the context. Each row sums to 1."),
  ];
  const logits = plainTable("Logits, step by step", names, rows);
  return [element("p", how), logits, ...(heads.length ? [...attention, heatmapOf(matrix)] : [])];
}

/** Show a matrix. WHY loaded when needed: most models have no heads, and the page starts sooner without it. */
function heatmapOf(matrix) {
  const place = element("div");
  import("./heatmap.js").then(
    ({ heatmap }) => fill(place, heatmap(matrix)),
    (error) => fill(place, element("p.problem", { role: "alert" }, `This cannot be shown: ${error.message}`)),
  );
  return place;
}

// --- models that count --------------------------------------------------------------------------------------

/** Show the explanation of a model that counts. WHY loaded when needed: a page with another model starts sooner. */
function showCounts(explanation) {
  const place = element("div.why");
  import("./explain_counts.js").then(
    ({ shows }) => fill(place, ...shows[explanation.kind](explanation)),
    (error) => fill(place, element("p.problem", { role: "alert" }, `This cannot be shown: ${error.message}`)),
  );
  return [place];
}
