// explain_counts.js - Why this token? The explanations of models that count, besides tables.

import { bar } from "./charts.js";
import { element } from "./dom.js";
import { name } from "./panel_explain.js";
import { plainTable } from "./record_table.js";
import { countText, numberText, percentText, probabilityText, visible } from "../core/text.js";

const ENTRIES_OF_A_STEP = 5;
const VIEWS = {
  prefix: "the word so far",
  word_1: "the word before",
  word_2: "the word before that",
  column: "the position in the line",
};

/** What shows an explanation, by its kind. */
export const shows = {
  backoff: showBackoff,
  ngrams: showNgrams,
  mixture: showMixture,
  votes: showVotes,
  probabilities: showProbabilities,
};

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
