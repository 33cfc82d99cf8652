// app.js - The page: which run is shown, and which one beside it.
//
// The address says what is shown, so it can be shared: ?run=NAME&beside=NAME, and ?runs=URL for another index.

import { column } from "./column.js";
import { element, fill, labeled, selectOf } from "./dom.js";
import { loadRun, loadRuns } from "../core/run.js";

const NONE = "";
const page = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);

// What each of the two places shows: the name of the run, and its column once it has been read.
const shown = [
  { parameter: "run", label: "Run", name: NONE, column: null, place: page("first") },
  { parameter: "beside", label: "Beside it", name: NONE, column: null, place: page("second") },
];

async function start() {
  try {
    const indexUrl = new URL(query.get("runs") ?? "runs.json", document.baseURI);
    if (indexUrl.origin !== location.origin) {
      throw new Error("The list of runs must be on the same server as this page.");
    }
    const runs = await loadRuns(indexUrl.href);
    if (runs.length === 0) {
      throw new Error("The list of runs is empty. Train a run first: toy-gpt train");
    }
    const known = (name) => runs.some((run) => run.name === name);
    const wanted = query.get("run");
    const { notes, opens } = await wordsOf(indexUrl);
    say(wanted === null || known(wanted) ? "" : `There is no run called "${wanted}"; this is another one.`, notes);
    shown[0].name = [wanted, opens].find(known) ?? runs[0].name;
    shown[1].name = known(query.get("beside")) ? query.get("beside") : NONE;
    fill(page("choose"), ...shown.map((one) => chooserOf(one, runs)), sameText());
    shown.forEach((one) => open(one, runs));
  } catch (error) {
    fill(shown[0].place);
    say(error.message);
  }
}

/** Return the sentences of the index on runs that were left out, and which run it wants to be opened first, if any. */
async function wordsOf(indexUrl) {
  const { notes = [], open: opens = null } = await (await fetch(indexUrl)).json();
  return { notes: notes.map(String), opens };
}

/** Show a problem at the top of the page, and notes below it. */
function say(problem, notes = []) {
  const sentences = notes.map((note) => element("p.notice", note));
  fill(page("message"), problem ? element("p.problem", problem) : null, ...sentences);
}

function chooserOf(one, runs) {
  const names = runs.map(({ name }) => [name, name]);
  const choices = one === shown[0] ? names : [[NONE, "nothing"], ...names];
  const select = selectOf(choices, one.name, (name) => {
    one.name = name;
    say("");
    remember();
    open(one, runs);
  });
  return labeled(one.label, select);
}

function sameText() {
  const box = element("input", { type: "checkbox", id: "same", checked: true });
  return element("label.choice", { id: "same-choice", hidden: true }, box, element("span", "Same text in both"));
}

/** Read the run of a place, and show it. */
async function open(one, runs) {
  one.column?.stop();
  one.column = null;
  const beside = shown[1].name !== NONE;
  document.body.classList.toggle("two", beside);
  page("same-choice").hidden = !beside;
  const entry = runs.find(({ name }) => name === one.name);
  if (entry === undefined) {
    fill(one.place);
    return;
  }
  fill(one.place, element("p.note", { role: "status" }, `Reading ${entry.name} …`));
  try {
    const run = await loadRun(entry);
    if (one.name !== entry.name) {
      return; // another run was chosen meanwhile
    }
    one.column = column(run, entry, (prompt) => share(one, prompt));
    fill(one.place, one.column.node);
    if (run.model.trace) {
      one.column.setPrompt(entry.text ?? upToQuestion(run));
    }
    takeOver(one);
  } catch (error) {
    if (one.name === entry.name) {
      fill(one.place, element("p.problem", { role: "alert" }, `${entry.name} cannot be shown: ${error.message}`));
    }
  }
}

/** Return the beginning of the training text up to its first question, if it asks one: then the model has to look back. */
function upToQuestion({ meta, tokenizer }) {
  const end = meta.start_tokens.indexOf("?") + 1;
  return tokenizer.join(end > 0 ? meta.start_tokens.slice(0, end) : meta.start_tokens);
}

/** Give the other column the same text. */
function share(one, prompt) {
  const other = otherThan(one);
  if (page("same").checked && other.column !== null) {
    other.column.setPrompt(prompt);
  }
}

/** Let a column start with the other one's text, if it knows all of its tokens. */
function takeOver(one) {
  const other = otherThan(one);
  if (page("same").checked && other.column !== null && one.column.session.knows(other.column.session.prompt)) {
    one.column.setPrompt(other.column.session.prompt);
  }
}

function otherThan(one) {
  return shown.find((place) => place !== one);
}

function remember() {
  for (const { parameter, name } of shown) {
    if (name === NONE) {
      query.delete(parameter);
    } else {
      query.set(parameter, name);
    }
  }
  history.replaceState(null, "", `?${query}`);
}

start();
