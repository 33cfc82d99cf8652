// panel_next.js - What may come next: a bar for each token, the most likely first.

import { bar } from "./charts.js";
import { element, fill } from "./dom.js";
import { plainTable } from "./record_table.js";
import { topK } from "../core/sampling.js";
import { drawProbabilities } from "../core/session.js";
import { countText, probabilityText, visible } from "../core/text.js";

const FEW = 10;
const PAGE = 500;

/** @type {(session: import("../core/session.js").Session) => {node: HTMLElement, update: () => void}} */
export function nextPanel(session) {
  let shown = FEW;
  const place = element("div.next");
  const more = element("button", { type: "button", onclick: () => show(shown === FEW ? PAGE : shown + PAGE) });
  const few = element("button", { type: "button", onclick: () => show(FEW) }, `Show the first ${FEW}`);
  const show = (count) => {
    shown = count;
    update();
  };
  const update = () => {
    const probs = session.probabilities();
    const size = session.run.model.vocabSize;
    more.hidden = probs === null || shown >= size;
    more.textContent = size <= PAGE ? `Show all ${size}` : `Show ${countText(Math.min(PAGE, size - shown))} more`;
    few.hidden = probs === null || shown === FEW;
    fill(place, probs === null ? element("p.note", "Nothing to show yet.") : tableOf(session, probs, shown));
  };
  return { node: element("div", place, element("p.fields", more, few)), update };
}

function tableOf({ run, sampling }, probs, shown) {
  const drawn = sampling.temperature > 0 ? drawProbabilities(probs, sampling) : null;
  const rows = topK(probs, shown).map((id) => [
    element(drawn?.[id] === 0 ? "code.cut" : "code", visible(run.vocabulary.tokens[id])),
    bar(probs[id]),
    id,
    probabilityText(probs[id]),
    ...(drawn ? [probabilityText(drawn[id])] : []),
  ]);
  const which = rows.length === probs.length ? "all" : `the ${rows.length} most likely`;
  const names = ["token", "as a bar", "id", "probability", ...(drawn ? ["chance"] : [])];
  return plainTable(`The next token: ${which} of ${countText(probs.length)}`, names, rows, 2);
}
