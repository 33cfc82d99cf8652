// form.js - The training form: fields for the arguments of `toy-gpt train`.
//
// Training is always described by these arguments: the page's address has them (?train=), the form shows them, and the
// package parses them.

import { element, labeled, selectOf } from "../explorer/ui/dom.js";
import { cut, join, part } from "./arguments.js";
import { corpusPart } from "./corpus.js";

const TOKENIZERS = [
  ["word", "a word"],
  ["char", "a character"],
  ["bpe", "a piece (BPE)"],
];
const WINDOW = { fixedContext: true, isTable: true }; // context-N, of which there are more than the list has

/**
 * Make the form.
 *
 * @param {object} about - playground.json.
 * @param {string} line - The arguments to start with.
 * @param {boolean} folded - Whether the fields are hidden at first.
 * @param {(order: {line: string, corpus: string, text: string}) => void} onTrain
 * @param {() => void} onStop
 * @param {(problem: string) => void} onProblem - Called with a sentence if something in the arguments does not exist.
 * @returns {Promise<{node: HTMLElement, setBusy: (busy: boolean) => void}>}
 * @throws {Error} The text cannot be fetched.
 */
export async function trainingForm(about, line, folded, onTrain, onStop, onProblem) {
  const fields = fieldsOf(about);
  const [values, others] = part(cut(line), [...fields.map(({ flag }) => flag), "--corpus"]);
  for (const { flag, control } of fields.filter(({ flag }) => values.has(flag))) {
    if (!setValue(control, values.get(flag))) {
      others.push(flag, values.get(flag)); // the package reports what is wrong with it
    }
  }
  const more = element("input", { type: "text", autocomplete: "off", spellcheck: "false", value: join(others) });
  const command = element("code.command");
  const wanted = values.get("--corpus")?.split("/").at(-1);
  const corpus = await corpusPart(about.corpora, wanted, () => update(), onProblem);

  const asLine = () => {
    const given = fields.filter(({ node, control }) => !node.hidden && control.value !== "");
    const words = given.flatMap(({ flag, control }) => [flag, control.value]);
    return `${join([...words, "--corpus", `corpus/${corpus.name()}`])} ${more.value}`.trim();
  };
  const update = () => {
    const model = about.models.find(({ kind }) => kind === fields[0].control.value) ?? WINDOW;
    fields.forEach(({ node, suits }) => (node.hidden = !suits(model)));
    command.textContent = `uv run toy-gpt train ${asLine()}`;
  };
  const submit = (event) => {
    event.preventDefault();
    onTrain({ line: asLine(), corpus: corpus.name(), text: corpus.text() });
  };
  const train = element("button.main", { type: "submit" }, "Train");
  const stop = element("button", { type: "button", disabled: true, onclick: onStop }, "Stop");
  const settings = [
    corpus.node,
    element("div.fields", ...fields.map((field) => field.node)),
    labeled("More options of toy-gpt train", more, "field.wide"),
  ];
  const node = element(
    "form",
    { onsubmit: submit, oninput: update, novalidate: true }, // the package reports what is wrong
    element("details.settings", { open: !folded }, element("summary", "The text and the settings"), ...settings),
    element("div.fields.act", train, stop),
    element("p.note", "The same in a terminal: ", command),
  );
  update();
  const setBusy = (busy) => {
    train.disabled = busy;
    stop.disabled = !busy;
  };
  stop.addEventListener("click", () => (stop.disabled = true)); // once is enough
  return { node, setBusy };
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
