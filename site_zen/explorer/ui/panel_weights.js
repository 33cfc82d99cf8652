// panel_weights.js - The weights of a model, one matrix at a time, as a heatmap.

import { element, fill, labeled, selectOf } from "./dom.js";
import { heatmap } from "./heatmap.js";
import { visible } from "../core/text.js";

/** @type {(run: import("../core/run.js").Run) => HTMLElement} */
export function weightsPanel({ model }) {
  const matrices = model.matrices();
  if (matrices.length === 0) {
    return element("p.note", "This model has no matrix to show.");
  }
  const nameOf = ({ name, rows, columns }) => `${name} (${rows.length} × ${columns.length})`;
  const place = element("div");
  const show = (i) => {
    const { file, rows, columns, numbers, note } = matrices[i];
    const about = element("p.note", element("code", file), note ? `: ${note}` : "");
    const labels = { rows: rows.map(visible), columns: columns.map(visible) };
    fill(place, about, heatmap({ name: nameOf(matrices[i]), ...labels, numbers }));
  };
  show(0);
  const choices = matrices.map((matrix, i) => [String(i), nameOf(matrix)]);
  return element("div", labeled("Matrix", selectOf(choices, "0", (i) => show(Number(i)))), place);
}
