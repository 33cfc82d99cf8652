// form.js - The training form: fields for the arguments of `toy-gpt train`.
//
// Training is always described by these arguments: the page's address has them (?train=), the form shows them, and the
// package parses them.
//
// Concepts:
//     automatic argument: one that the page adds because nobody has given it: how many steps a network takes in about a
//         minute on this computer, and how often its curve gets a point.

import { element, fill, labeled, selectOf } from "../explorer/ui/dom.js";
import { cut, join, part } from "./arguments.js";
import { corpusPart } from "./corpus.js";

const TOKENIZERS = [
  ["word", "a word"],
  ["char", "a character"],
  ["bpe", "a piece (BPE)"],
];
const WINDOW = { fixedContext: true, isTable: true }; // context-N, of which there are more than the list has
const STORY_WORLD = "040_story_world.txt";
const SECONDS = 60; // that a network trains, where nobody says how many steps
const SECONDS_TO_POINT = 1.5; // from one point of the curve to the next
const EVALUATED = ["--eval-windows", "8"]; // WHY so few: measuring must not take longer than learning

/** @typedef {{line: string, corpus: string, text: string}} Order What to train: the arguments, the text and its name. */
/** @typedef {{seconds: number, perStep: number | null}} Pace How long it takes here: in all, and a network's step. */

/**
 * Make the form.
 *
 * @param {object} about - playground.json.
 * @param {{line: string, text?: string}} start - The arguments to start with, and a text of one's own.
 * @param {{train: () => void, change: () => void, problem: (sentence: string) => void}} on - What to call: when Train is
 *     pressed; when the order is another one; with a sentence if something in the arguments does not exist.
 * @returns {Promise<object>} `node`; `order()`; `isNetwork()`; `pace(pace)`, which says how long the order will take;
 *     `needsPace()`, whether the order waits for that; `use(start)`, which fills the form; `setBusy(busy)`; `fold(open)`.
 * @throws {Error} The text cannot be fetched.
 */
export async function trainingForm(about, start, on) {
  const fields = fieldsOf(about);
  const more = element("input", { type: "text", autocomplete: "off", spellcheck: "false" });
  const command = element("code.command");
  const summary = element("span.note");
  const expected = element("p.expected", { role: "status" });
  const corpus = corpusPart(about.corpora, () => update(), on.problem);
  let pace = null;

  const model = () => about.models.find(({ kind }) => kind === fields[0].control.value) ?? WINDOW;
  const given = () => fields.filter(({ node, control }) => !node.hidden && control.value !== "");
  const saidFlags = () => [...given().map(({ flag }) => flag), ...cut(more.value).map((word) => word.split("=")[0])];
  const isLeftToUs = () => model().isNetwork === true && !saidFlags().includes("--steps");
  const automatic = () => {
    if (!isLeftToUs() || !pace?.perStep) {
      return [];
    }
    const said = saidFlags();
    const points = Math.max(Math.round(SECONDS_TO_POINT / pace.perStep), 1);
    const words = [["--steps", String(roundNumber(SECONDS / pace.perStep))], ["--eval-every", String(points)], EVALUATED];
    const isHeldOut = said.includes("--val-fraction");
    return words.filter(([flag]) => !said.includes(flag) && (flag !== EVALUATED[0] || isHeldOut)).flat();
  };
  const asLine = (added) => {
    const words = given().flatMap(({ flag, control }) => [flag, control.value]);
    return `${join([...words, ...added, "--corpus", `corpus/${corpus.name()}`])} ${more.value}`.trim();
  };
  const show = () => {
    fields.forEach(({ node, suits }) => (node.hidden = !suits(model())));
    command.textContent = `uv run toy-gpt train ${asLine(automatic())}`;
    summary.textContent = `: ${fields[0].control.value}, ${corpus.name()}`;
    fields.find(({ flag }) => flag === "--steps").control.placeholder = "1 minute";
  };
  const update = () => {
    pace = null;
    fill(expected);
    show();
    on.change();
  };
  const suit = () => {
    // WHY: a network learns little from the few words of the smallest texts.
    if (model().isNetwork) {
      const own = corpus.name() === corpus.own;
      const [tokens, heldOut] = ["--tokenizer", "--val-fraction"].map((flag) => fields.find((one) => one.flag === flag).control);
      tokens.value = own ? "char" : "word";
      heldOut.value ||= "0.1";
      if (!own && corpus.name() !== STORY_WORLD) {
        corpus.choose(STORY_WORLD);
      }
    }
    update();
  };
  const use = async ({ line, text }) => {
    const [values, others] = part(cut(line), [...fields.map(({ flag }) => flag), "--corpus"]);
    for (const { flag, control } of fields) {
      if (!setValue(control, values.get(flag) ?? (control.tagName === "SELECT" ? control.options[0].value : ""))) {
        others.push(flag, values.get(flag)); // the package reports what is wrong with it
      }
    }
    more.value = join(others);
    await corpus.use(nameOf(line), text);
    update();
  };
  fields[0].control.addEventListener("change", suit);
  const train = element("button.main", { type: "submit" }, "Train");
  const settings = element(
    "details.settings",
    { open: true },
    element("summary", "Text and settings", summary),
    element("div.fields", ...fields.slice(0, 2).map((field) => field.node)),
    corpus.node,
    element("div.fields", ...fields.slice(2).map((field) => field.node)),
    element(
      "details.more",
      element("summary", "More options, and the same in a terminal"),
      labeled("More options of toy-gpt train", more, "field.wide"),
      element("p.note", "The same in a terminal: ", command),
    ),
  );
  const submit = (event) => {
    event.preventDefault();
    on.train();
  };
  const node = element(
    "form",
    { onsubmit: submit, oninput: (event) => event.target !== corpus.area && update(), novalidate: true },
    settings,
    element("div.fields.act", train, expected),
  );
  await use(start);
  return {
    node,
    act: node.lastChild,
    use,
    needsPace: () => isLeftToUs() && pace === null,
    isNetwork: () => model().isNetwork === true,
    order: () => ({ line: asLine(automatic()), corpus: corpus.name(), text: corpus.text(), isOwn: corpus.name() === corpus.own }),
    pace(found) {
      pace = found;
      const steps = asLine(automatic()).match(/--steps[ =](\d+)/)?.[1];
      const seconds = found.perStep && steps ? found.perStep * steps : found.seconds;
      const how = found.perStep && steps ? `, ${steps} steps` : "";
      fill(expected, seconds === null ? null : `${secondsText(seconds)} on this computer${how}`);
      show();
    },
    setBusy: (busy) => (train.hidden = expected.hidden = busy),
    fold: (open) => (settings.open = open),
  };
}

