// panel_places.js - Where did it get that from? The lines of the training text behind a probability; they can be struck.

import { bar } from "./charts.js";
import { element, fill } from "./dom.js";
import { plainTable } from "./record_table.js";
import { topK } from "../core/sampling.js";
import { plural, probabilityText, visible } from "../core/text.js";
import { openLearned, placesOf } from "../core/training_text.js";

const CANDIDATES = 8;
const LINES = 8;
const AROUND = 30; // characters of a line, on each side of what it has in common with the text

/**
 * Make the panel; it is computed only while it is open.
 *
 * @type {(session: import("../core/session.js").Session) => {node: HTMLElement, update: () => void}}
 */
export function placesPanel(session) {
  const learned = openLearned(session.run.model);
  const place = element("div.why");
  const node = element("details", element("summary", element("h3", "Where did it get that from?")), place);
  let shown = null; // the text it belongs to
  let chosen = null; // a token
  let struck = new Set();
  const show = () => fill(place, ...contentOf(session, learned, { chosen, struck, choose, strike, restore }));
  const choose = (id) => {
    chosen = id;
    show();
    place.querySelector("[aria-pressed=true]")?.focus();
  };
  const strike = (number) => {
    struck = new Set([...struck, number]);
    show();
    place.querySelector(".restore")?.focus();
  };
  const restore = () => {
    struck = new Set();
    show();
    place.querySelector("[aria-pressed=true]")?.focus();
  };
  const update = () => {
    if (!node.open || shown === session.pieces) {
      return;
    }
    shown = session.pieces;
    chosen = null;
    show();
  };
  node.addEventListener("toggle", update);
  return { node, update };
}

function contentOf(session, learned, { chosen, struck, choose, strike, restore }) {
  const probs = session.probabilities();
  if (probs === null) {
    return [element("p.note", "Nothing to trace yet.")];
  }
  const { model, vocabulary } = session.run;
  const best = topK(probs, CANDIDATES);
  const id = chosen ?? best[0];
  const pick = (candidate) => {
    const pressed = String(candidate === id);
    const name = visible(vocabulary.tokens[candidate]);
    return element("button", { type: "button", "aria-pressed": pressed, onclick: () => choose(candidate) }, name);
  };
  const before = placesOf(learned, learned.text, model.contextSize, session.context, id);
  const rest = struck.size > 0 ? learned.without(struck) : null;
  const now = rest === null ? before : placesOf(rest, rest.text, model.contextSize, session.context, id);
  return [
    element("p", "Choose a token, and see the lines of the training text that gave it its probability:"),
    element("p.fields", ...best.map(pick)),
    ...(rest === null ? [] : [changeOf(vocabulary.tokens[id], before, now, struck, restore)]),
    tableOf(session, now, rest?.text ?? learned.text, strike),
  ];
}

function changeOf(token, before, now, struck, restore) {
  const lines = [...struck].sort((a, b) => a - b).join(", ");
  const numbers = `${probabilityText(before.probability)} before, ${probabilityText(now.probability)} now`;
  return element(
    "p.change",
    { role: "status" },
    `Without ${struck.size === 1 ? "line" : "lines"} ${lines}, `,
    element("code", visible(token)),
    `: ${numbers}. `,
    element("button.restore", { type: "button", onclick: restore }, struck.size === 1 ? "Put it back" : "Put them back"),
  );
}

function tableOf({ run }, { lines, rest }, text, strike) {
  const rows = lines.slice(0, LINES).map((share) => [
    element("span.place", ...markedIn(run, text, share)),
    bar(share.probability),
    share.number,
    probabilityText(share.probability),
    element("button", { type: "button", "aria-label": `Strike line ${share.number}`, onclick: () => strike(share.number) }, "Strike"),
  ]);
  const others = lines.slice(LINES);
  if (others.length > 0) {
    const sum = others.reduce((total, { probability }) => total + probability, 0);
    rows.push([plural(others.length, "more line"), bar(sum), "", probabilityText(sum), ""]);
  }
  rows.push(["no line: every token has the same share of this", bar(rest), "", probabilityText(rest), ""]);
  return plainTable("Lines that gave most", ["in the line", "as a bar", "line", "gave", ""], rows, 2);
}

/** Return the place in a line that gave most, what it has in common with the text marked. */
function markedIn({ vocabulary, tokenizer }, text, { number, places }) {
  const [{ position, length }] = places;
  const [begin, end] = text.line(number);
  const textOf = (from, to) => tokenizer.join(Array.from(text.ids.slice(from, Math.max(to, from)), (id) => vocabulary.tokens[id]));
  const first = position - length;
  const before = textOf(Math.min(begin, first), first).slice(-AROUND);
  const after = textOf(position + 1, end).slice(0, AROUND);
  const space = tokenizer.join(["a", "b"]).length > 2 ? " " : "";
  const more = places.length > 1 ? element("span.note", ` … ${plural(places.length - 1, "more place")} in this line`) : "";
  return [before, space, element("mark", textOf(first, position + 1)), space, after, more];
}
