// strip.js - The numbers of a vector as a row of colored cells.

import { svg } from "./dom.js";

/**
 * Draw a vector: a cell for each number, orange above zero and blue below, the stronger the farther from it.
 *
 * OBS: it has no name for screen readers; its user says the numbers beside it.
 *
 * @param {Float64Array} vector
 * @param {number} height - In pixels.
 * @returns {SVGElement}
 */
export function strip(vector, height = 14) {
  const largest = vector.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  const cells = Array.from(vector, (value, i) =>
    svg(value < 0 ? "rect.low" : "rect.high", { x: i, width: 1, height: 1, opacity: (Math.abs(value) / largest).toFixed(3) }),
  );
  const box = { viewBox: `0 0 ${vector.length} 1`, preserveAspectRatio: "none", height, "aria-hidden": "true" };
  return svg("svg.strip", box, ...cells);
}