/** Return how a person would say a time: "about 50 s", "about 3 min". */
export function secondsText(seconds) {
  if (seconds < 1.5) {
    return "about a second";
  }
  return seconds < 90 ? `about ${roundNumber(seconds)} s` : seconds < 5400 ? `about ${Math.round(seconds / 60)} min` : "more than an hour";
}

/** Return a whole number with two digits that count: 1234 becomes 1200. */
function roundNumber(number) {
  const power = 10 ** Math.max(Math.floor(Math.log10(Math.max(number, 1))) - 1, 0);
  return Math.max(Math.round(number / power) * power, 1);
}

/** Return the name of the text in a line; undefined if it names none. */
function nameOf(line) {
  return part(cut(line), ["--corpus"])[0].get("--corpus")?.split("/").at(-1);
}

/** Return the fields: the flag of each, its control, and which models it is for. */
function fieldsOf({ models }) {
  const all = () => true;
  const learns = ({ isTable, isNetwork }) => isTable || isNetwork;
  const kinds = models.map(({ kind, code, adds }) => [kind, `${code} ${kind}: ${adds}`]);
  const field = (label, flag, control, suits) => ({ flag, control, suits, node: labeled(label, control) });
  const choice = (label, flag, choices) => field(label, flag, selectOf(choices, choices[0][0], () => {}), all);
  const number = (label, flag, suits, limits) =>
    field(label, flag, element("input", { type: "number", placeholder: "default", ...limits }), suits);
  return [
    choice("Model", "--model", kinds),
    choice("A token is", "--tokenizer", TOKENIZERS),
    number("Context N", "--context", ({ fixedContext }) => !fixedContext, { min: 1 }),
    number("Epochs", "--epochs", ({ isTable }) => isTable, { min: 1 }),
    number("Steps", "--steps", ({ isNetwork }) => isNetwork, { min: 1 }),
    number("Learning rate", "--learning-rate", learns, { min: 0, step: "any" }),
    number("Held-out share", "--val-fraction", all, { min: 0, max: 0.9, step: "any" }),
    number("Seed", "--seed", ({ isNetwork }) => isNetwork, {}),
  ];
}

/** Set a control; a list of choices gets a missing one, such as context-7. Returns whether the value fits. */
function setValue(control, value) {
  if (control.tagName === "SELECT" && ![...control.options].some((option) => option.value === value)) {
    control.append(element("option", { value }, value));
  }
  control.value = value;
  return control.value === value;
}
