// panel_text.js - The text to start from, and what the model sees: tokens and their ids.

import { debounced, element, fill, labeled } from "./dom.js";
import { plural, visible } from "../core/text.js";

const MOST_CHIPS = 400;

/**
 * Make the panel.
 *
 * @param {import("../core/session.js").Session} session
 * @param {(act: () => void) => void} change - Changes the session and updates the page.
 * @returns {{node: HTMLElement, update: () => void, setPrompt: (text: string) => void}}
 */
export function textPanel(session, change) {
  const box = element("textarea", { rows: 2, spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
  const chips = element("ol.chips", { tabindex: 0, "aria-label": "Tokens of the text, with their ids" });
  const note = element("p.note");
  const advice = element("div", { role: "alert" });
  const read = () => {
    if (box.value !== session.prompt) {
      change(() => session.setPrompt(box.value));
    }
  };
  const setPrompt = (text) => {
    box.value = text;
    read();
  };
  const correct = (text) => {
    setPrompt(text);
    box.focus(); // the pressed button is gone
  };
  box.value = session.prompt;
  box.addEventListener("input", debounced(read));
  box.addEventListener("change", read);
  const update = () => {
    const shown = session.pieces.slice(-MOST_CHIPS);
    fill(chips, ...shown.map(chipOf));
    chips.scrollTop = chips.scrollHeight;
    chips.hidden = shown.length === 0;
    note.textContent = noteOn(session, session.pieces.length - shown.length);
    fill(advice, ...adviceOn(session, correct));
  };
  return { node: element("div", labeled("Text to start from", box), chips, note, advice), update, setPrompt };
}

function chipOf({ token, id, used, generated }) {
  const kinds = Object.entries({ used, generated, unknown: id === undefined }).filter(([, holds]) => holds);
  const names = kinds.map(([kind]) => kind);
  return element(
    ["li.chip", ...names].join("."),
    element("span", visible(token)),
    element("span.id", id ?? "?"),
    element("span.unseen", names.length ? ` (${names.join(", ")})` : ""),
  );
}

function noteOn({ run, pieces }, left) {
  const { contextSize } = run.model;
  if (contextSize === 0) {
    return "This model looks at no tokens at all: it knows only how frequent each one is.";
  }
  const used = Math.min(contextSize, pieces.length);
  if (used === 0) {
    return `There is no token to look at yet; the model can look at up to ${contextSize}.`;
  }
  const most = used < contextSize ? ` of up to ${contextSize}` : "";
  const earlier = left > 0 ? ` ${plural(left, "earlier token")} not shown.` : "";
  return `The model looks at the last ${plural(used, "token")} (framed)${most}.${earlier}`;
}

/** Say what to do when nothing can be predicted. */
function adviceOn(session, correct) {
  const offers = session.unknown.slice(0, 5).map((token) => {
    const offer = (text, by) =>
      element("button", { type: "button", onclick: () => correct(session.replaced(token, by)) }, text);
    const near = session.suggestions(token).map((other) => offer(visible(other), other));
    const label = near.length ? `instead of ${visible(token)}:` : `no known token is like ${visible(token)}:`;
    return element("p.fields", label, ...near, offer("leave it out", null));
  });
  return session.problem === null ? [] : [element("p.problem", session.problem), ...offers];
}
