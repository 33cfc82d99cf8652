// panel_explain.js - Why this token? The model's explanation of its prediction, shown in a way that fits the model.

import { bar } from "./charts.js";
import { element, fill } from "./dom.js";
import { plainTable } from "./record_table.js";
import { countText, numberText, percentText, probabilityText, visible } from "../core/text.js";

const MOST_ENTRIES = 8;
const ENTRIES_OF_A_STEP = 5;
const VIEWS = {
  prefix: "the word so far",
  word_1: "the word before",
  word_2: "the word before that",
  column: "the position in the line",
};

/**
 * Make the panel. It is computed only while it is open.
 *
 * @type {(session: import("../core/session.js").Session, change: () => void) =>
 *     {node: HTMLElement, update: () => void}}
 */
export function explainPanel(session, change) {
  const shows = {
    row: showRow,
    backoff: showBackoff,
    ngrams: showNgrams,
    mixture: showMixture,
    votes: showVotes,
    network: showNetwork,
    probabilities: showProbabilities,
  };
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
    fill(place, ...shows[explanation.kind](explanation, session));
  };
  node.addEventListener("toggle", () => node.open && change());
  return { node, update };
}

function name(token) {
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

// --- back-off -----------------------------------------------------------------------------------------------

function showBackoff({ levels }) {
  let share = 1; // of the whole, that a context gets
  const steps = levels.map((level, i) => {
    const step = stepOf(level, share, i + 1 < levels.length);
    share *= level.weightOfShorter;
    return step;
  });
  const rest = `What is left, ${percentText(share)} of the whole, is split evenly among all tokens.`;
  steps.push(element("div.step", element("p", rest)));
  steps.forEach((step, i) => steps[i - 1]?.append(step));
  const how =
    "The longest context is asked first. It keeps a part of the probability for the tokens that followed it in " +
    "training, and passes the rest on to the next shorter one. In shorter contexts, a token is counted once for " +
    "each different token before the context.";
  return [element("p", how), steps[0]];
}

/** Make one step: what followed a context, and how much it passes on; `share` is what it gets of the whole. */
function stepOf({ context, count, once, twice, threeOrMore, entries, weightOfShorter }, share, hasShorter) {
  const title = context.length ? ["After", ...context.flatMap((token) => [" ", name(token)])] : ["Without any context"];
  const step = element("div.step", element("h4", ...title));
  if (count === 0) {
    step.append(element("p", `Never seen, so everything is passed on: ${percentText(share)} of the whole.`));
    return step;
  }
  const kept = share * (1 - weightOfShorter);
  const to = hasShorter ? " to the shorter context" : "";
  const passed = `It keeps ${percentText(1 - weightOfShorter)} and passes on ${percentText(weightOfShorter)}${to}`;
  const [first, second, third] = [once, twice, threeOrMore].map((discount) => numberText(discount, 3));
  const rows = entries
    .slice(0, ENTRIES_OF_A_STEP)
    .map(({ token, count: counted, share: keeps, probability }) => [
      name(token),
      countText(counted),
      probabilityText(keeps),
      probabilityText(probability),
    ]);
  step.append(
    element("p", `Count: ${countText(count)}. ${passed}, so it decides ${percentText(kept)} of the whole.`),
    bar(kept),
    plainTable("Followers", ["token", "count", "keeps", "probability here"], rows),
    element("p.note", `Discounts: ${first} from a count of 1, ${second} from 2, ${third} from 3 or more.`),
  );
  return step;
}

// --- n-grams of other software ------------------------------------------------------------------------------

function showNgrams({ levels }) {
  const steps = levels.map(({ context, found, followers, weight, entries }, i) => {
    const title = context.length ? ["After", ...context.flatMap((token) => [" ", name(token)])] : ["Without any context"];
    const step = element("div.step", element("h4", ...title));
    if (!found) {
      step.append(element("p", "The list has no n-gram that begins so: the shorter context decides."));
      return step;
    }
    const rows = entries.slice(0, ENTRIES_OF_A_STEP).map((entry) => [name(entry.token), probabilityText(entry.probability)]);
    step.append(
      element("p", `The list has ${countText(followers)} tokens that followed, with a probability for each.`),
      plainTable("Followers", ["token", "probability here"], rows),
    );
    if (i + 1 < levels.length) {
      const rest = `Every other token gets ${numberText(weight)} times its probability after the shorter context.`;
      step.append(element("p.note", rest));
    }
    return step;
  });
  steps.forEach((step, i) => steps[i - 1]?.append(step));
  const how =
    "Other software counted these n-grams. A token that followed the longest context has its probability in the list. " +
    "For any other token, the next shorter context is asked, and its answer is multiplied by a weight.";
  return [element("p", how), steps[0]];
}

// --- a mixture ----------------------------------------------------------------------------------------------

function showMixture({ experts, entries }) {
  const largest = Math.max(...experts.map(({ weight }) => Math.abs(weight)));
  const weights = experts.map(({ views, weight }) => [
    inWords(views),
    bar(Math.abs(weight) / largest, weight < 0 ? "bar-minus" : "bar"),
    numberText(weight),
  ]);
  const opinion = ({ token, probability }) => element("span", name(token), ` ${probabilityText(probability)}`);
  const opinions = experts.map((expert) => [inWords(expert.views), ...expert.entries.slice(0, 4).map(opinion)]);
  const ranks = ["1st", "2nd", "3rd", "4th"].slice(0, opinions[0].length - 1);
  const together = entries.map(({ token, probability }) => [name(token), probabilityText(probability)]);
  const how =
    "Several experts look at the text, each in its own way. Each one's probabilities are raised to a learned power, " +
    "its mixture weight; then they are multiplied, and made to sum to 1. The weight says how far to trust the expert.";
  return [
    element("p", how),
    plainTable("Mixture weights", ["expert", "as a bar", "weight"], weights, 2),
    plainTable("What each expert predicts", ["expert", ...ranks], opinions, 5),
    plainTable("Together", ["token", "probability"], together),
  ];
}

/** Say what an expert looks at: ["lag_1", "lag_2"] becomes "the last 2 tokens". */
function inWords(views) {
  const lags = views.filter((view) => view.startsWith("lag_")).length;
  const tokens = lags > 1 ? [`the last ${lags} tokens`] : lags === 1 ? ["the last token"] : [];
  return [...tokens, ...views.filter((view) => !view.startsWith("lag_")).map((view) => VIEWS[view] ?? view)].join(", ");
}

// --- a model that only the server can compute ---------------------------------------------------------------

function showProbabilities({ entries }) {
  const rows = entries.map(({ token, probability }) => [name(token), probabilityText(probability)]);
  const how = "This model has more counts than a page can show, so the server that sent the page computes its predictions.";
  return [element("p", how), plainTable("The most likely tokens", ["token", "probability"], rows)];
}

// --- context mixing -----------------------------------------------------------------------------------------

function showVotes({ entries, steps }) {
  const rows = steps.map(({ step, entries: votes }) => [step, ...votes.map(({ logit }) => numberText(logit))]);
  const how =
    "A token is a few yes-or-no decisions. The numbers say how much each context adds to the log-odds of those for a " +
    "token, its weight included. The last line is the logarithm of the token's probability.";
  return [element("p", how), plainTable("Votes", ["context", ...entries.map(({ token }) => visible(token))], rows)];
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
