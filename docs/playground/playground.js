// playground.js - The page: the form, a training run, the trained model in the explorer, and the runs kept from before.
//
// ?train=ARGUMENTS starts with these arguments of `toy-gpt train`, &text=… with a text of one's own; &inside=lesson, for
// a lesson, trains at once.

import { column } from "../explorer/ui/column.js";
import { debounced, element, fill } from "../explorer/ui/dom.js";
import { loadRun } from "../explorer/core/run.js";
import { trainingForm } from "./form.js";
import { forget, keep, keepForm, keptForm, keptRuns } from "./kept.js";
import { addressOf, textOf } from "./link.js";
import { nameOf, runList } from "./runs.js";
import { stage } from "./stage.js";
import { Trainer } from "./trainer.js";

const page = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
const IN_LESSON = query.get("inside") === "lesson";
const isNarrow = () => matchMedia("(max-width: 60rem)").matches; // the form stands above what it makes
const WAIT = 700; // milliseconds without a change before the time is measured
const ELSEWHERE = "The lessons and the explorer work without it, and so does the command in a terminal.";
const START = "--model bigram --tokenizer word --corpus corpus/001_animals.txt --val-fraction 0.2";
const IDEAS = [
  ["Count words", "Which word follows which? A table of counts, in a second.", START],
  [
    "Count letters",
    "Looks back five letters, and backs off where it has seen nothing.",
    "--model kneser-ney --tokenizer char --context 5 --val-fraction 0.1 --corpus corpus/030_stories.txt",
  ],
  [
    "Train a Transformer",
    "The network of today's chat programs, very small. Watch it learn to tell stories, in about a minute.",
    "--model llama --tokenizer word --val-fraction 0.1 --corpus corpus/040_story_world.txt",
  ],
];

/** Show a problem; "" removes it. */
function say(problem) {
  fill(page("message"), problem ? element("p.problem", problem) : null);
}

/** Return what the browser lacks, as a sentence; null if it lacks nothing. */
function lacking() {
  if (typeof WebAssembly !== "object" || typeof Worker !== "function") {
    return "This browser has no WebAssembly, which is what runs Python here, so nothing can be trained on this page.";
  }
  return null;
}

async function start() {
  document.body.classList.toggle("inside", IN_LESSON);
  const lack = lacking();
  if (lack !== null) {
    say(`${lack} ${ELSEWHERE}`);
    fill(page("training"));
    return;
  }
  try {
    await show(await description());
  } catch (error) {
    say(`The playground cannot be read: ${error.message}. ${ELSEWHERE}`);
    fill(page("training"));
  }
}

/** Fetch the site's description of the playground. */
async function description() {
  const response = await fetch("playground.json");
  if (!response.ok) {
    throw new Error(`playground.json is missing (${response.status})`);
  }
  return response.json();
}

/** Return the arguments to start with, and a text: those of the address, those of the last visit, or an example. */
async function beginning() {
  if (query.has("train")) {
    return { line: query.get("train"), text: await textOf(query) };
  }
  return (await remembered(() => keptForm("order"))) ?? { line: START };
}

/** Return what this browser remembers; undefined if it does not let us ask. */
async function remembered(ask) {
  try {
    return await ask();
  } catch {
    return undefined;
  }
}

