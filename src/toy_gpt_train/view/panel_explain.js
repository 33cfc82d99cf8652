// panel_explain.js - Why this token? What the model says of its own prediction, one way of showing for each kind.

import { bar } from "./charts.js";
import { element, fill } from "./dom.js";
import { heatmap } from "./heatmap.js";
import { plainTable } from "./record_table.js";
import { countText, numberText, percentText, probabilityText, visible } from "./text.js";

const MOST_ENTRIES = 8;
const ENTRIES_OF_A_STEP = 5;
const VIEWS = {
  prefix: "the word so far",
  word_1: "the word before",
  word_2: "the word before that",
  column: "the place in the line",
};

/**
 * Make the panel. It is worked out only while it is open.
 *
 * @param {import("./session.js").Session} session
 * @returns {{node: HTMLElement, update: () => void}}
 */
export function explainPanel(session) {
  const shows = { row: showRow, backoff: showBackoff, mixture: showMixture, network: showNetwork };
  const place = element("div.why");
  const node = element("details", { open: true }, element("summary", element("h3", "Why this token?")), place);
  let shown = null;
  const update = () => {
    if (!node.open || shown === session.pieces) {
      return; // WHY: another way of choosing does not change what the model says
    }
    shown = session.pieces;
    if (session.problem !== null) {
      fill(place, element("p.note", "Nothing to explain yet."));
      return;
    }
    const explanation = session.explain(MOST_ENTRIES);
    fill(place, ...shows[explanation.kind](explanation, session));
  };
  node.addEventListener("toggle", update);
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
    : "Training never met this context, so all its weights are still 0: every token is equally likely.";
  return [
    element("p", "The table has one row for each context. The row that answers is ", name(label), "."),
    element("p", how),
    plainTable("Largest weights of the row", ["token", "weight (logit)", "e to the weight", "probability"], rows),
  ];
}

// --- back-off -----------------------------------------------------------------------------------------------

function showBackoff({ levels }) {
  let say = 1; // how much of the whole is handed to a context
  const steps = levels.map((level, i) => {
    const step = stepOf(level, say, i + 1 < levels.length);
    say *= level.weightOfShorter;
    return step;
  });
  const rest = `What is left, ${percentText(say)} of the whole, is shared out evenly: every token gets the same.`;
  steps.push(element("div.step", element("p", rest)));
  steps.forEach((step, i) => steps[i - 1]?.append(step));
  const how =
    "The longest context is asked first. It keeps a part of the probability for the tokens that it has seen, and " +
    "hands the rest on to the next shorter one. Below the longest, a token is counted once for each different " +
    "context that it came after.";
  return [element("p", how), steps[0]];
}

/** Make one step: what a context has seen, and how much it hands on; `say` is how much was handed to it. */
function stepOf({ context, count, once, twice, threeOrMore, entries, weightOfShorter }, say, hasShorter) {
  const title = context.length ? ["After", ...context.flatMap((token) => [" ", name(token)])] : ["Without any context"];
  const step = element("div.step", element("h4", ...title));
  if (count === 0) {
    step.append(element("p", `Never met, so everything is handed on: ${percentText(say)} of the whole.`));
    return step;
  }
  const kept = say * (1 - weightOfShorter);
  const to = hasShorter ? " to the shorter context" : "";
  const handed = `It keeps ${percentText(1 - weightOfShorter)} and hands on ${percentText(weightOfShorter)}${to}`;
  const [first, second, third] = [once, twice, threeOrMore].map((discount) => numberText(discount, 3));
  const rows = entries
    .slice(0, ENTRIES_OF_A_STEP)
    .map(({ token, count: counted, share, probability }) => [
      name(token),
      countText(counted),
      probabilityText(share),
      probabilityText(probability),
    ]);
  step.append(
    element("p", `Counted ${countText(count)}. ${handed}; so it decides ${percentText(kept)} of the whole.`),
    bar(kept),
    plainTable("What it has seen", ["token", "count", "keeps", "probability here"], rows),
    element("p.note", `Discounts: ${first} from a count of 1, ${second} from 2, ${third} from more.`),
  );
  return step;
}

// --- a mixture ----------------------------------------------------------------------------------------------

function showMixture({ experts, entries }) {
  const most = Math.max(...experts.map(({ power }) => Math.abs(power)));
  const powers = experts.map((expert) => [
    inWords(expert.name),
    bar(Math.abs(expert.power) / most, expert.power < 0 ? "bar-minus" : "bar"),
    numberText(expert.power),
  ]);
  const opinion = ({ token, probability }) => element("span", name(token), ` ${probabilityText(probability)}`);
  const opinions = experts.map((expert) => [inWords(expert.name), ...expert.entries.slice(0, 4).map(opinion)]);
  const ranks = ["1st", "2nd", "3rd", "4th"].slice(0, opinions[0].length - 1);
  const together = entries.map(({ token, probability }) => [name(token), probabilityText(probability)]);
  const how =
    "Several experts look at the text, each in its own way. Their probabilities are raised to learned powers, " +
    "multiplied, and made to sum to 1. A power says how far an expert is trusted here.";
  return [
    element("p", how),
    plainTable("Powers", ["expert", "as a bar", "power"], powers, 2),
    plainTable("What each expert would say", ["expert", ...ranks], opinions, 5),
    plainTable("Together", ["token", "probability"], together),
  ];
}

/** Say what an expert looks at: "expert_1: lag_1, lag_2" becomes "the last 2 tokens". */
function inWords(expert) {
  const views = expert.split(": ").at(-1).split(", ");
  const lags = views.filter((view) => view.startsWith("lag_")).length;
  const tokens = lags > 1 ? [`the last ${lags} tokens`] : lags === 1 ? ["the last token"] : [];
  return [...tokens, ...views.filter((view) => !view.startsWith("lag_")).map((view) => VIEWS[view] ?? view)].join(", ");
}

// --- a network ----------------------------------------------------------------------------------------------

function showNetwork({ context, places }, session) {
  const probs = session.probabilities();
  const rows = places.at(-1).entries.map(({ token }) => [
    name(token),
    ...places.map(({ entries }) => numberText(entries.find((one) => one.token === token).logit)),
    probabilityText(probs[session.run.vocabulary.idOf.get(token)]),
  ]);
  const how =
    "What the network would say if the way through it ended at each place. The logits of the last place become the " +
    "probabilities by softmax.";
  const names = ["token", ...places.map(({ place }) => place), "probability"];
  const heads = places.flatMap(({ place, attention }) =>
    attention.map((weights, i) => [`${place}, head ${i + 1}`, weights]),
  );
  const map = {
    name: "Attention of the last token",
    rows: heads.map(([head]) => head),
    columns: context.map(visible),
    numbers: heads.flatMap(([, weights]) => [...weights]),
    rowName: "head",
    columnName: "token",
  };
  const attention = [
    element("h4", "Attention"),
    element("p", "How much the last token looks at each token of the context. A row sums to 1."),
  ];
  const logits = plainTable("Logits, step by step", names, rows);
  return [element("p", how), logits, ...(heads.length ? [...attention, heatmap(map)] : [])];
}
