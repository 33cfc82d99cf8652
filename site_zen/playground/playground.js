// playground.js - The page: the form, the progress of training, and the trained run in the explorer.
//
// ?train=ARGUMENTS starts with these arguments of `toy-gpt train`; &inside=lesson, for a lesson, trains at once.

import { column } from "../explorer/ui/column.js";
import { element, fill } from "../explorer/ui/dom.js";
import { lossChart } from "../explorer/ui/panel_training.js";
import { loadRun } from "../explorer/core/run.js";
import { numberText } from "../explorer/core/text.js";
import { trainingForm } from "./form.js";
import { Trainer } from "./trainer.js";

const page = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
const IN_LESSON = query.get("inside") === "lesson";
const START = "--model bigram --tokenizer word --corpus corpus/001_animals.txt --val-fraction 0.2";

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

const ELSEWHERE = "The lessons and the explorer work without it, and so does the command in a terminal.";

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

async function show(about) {
  const view = progressView();
  let opened = null; // the last trained run on the page
  const trainer = new Trainer(about, (kind, content) => heard[kind](content));
  const form = await trainingForm(about, query.get("train") ?? START, IN_LESSON, train, stop, say);

  function train(order) {
    say("");
    opened?.close();
    opened = null;
    fill(page("result"));
    form.setBusy(true);
    view.begin();
    trainer.train(order);
  }
  function stop() {
    view.status("Stopping …");
    trainer.stop();
  }
  function over(problem) {
    form.setBusy(false);
    view.end();
    say(problem);
  }
  const heard = {
    loading: ({ fetched, total }) =>
      view.progress(fetched / total, `Fetching Python: ${megabytes(fetched)} of ${megabytes(total)} MB, only once`),
    ready: (version) => view.ready(`Python ${version} is ready`),
    progress: ({ fraction, status }) => view.training(fraction, status),
    record: (record) => view.record(record),
    stopping: () => {},
    problem: (sentence) => over(sentence),
    stopped: () => over("Stopped before there was anything to save."),
    failed: (message) => over(`Training cannot continue: ${message}. ${ELSEWHERE}`),
    done: async (made) => {
      over("");
      view.done(made);
      opened = await openRun(made);
    },
  };
  fill(page("training"), element("h2", "Train"), form.node, view.node);
  if (IN_LESSON) {
    form.node.requestSubmit();
  }
}

/** Make the part that shows the progress of training. */
function progressView() {
  const bar = element("progress", { max: 1, value: 0, "aria-label": "Progress of training" });
  const words = element("p.note", { role: "status" });
  const curve = element("div");
  const after = element("div");
  const node = element("div.going", { hidden: true }, bar, words, curve, after);
  let records = [];
  let began = 0;
  let zipUrl = "";
  return {
    node,
    begin() {
      records = [];
      began = 0;
      URL.revokeObjectURL(zipUrl);
      node.hidden = bar.hidden = false;
      bar.removeAttribute("value");
      fill(curve);
      fill(after);
      this.status("Starting Python …");
    },
    status(text) {
      words.setAttribute("aria-live", "polite");
      words.textContent = text;
    },
    progress(fraction, status) {
      bar.value = fraction;
      words.setAttribute("aria-live", "off"); // WHY: it changes ten times a second
      words.textContent = status;
    },
    ready(text) {
      bar.removeAttribute("value");
      this.status(text);
    },
    training(fraction, status) {
      began ||= performance.now();
      const left = ((performance.now() - began) / 1000) * (1 / fraction - 1);
      this.progress(fraction, left > 1 ? `${status}, ${Math.round(left)} s left` : status);
    },
    record(record) {
      records.push(record);
      const columns = Object.keys(record);
      fill(curve, lossChart({ columns, rows: records.map((one) => columns.map((name) => one[name])) }, null));
    },
    end() {
      bar.hidden = true;
      words.textContent = "";
    },
    done({ report, zip }) {
      const last = records.at(-1);
      this.status(last ? `Trained; the training loss is ${numberText(last.avg_loss)}.` : "Trained.");
      zipUrl = URL.createObjectURL(new Blob([zip], { type: "application/zip" }));
      const link = element("a.button", { href: zipUrl, download: "toy-gpt-run.zip" }, "Download the run as a ZIP file");
      const printed = element("details", element("summary", "What the command prints"), element("pre", { tabindex: 0 }, report));
      fill(after, element("p", link), printed);
    },
  };
}

/** Show the trained run in the explorer's column. */
async function openRun({ files, log }) {
  const urls = new Map(Object.entries(files).map(([name, bytes]) => [name, URL.createObjectURL(new Blob([bytes]))]));
  const logUrl = URL.createObjectURL(new Blob([log]));
  const entry = { name: "Your run", urls, log: logUrl };
  let shown = null;
  try {
    shown = column(await loadRun(entry), entry, () => {});
    fill(page("result"), shown.node);
  } catch (error) {
    say(`The trained run cannot be shown: ${error.message}`);
  }
  const close = () => {
    shown?.stop();
    [...urls.values(), logUrl].forEach((url) => URL.revokeObjectURL(url));
  };
  return { close };
}

start();
