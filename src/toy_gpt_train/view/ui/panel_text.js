// panel_text.js - The text to start from, and what the model sees: tokens and their ids. A token that is chosen shows what
// the model predicts after it.

import { debounced, element, fill, labeled, newId } from "./dom.js";
import { topK } from "../core/sampling.js";
import { plural, probabilityText, visible } from "../core/text.js";

const MOST_CHIPS = 400;

/**
 * Make the panel.
 *
 * @param {import("../core/session.js").Session} session
 * @param {(act: () => void) => void} change - Changes the session and updates the page.
 * @returns {{node: HTMLElement, update: () => void, setPrompt: (text: string) => void}}
 */
export function textPanel(session, change) {
  const box = element("textarea", { rows: 3, spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
  const chips = element("div.chips", {
    role: "listbox",
    tabindex: 0,
    "aria-label": "Tokens; choose one to see what may follow it",
    "aria-orientation": "horizontal",
    onkeydown: (event) => lookByKey(session, event, look),
  });
  const note = element("p.note", { role: "status" });
  const advice = element("div", { role: "alert" });
  const look = (count) => change(() => session.lookAfter(count < session.pieces.length ? count : null));
  const read = () => {
    if (box.value !== session.prompt) {
      change(() => session.setPrompt(box.value));
    }
  };
  const setPrompt = (text) => {
    box.value = text;
    box.scrollTop = box.scrollHeight; // what the model has read last
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
    const { pieces } = session;
    const left = Math.max(pieces.length - MOST_CHIPS, 0);
    fill(chips, ...pieces.slice(left).map((piece, i) => chipOf(session, piece, left + i + 1, look)));
    const chosen = chips.querySelector("[aria-selected=true]");
    if (chosen) {
      chips.setAttribute("aria-activedescendant", chosen.id);
      chips.scrollTop = chosen.offsetTop - chips.clientHeight / 2;
    }
    chips.hidden = pieces.length === 0;
    fill(note, ...(session.end === null ? [noteOn(session, left)] : lookingBack(session, look)));
    fill(advice, ...adviceOn(session, correct));
  };
  return { node: element("div", labeled("Text to start from", box), chips, note, advice), update, setPrompt };
}

/** Make the box of a token; `count` tokens end with it. */
function chipOf({ run, end, pieces }, { token, id, used, generated }, count, look) {
  const kinds = Object.entries({ used, generated, unknown: id === undefined }).filter(([, holds]) => holds);
  const names = kinds.map(([kind]) => kind);
  const canPredict = count >= run.model.minContext;
  const attributes = {
    id: newId(),
    role: "option",
    "aria-selected": String(count === (end ?? pieces.length)),
    "aria-disabled": String(!canPredict),
    title: canPredict ? "What may follow here?" : "The model needs more tokens before it can predict.",
    onclick: () => canPredict && look(count),
  };
  return element(
    ["div.chip", ...names].join("."),
    attributes,
    element("span", visible(token)),
    element("span.id", id ?? "?"),
    element("span.unseen", names.length ? ` (${names.join(", ")})` : ""),
  );
}

/** Choose another token by the arrow keys. */
function lookByKey({ run, end, pieces }, event, look) {
  const [first, last] = [Math.max(run.model.minContext, 1), pieces.length];
  const now = end ?? last;
  const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: first, End: last }[event.key];
  if (to !== undefined && last >= first) {
    event.preventDefault();
    look(Math.max(first, Math.min(to, last)));
  }
}

/** Say what the model expects after a token in the middle of the text, and what comes there. */
function lookingBack(session, look) {
  const { end, pieces, run } = session;
  const back = element("button", { type: "button", onclick: () => look(pieces.length) }, "Back to the end");
  const where = `After token ${end} of ${pieces.length}, “${visible(pieces[end - 1].token)}”`;
  const { token, id } = pieces[end];
  const probs = session.isReady ? session.probabilities() : null;
  if (probs === null) {
    return [`${where}. `, back];
  }
  const [best] = topK(probs, 1);
  const expected = `${where}, the model expects “${visible(run.vocabulary.tokens[best])}” (${probabilityText(probs[best])}).`;
  const chance = id === undefined ? "which it does not know" : probabilityText(probs[id]);
  const follows = id === best ? "And that is what follows." : `The text goes on with “${visible(token)}” (${chance}).`;
  return [`${expected} ${follows} `, back];
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
