// charts.js - Bars and lines. (scatter.js draws points, heatmap.js matrices.)
//
// REQ: every drawing has a name for screen readers, and its user puts a table of the values beside it.

import { element, fill, labeled, svg } from "./dom.js";
import { numberText } from "../core/text.js";

const LINE_HEIGHT = 260;
const MARGIN = { left: 48, right: 20, top: 12, bottom: 34 };

/** Make a bar that fills a share of its box, from 0 to 1. The number itself is shown beside it. */
export function bar(share, kind = "bar") {
  const filled = element("span.filled");
  filled.style.width = `${Math.min(share, 1) * 100}%`;
  return element(`span.${kind}`, { "aria-hidden": "true" }, filled);
}

/**
 * Draw in a box of the page now and whenever its width changes.
 *
 * WHY: if the whole drawing were scaled, its text would be too small on a phone.
 *
 * @param {(width: number) => Node} draw
 * @returns {{place: HTMLElement, redraw: () => void}}
 */
export function drawnToWidth(draw) {
  const place = element("div.chart");
  let width = 0;
  const redraw = () => width > 0 && fill(place, draw(width));
  const observer = new ResizeObserver(() => {
    if (place.clientWidth !== width) {
      width = place.clientWidth;
      redraw();
    }
  });
  observer.observe(place);
  return { place, redraw };
}

/** Return the position of the pointer in a drawing. */
export function pointerIn(drawing, event) {
  const box = drawing.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

/** Return the index of the smallest number. */
export function argmin(numbers) {
  return numbers.reduce((best, x, i) => (x < numbers[best] ? i : best), 0);
}

// --- lines --------------------------------------------------------------------------------------------------

/**
 * Make a chart of lines over one axis, with a slider that reads the values point by point.
 *
 * @param {object} chart
 * @param {string} chart.title - What it shows, for screen readers.
 * @param {string} chart.xName - For example "epoch".
 * @param {number[]} chart.xs
 * @param {{name: string, kind: string, values: number[]}[]} chart.series - `kind` is the class of the line.
 * @param {{name: string, value: number} | null} chart.level - A dashed line across.
 * @returns {HTMLElement}
 */
export function lineChart(chart) {
  const { xName, xs, series, level } = chart;
  const readout = element("output.readout");
  const slider = element("input", { type: "range", min: 0, max: xs.length - 1, step: 1 });
  let chosen = xs.length - 1;
  const { place, redraw } = drawnToWidth((width) => {
    const drawing = drawLines(chart, width, chosen);
    const x = scale(xs, MARGIN.left, width - MARGIN.right);
    drawing.addEventListener("pointermove", (event) => {
      const [at] = pointerIn(drawing, event);
      choose(argmin(xs.map((value) => Math.abs(x(value) - at))));
    });
    return drawing;
  });
  const choose = (i) => {
    const values = series.map((line) => `${line.name} ${numberText(line.values[i])}`);
    const text = [`${xName} ${numberText(xs[i], 3)}`, ...values].join(" · ");
    chosen = i;
    slider.value = i;
    slider.setAttribute("aria-valuetext", text);
    readout.textContent = text;
    redraw();
  };
  slider.addEventListener("input", () => choose(Number(slider.value)));
  choose(chosen);
  const named = level === null ? series : [...series, { ...level, kind: "floor" }];
  const legend = named.map(({ name, kind }) => element(`li.${kind}`, name));
  const control = labeled(`Read the values at ${xName}`, slider, "field.wide");
  return element("div", element("ul.legend", ...legend), place, control, readout);
}

/** Return a function that scales the range of some numbers to another one; equal numbers go to its middle. */
function scale(numbers, from, to) {
  const low = Math.min(...numbers);
  const high = Math.max(...numbers);
  return (x) => (high > low ? from + ((x - low) / (high - low)) * (to - from) : (from + to) / 2);
}

/** Return round numbers that divide the range of some numbers into about `count` steps. */
function ticks(numbers, count) {
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  if (low === high) {
    return [low];
  }
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
}

function drawLines({ title, xName, xs, series, level }, width, chosen) {
  const [right, bottom] = [width - MARGIN.right, LINE_HEIGHT - MARGIN.bottom];
  const heights = [0, level?.value ?? 0, ...series.flatMap(({ values }) => values)];
  const x = scale(xs, MARGIN.left, right);
  const y = scale(heights, bottom, MARGIN.top);
  const across = (kind, value) => svg(`line.${kind}`, { x1: MARGIN.left, x2: right, y1: y(value), y2: y(value) });
  const text = (at, end, value) => svg("text", { x: at[0], y: at[1], "text-anchor": end }, value);
  const lines = series.flatMap(({ kind, values }) => {
    const points = values.map((value, i) => `${x(xs[i]).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    const dot = { cx: x(xs[chosen]), cy: y(values[chosen]), r: 4 };
    return [svg(`polyline.line.${kind}`, { points }), svg(`circle.dot.${kind}`, dot)];
  });
  return svg(
    "svg.lines",
    { width, height: LINE_HEIGHT, role: "img", "aria-label": title },
    ...ticks(heights, 5).flatMap((value) => [
      across("grid", value),
      text([MARGIN.left - 8, y(value) + 4], "end", numberText(value, 2)),
    ]),
    ...ticks(xs, width / 80).map((value) => text([x(value), bottom + 18], "middle", numberText(value, 2))),
    text([right, LINE_HEIGHT - 3], "end", xName),
    level === null ? null : across("floor", level.value),
    svg("line.chosen", { x1: x(xs[chosen]), x2: x(xs[chosen]), y1: MARGIN.top, y2: bottom }),
    ...lines,
  );
}
