// scatter.js - A chart of labeled points.
//
// REQ: it has a name for screen readers, and its user puts a table of the values beside it.

import { argmin, drawnToWidth, pointerIn } from "./charts.js";
import { element, svg } from "./dom.js";
import { numberText } from "../core/text.js";

const SCATTER_PAD = 28;
const LABEL_WIDTH = 7.4; // of a character, roughly
const LABEL_HEIGHT = 13;

/**
 * Make a chart of labeled points; a label is drawn if it covers no other one.
 *
 * @param {object} chart
 * @param {string} chart.title - What it shows, for screen readers.
 * @param {{label: string, x: number, y: number}[]} chart.points - The most important labels first.
 * @param {(i: number) => void} chart.onChoice - Called with the index of the point that was clicked.
 * @returns {{node: HTMLElement, mark: (chosen: number, near: number[]) => void}} The chart, and a function that marks
 *     a point and its neighbors.
 */
export function scatter({ title, points, onChoice }) {
  const readout = element("p.readout", { "aria-hidden": "true" }, "Point at a dot to see its name.");
  let marked = { chosen: -1, near: [] };
  const { place, redraw } = drawnToWidth((width) => {
    const height = Math.round(Math.min(Math.max(width * 0.7, 240), 480));
    const at = placed(points, width, height);
    const drawing = svg("svg.points", { width, height, role: "img", "aria-label": title });
    drawing.append(...dotsAndNames(points, at, width, marked));
    const pointed = (event) => {
      const [x, y] = pointerIn(drawing, event);
      return argmin(at.map(([px, py]) => (px - x) ** 2 + (py - y) ** 2));
    };
    drawing.addEventListener("click", (event) => onChoice(pointed(event)));
    drawing.addEventListener("pointermove", (event) => {
      const { label, x, y } = points[pointed(event)];
      readout.textContent = `${label} at ${numberText(x, 3)}, ${numberText(y, 3)}`;
    });
    return drawing;
  });
  const mark = (chosen, near) => {
    marked = { chosen, near };
    redraw();
  };
  return { node: element("div", place, readout), mark };
}

/** Return the positions of points in a drawing, both axes at one scale, because distances matter. */
function placed(points, width, height) {
  const [xs, ys] = [points.map(({ x }) => x), points.map(({ y }) => y)];
  const middle = (numbers) => (Math.min(...numbers) + Math.max(...numbers)) / 2;
  const fit = (numbers, room) => (room - 2 * SCATTER_PAD) / (Math.max(...numbers) - Math.min(...numbers));
  const size = Math.min(fit(xs, width), fit(ys, height), Number.MAX_VALUE);
  const [left, top] = [middle(xs), middle(ys)];
  return points.map(({ x, y }) => [width / 2 + (x - left) * size, height / 2 - (y - top) * size]);
}

function dotsAndNames(points, at, width, { chosen, near }) {
  const kindOf = (i) => (i === chosen ? ".chosen" : near.includes(i) ? ".near" : "");
  const order = [...new Set([chosen, ...near, ...points.keys()])].filter((i) => i >= 0);
  const dots = order.map((i) => {
    const [cx, cy] = at[i];
    return svg(`circle.dot${kindOf(i)}`, { cx, cy, r: i === chosen ? 6 : 3.5 });
  });
  const names = [];
  const taken = [];
  for (const i of order) {
    const label = points[i].label.length > 24 ? `${points[i].label.slice(0, 23)}…` : points[i].label;
    const size = label.length * LABEL_WIDTH;
    const [left, bottom] = [Math.min(at[i][0] + 6, width - size - 2), at[i][1] - 4];
    const covers = (other) =>
      left < other.right && left + size > other.left && Math.abs(bottom - other.bottom) < LABEL_HEIGHT;
    if (!taken.some(covers)) {
      taken.push({ left, right: left + size, bottom });
      names.push(svg(`text.name${kindOf(i)}`, { x: left, y: bottom }, label));
    }
  }
  return [...dots.reverse(), ...names]; // the marked ones on top
}
