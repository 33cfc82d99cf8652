// panel_write.js - Writing: how a token is chosen, one step, many steps, and the text that results.

import { element, fill, labeled, newId, scrollBox } from "./dom.js";
import { plural, visible } from "../core/text.js";

const MOST_TOKENS = 1000;
const MOST_SEED = 2 ** 31;
const PATIENCE = 30; // milliseconds of work before the page may draw

/**
 * Make the panel.
 *
 * @param {import("../core/session.js").Session} session
 * @param {(act?: () => void) => Promise<void>} change - Changes the session and updates the page.
 * @returns {{node: HTMLElement, update: () => void, stop: () => void}}
 */
export function writePanel(session, change) {
  let running = null;
  const button = (text, onclick, kind = "button") => element(kind, { type: "button", onclick }, text);
  const count = numberInput(1, MOST_TOKENS, 20);
  const step = button("Step", () => write(1), "button.main");
  const go = button("Generate", () => (running ? stop() : write(count.number())));
  const reset = button("Reset", () => {
    stop();
    change(() => session.reset());
  });
  const output = element("div.written");
  const status = element("p.note", { role: "status" });

  function stop() {
    running = null;
    go.textContent = "Generate";
    enable();
  }

  function enable() {
    step.disabled = !session.isReady;
    go.disabled = step.disabled && running === null;
  }

  async function write(tokens) {
    const mine = {};
    running = mine;
    go.textContent = tokens > 1 ? "Stop" : "Generate";
    let left = tokens;
    if (session.end !== null) {
      await change(() => session.lookAfter(null)); // WHY: what is added comes after the whole text
    }
    const work = () => {
      const until = performance.now() + PATIENCE;
      do {
        session.step();
        left -= 1;
      } while (left > 0 && session.isLocal && performance.now() < until);
    };
    while (left > 0 && running === mine && session.problem === null) {
      await change(work);
      await new Promise((resolve) => setTimeout(resolve));
    }
    if (running === mine) {
      stop();
    }
  }

  const update = () => {
    enable();
    const { start, text, added } = session;
    fill(output, ...(text.startsWith(start) ? [start, element("mark", text.slice(start.length))] : [text]));
    const last = added.length ? visible(added.at(-1)) : null;
    status.textContent = last === null ? "" : `${plural(added.length, "token")} added, the last is ${last}`;
  };
  const buttons = element("div.fields", step, go, labeled("tokens", count.input, "field.after"), reset);
  const written = [element("h4", "Text so far"), scrollBox("Text so far", output), status];
  return { node: element("div", buttons, ...written, choosing(session, change)), update, stop };
}

/** Make a box for a whole number, and a function that reads it within its limits. */
function numberInput(min, max, value) {
  const input = element("input", { type: "number", min, max, value, step: 1 });
  const number = () => {
    input.value = Math.max(min, Math.min(max, Math.floor(Number(input.value)) || min));
    return Number(input.value);
  };
  return { input, number };
}

/** Make the controls for choosing the next token. */
function choosing(session, change) {
  const group = newId();
  const use = (changes) => change(() => session.setSampling(changes));
  const { temperature: warmth, topP: share } = session.sampling;
  const temperature = slider("Temperature", { min: 0.1, max: 3, step: 0.1, value: warmth || 1 }, (value) => use({ temperature: value }));
  const topP = slider("Top-p", { min: 0.05, max: 1, step: 0.05, value: share }, (value) => use({ topP: value }));
  const seed = numberInput(0, MOST_SEED, 0);
  seed.input.addEventListener("change", () => use({ seed: seed.number() }));
  const drawn = element("div.sliders", { hidden: warmth === 0 }, temperature.node, topP.node, labeled("Seed", seed.input));
  const choose = (sampled) => {
    drawn.hidden = !sampled;
    use({ temperature: sampled ? temperature.value() : 0, topP: sampled ? topP.value() : 1 });
  };
  const radio = (text, sampled) => {
    const onchange = () => choose(sampled);
    return labeled(text, element("input", { type: "radio", name: group, checked: sampled === warmth > 0, onchange }), "choice");
  };
  const ways = [radio("Greedy: always the most likely", false), radio("Sample: draw by probability", true)];
  return element("fieldset", element("legend", "How to choose the next token"), element("div.fields", ...ways), drawn);
}

/** Make a labeled slider that shows its value. */
function slider(name, range, onInput) {
  const id = newId();
  const shown = element("output.value", { for: id }, range.value.toFixed(2));
  const input = element("input", { type: "range", id, ...range });
  input.addEventListener("input", () => {
    shown.textContent = Number(input.value).toFixed(2);
    onInput(Number(input.value));
  });
  // WHY not one label around everything: it would label the first element in it, the shown value.
  const label = element("label.label", { for: id }, `${name} `);
  return { node: element("div.field", element("span", label, shown), input), value: () => Number(input.value) };
}
