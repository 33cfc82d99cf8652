// draw_charts.mjs - Draws charts without a browser: reads their HTML, prints what assets/charts.js makes of each, as JSON.
//
//   node draw_charts.mjs LINKEDOM SCRIPT… < charts.html
//
// LINKEDOM is a document for scripts to work in; charts.js is the last of the scripts. A chart becomes one SVG: above the
// drawing stand the caption and the legend, which a page has as HTML.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { runInThisContext } from "node:vm";

const WIDTH = 560;
const LETTER = 7; // the width of one in pixels, about
const LINE = 18;
const BELOW = 6;
const LOOKS = {
  "": 'stroke-width="4"',
  dashed: 'stroke-width="2" stroke-dasharray="4 4"',
  dots: 'stroke-width="7" stroke-dasharray="7 20"',
};

const [library, ...scripts] = process.argv.slice(2);
const { parseHTML } = await import(pathToFileURL(library).href);
const { window, document } = parseHTML(`<html><body>${readFileSync(0, "utf-8")}</body></html>`);

/** Tells at once how wide a place is, and never again. */
class ResizeObserver {
  constructor(draw) {
    this.draw = draw;
  }
  observe(place) {
    Object.defineProperty(place, "clientWidth", { value: WIDTH });
    this.draw();
  }
}

/** Put parts, each a text and its width, into lines that are no wider than a picture. */
function inLines(parts, width) {
  const lines = [];
  let end = Infinity;
  for (const [text, room] of parts) {
    if (end + room > width) {
      lines.push([]);
      end = 0;
    }
    lines.at(-1).push([end, text]);
    end += room;
  }
  return lines;
}

/** Return a line of text as SVG. */
const written = (x, y, html) => `<text x="${x}" y="${y}" font-size="13" text-anchor="start">${html}</text>`;

/** Return a key of the legend as SVG. */
function keyed(x, y, key) {
  const line = `<path d="M${x} ${y - 4}h16" ${LOOKS[key.className]} style="stroke: ${key.style.getPropertyValue("--colour")}"/>`;
  return line + written(x + 22, y, key.innerHTML);
}

/** Return what stands above a drawing, and how high it is. */
function above(figure, width) {
  const words = figure.querySelector("figcaption").innerHTML.split(" ");
  const caption = inLines(words.map((word) => [word, LETTER * (word.length + 1)]), width);
  const keys = [...figure.querySelectorAll(".legend span")];
  const legend = inLines(keys.map((key) => [key, 36 + LETTER * key.textContent.length]), width);
  const height = LINE * (caption.length + legend.length) + 10;
  const top = LINE - height;
  const parts = [
    ...caption.map((line, i) => written(4, top + LINE * i, line.map(([, word]) => word).join(" "))),
    ...legend.flatMap((line, i) => line.map(([x, key]) => keyed(x + 4, top + LINE * (caption.length + i) + 4, key))),
  ];
  return { height, svg: `<g>${parts.join("")}</g>` };
}

Object.assign(globalThis, { window, document, ResizeObserver });
for (const path of scripts) runInThisContext(readFileSync(path, "utf-8"), path);

const drawn = [...document.querySelectorAll("figure")].map((figure) => {
  const svg = figure.querySelector("svg");
  const [width, height] = [svg.getAttribute("width"), svg.getAttribute("height")].map(Number);
  const head = above(figure, width);
  svg.setAttribute("viewBox", `0 ${-head.height} ${width} ${head.height + height + BELOW}`);
  svg.setAttribute("height", head.height + height + BELOW);
  const whole = svg.outerHTML.replace(/<\/svg>$/, `${head.svg}</svg>`);
  return { says: figure.querySelector("figcaption").textContent, svg: whole };
});
console.log(JSON.stringify(drawn));