async function show(about) {
  const trainer = new Trainer(about, (kind, content) => heard[kind]?.(content));
  const view = stage(ask);
  const list = runList({ open, share, forget: remove });
  let opened = null; // the run on the page, once it is read
  let order = null; // what is being trained
  let paced = null; // the order whose time was asked for; then it is trained, if that waits
  let waits = false;
  const measure = () => {
    paced = form.order();
    trainer.measure(paced);
  };
  const measureSoon = debounced(() => order === null && measure(), WAIT);
  let form = null;
  form = await trainingForm(about, await beginning(), { train, change: changed, problem: say });

  function changed() {
    if (form !== null && !IN_LESSON) {
      const { line, text, isOwn } = form.order();
      remembered(() => keepForm("order", { line, text: isOwn ? text : undefined }));
      measureSoon();
    }
  }
  /** Train what the form says: a network as soon as it is known how long its steps take. */
  function train() {
    say("");
    begin();
    if (form.needsPace()) {
      waits = true;
      if (trainer.isReady) {
        view.status("Taking one step, to see how fast this computer is …");
      }
      measure();
    } else {
      trainer.train(order);
    }
  }
  function begin() {
    order = form.order();
    close();
    form.setBusy(true);
    form.fold(false);
    fill(ideas);
    view.begin(form.isNetwork());
    if (!IN_LESSON && isNarrow()) {
      view.controls.scrollIntoView({ block: "start" });
    }
  }
  function ask(message) {
    if (message.stop) {
      view.status("Stopping …");
      trainer.stop();
    } else {
      trainer.ask(message);
    }
  }
  function over(problem) {
    order = null;
    waits = false;
    form.setBusy(false);
    form.fold(!IN_LESSON && !isNarrow());
    view.end();
    say(problem);
  }
  function close() {
    opened?.then((run) => run.close());
    opened = null;
    fill(page("result"));
  }
  async function open(run) {
    close();
    await form.use({ line: run.line, text: run.isOwn ? run.text : undefined });
    view.end();
    view.samples(run.written);
    if (run.records.length) {
      view.curve(run.records);
    }
    view.done(run);
    opened = openRun(run);
    await opened;
    page("result").scrollIntoView({ block: "start" });
  }
  async function share(run) {
    const { address, hasText } = await addressOf(run);
    history.replaceState(null, "", address);
    const copied = await remembered(() => navigator.clipboard.writeText(address).then(() => true));
    const where = copied ? "The link is copied" : "The link is in the address bar";
    const rest = hasText ? "" : " Your text is too long for a link: it has the settings only.";
    list.say(`${where}: it opens ${nameOf(run)}, to be trained again.${rest}`);
  }
  async function remove(run) {
    await remembered(() => forget(run.id));
    await showKept();
  }
  async function showKept() {
    list.show(IN_LESSON ? [] : ((await remembered(keptRuns)) ?? []));
  }
  const heard = {
    loading: ({ fetched, total }) =>
      order && view.progress(fetched / total, `Fetching Python: ${megabytes(fetched)} of ${megabytes(total)} MB, only once`),
    ready: ({ version }) => order && view.status(`Python ${version} is ready`),
    pace: (pace) => {
      const isAsked = pace.order.line === paced.line && pace.order.text === paced.text;
      if (!isAsked || (order !== null && !waits)) {
        return; // another one was chosen meanwhile, or it is being trained
      }
      form.pace(pace);
      if (waits) {
        waits = false;
        order = form.order();
        trainer.train(order);
      }
    },
    progress: ({ fraction, status }) => view.training(fraction, status),
    record: (record) => view.record(record),
    sample: (one) => view.sample(one),
    learned: async (made) => {
      view.learned();
      opened = openRun(made);
      await opened;
      if (!IN_LESSON) {
        page("result").scrollIntoView({ block: "start" });
      }
    },
    problem: (sentence) => over(sentence),
    stopped: () => over("Stopped before there was anything to save."),
    failed: (message) => (order === null ? null : over(`Training cannot continue: ${message}. ${ELSEWHERE}`)),
    done: async (made) => {
      const run = { ...order, ...made, records: view.records, written: view.written };
      await opened.then((shown) => shown.renew(run));
      over("");
      view.done(run);
      await remembered(() => keep(run));
      await showKept();
    },
  };
  const ideas = element("div.ideas", ...(IN_LESSON ? [] : [element("h2", "Where to begin")]));
  const idea = ([title, words, line]) =>
    element(
      "button.idea",
      { type: "button", onclick: () => form.use({ line }).then(train) },
      element("strong", title),
      element("span", words),
    );
  if (!IN_LESSON) {
    ideas.append(...IDEAS.map(idea));
  }
  const left = element("div.part", element("h2", "Train a model"), form.node, view.controls);
  fill(page("training"), element("div.bench", left, element("div.part", ideas, view.node), view.samplesNode));
  fill(page("kept"), list.node);
  form.fold(!isNarrow());
  await showKept();
  addEventListener("beforeunload", (event) => order && event.preventDefault());
  if (IN_LESSON) {
    train();
    return;
  }
  if (!navigator.connection?.saveData) {
    trainer.prepare();
    measure();
  }
}

/** Show a trained run in the explorer's column; renew() gives it the scores that came later. */
async function openRun(made) {
  let urls = [];
  const entryOf = ({ files, log }) => {
    const urlOf = (bytes) => URL.createObjectURL(new Blob([bytes]));
    const named = new Map(Object.entries(files).map(([name, bytes]) => [name, urlOf(bytes)]));
    const entry = { name: "Your run", urls: named, log: urlOf(log) };
    urls.push(...named.values(), entry.log);
    return entry;
  };
  const release = (old) => old.forEach((url) => URL.revokeObjectURL(url));
  let shown = null;
  const entry = entryOf(made);
  try {
    shown = column(await loadRun(entry), entry, () => {});
    fill(page("result"), shown.node);
  } catch (error) {
    const where = "Its files are in the ZIP file above.";
    fill(page("result"), element("p.problem", { role: "alert" }, `This run cannot be shown here: ${error.message}. ${where}`));
  }
  return {
    async renew(final) {
      const old = urls;
      urls = [];
      const renewed = entryOf(final);
      shown?.renew(await loadRun(renewed), renewed);
      release(old);
    },
    close() {
      shown?.stop();
      release(urls);
    },
  };
}

start();
