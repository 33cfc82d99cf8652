// stage.js - What is seen of a training run: how far it is, its curve, what it writes, and buttons that pause or change it.

import { element, fill, labeled } from "../explorer/ui/dom.js";
import { lossChart } from "../explorer/ui/panel_training.js";
import { numberText } from "../explorer/core/text.js";
import { metricsOf } from "./runs.js";

const MOST_SAMPLES = 6;
const FACTORS = [-3, 3]; // powers of two

/**
 * Make the part of the page.
 *
 * @param {(message: object) => void} ask - Called with what the visitor wants: {stop}, {pause}, {step} or {rate}.
 * @returns {object} `node`, `controls`, `samplesNode`, and functions that show something.
 */
export function stage(ask) {
  const bar = element("progress", { max: 1, value: 0, "aria-label": "Progress of training" });
  const words = element("p.note", { role: "status" });
  const curve = element("div");
  const after = element("div");
  const list = element("ol");
  const samples = element("div.samples", { hidden: true }, element("h3", "What it writes"), list);
  const node = element("div.going", { hidden: true }, bar, words, curve, after);
  const button = (text, onclick) => element("button", { type: "button", onclick, disabled: true }, text);
  const stop = button("Stop", () => {
    stop.disabled = true; // once is enough
    ask({ stop: true });
  });
  const pause = button("Pause", () => setPaused(pause.textContent === "Pause"));
  const step = button("One step", () => ask({ step: true, pause: true }));
  const factor = element("input", { type: "range", min: FACTORS[0], max: FACTORS[1], step: 1, value: 0 });
  const factorText = element("span.value", "× 1");
  const rate = labeled("Learning rate ", factor, "field.rate");
  rate.firstChild.append(factorText);
  factor.addEventListener("input", () => {
    const times = 2 ** Number(factor.value);
    factorText.textContent = times < 1 ? `÷ ${1 / times}` : `× ${times}`;
    ask({ rate: times });
  });
  const buttons = element("div.fields", stop, pause, step);
  const controls = element("div.controls", { hidden: true }, buttons, rate);
  let records = [];
  let written = [];
  let began = 0;
  let zipUrl = "";

  function setPaused(paused) {
    pause.textContent = paused ? "Continue" : "Pause";
    step.disabled = !paused;
    began = 0; // WHY: the time that is left must not count the pause
    ask({ pause: paused });
  }

  const view = {
    node,
    controls,
    samplesNode: samples,
    begin(isNetwork) {
      records = [];
      written = [];
      began = 0;
      URL.revokeObjectURL(zipUrl);
      node.hidden = bar.hidden = controls.hidden = stop.disabled = false;
      pause.disabled = step.disabled = true;
      pause.textContent = "Pause";
      factor.value = 0;
      factorText.textContent = "× 1";
      pause.hidden = step.hidden = rate.hidden = !isNetwork;
      bar.removeAttribute("value");
      [curve, after, list].forEach((part) => fill(part));
      samples.hidden = true;
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
    training(fraction, status) {
      const now = performance.now();
      if (!began) {
        began = { now, fraction };
      }
      pause.disabled = false;
      const left = fraction > began.fraction ? ((now - began.now) / 1000) * ((1 - fraction) / (fraction - began.fraction)) : 0;
      this.progress(fraction, left > 1 && fraction < 1 ? `${status}, ${Math.round(left)} s left` : status);
    },
    record(record) {
      records.push(record);
      this.curve(records);
    },
    curve(some) {
      node.hidden = false;
      const columns = Object.keys(some[0]);
      fill(curve, lossChart({ columns, rows: some.map((one) => columns.map((name) => one[name])) }, null));
    },
    sample(one) {
      written.push(one);
      this.samples(written);
    },
    samples(some) {
      const rows = some.slice(-MOST_SAMPLES).map(({ step: at, text }) =>
        element("li", element("span.note", `step ${at} `), element("code", text)));
      fill(list, ...rows);
      samples.hidden = rows.length === 0;
    },
    learned() {
      controls.hidden = true;
      this.status("It has learned. You can use it below, while it is scored …");
    },
    end() {
      bar.hidden = controls.hidden = stop.disabled = true;
      words.textContent = "";
    },
    /** Show the end of a run: how it went, and its files. */
    done({ report, files, zip, records: all }) {
      // WHY not the last point of the curve: that is the mean of an epoch, in which the model was still learning.
      const { train_loss: loss, val_loss: heldOut } = metricsOf(files);
      const rest = heldOut === undefined ? "" : ` and its held-out loss ${numberText(heldOut)}`;
      this.status(`Trained. The training loss of the finished model is ${numberText(loss)}${rest}.`);
      if (all.length < 2) {
        fill(curve); // one point is no curve
      }
      URL.revokeObjectURL(zipUrl);
      zipUrl = URL.createObjectURL(new Blob([zip], { type: "application/zip" }));
      const link = element("a.button", { href: zipUrl, download: "toy-gpt-run.zip" }, "Download the run as a ZIP file");
      const printed = element("details", element("summary", "What the command prints"), element("pre", { tabindex: 0 }, report));
      fill(after, element("p", link), printed);
    },
    get records() {
      return records;
    },
    get written() {
      return written;
    },
  };
  return view;
}
