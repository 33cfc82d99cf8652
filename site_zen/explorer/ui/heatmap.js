// heatmap.js - A matrix as colored cells on a canvas: only what is visible is drawn, so the matrix can have any size.
//
// It shows the value of the cell under the pointer, or of the one chosen with the arrow keys. A table shows the same
// numbers, a part at a time.

import { element, fill, labeled, newId, searchBox } from "./dom.js";
import { fold, plainTable } from "./record_table.js";
import { numberText, plural } from "../core/text.js";

const CELL_HEIGHT = 20;
const LEAST_WIDTH = 12;
const MOST_WIDTH = 44;
const MOST_HEIGHT = 420;
const MOST_LABEL = 130; // room for the labels of rows
const MOST_UPRIGHT = 84; // room for the labels of columns when they are vertical
const FONT = "12px system-ui, sans-serif";
const TABLE_ROWS = 20;
const TABLE_COLUMNS = 8;

/**
 * Make a heatmap.
 *
 * @param {object} matrix
 * @param {string} matrix.name - What it shows.
 * @param {string[]} matrix.rows - Labels.
 * @param {string[]} matrix.columns - Labels.
 * @param {ArrayLike<number>} matrix.numbers - Row by row.
 * @param {string} matrix.rowName - What a row is: "row", "head".
 * @param {string} matrix.columnName - What a column is.
 * @returns {HTMLElement}
 */
export function heatmap({ rowName = "row", columnName = "column", ...matrix }) {
  const { name, rows, columns, numbers } = matrix;
  const hint = "Point at a cell, or use the arrow keys, to read its value.";
  const readout = element("output.readout", { id: newId() }, hint);
  const canvas = element("canvas", { role: "img", "aria-label": `${name} as colors` });
  const whole = element("div", canvas);
  const usage = { role: "application", "aria-label": `${name}: cells, read with the arrow keys` };
  const scroller = element("div.heatmap", { tabindex: 0, ...usage, "aria-describedby": readout.id }, whole);
  const map = { ...matrix, canvas, whole, scroller, ...extremes(numbers), at: null, shown: null };
  const choose = ([row, column]) => {
    map.at = [row, column];
    const value = numberText(numbers[row * columns.length + column], 6);
    readout.textContent = `${rows[row]}, ${columns[column]}: ${value}`;
    paint(map);
  };
  listen(map, choose);
  const finder = searchBox((text) => {
    const row = rows.findIndex((label) => label.includes(text));
    if (text && row >= 0) {
      const sizes = Array.from(numbers.slice(row * columns.length, (row + 1) * columns.length), Math.abs);
      const cell = [row, sizes.indexOf(Math.max(...sizes))];
      reveal(map, cell);
      choose(cell);
    }
    return row >= 0;
  });
  return element(
    "div.heatmap-block",
    rows.length > TABLE_ROWS ? labeled(`Go to ${rowName}`, finder) : null,
    scroller,
    readout,
    legend(map),
    fold("The values as a table", () => tableOfPart(matrix, rowName, columnName)),
  );
}

/** Return the largest absolute value, which gets the full color, and whether any number is negative. */
function extremes(numbers) {
  let limit = 0;
  let signed = false;
  for (let i = 0; i < numbers.length; i++) {
    limit = Math.max(limit, Math.abs(numbers[i]));
    signed ||= numbers[i] < 0;
  }
  return { limit, signed };
}

function legend({ limit, signed }) {
  const colors = element(signed ? "span.colors.signed" : "span.colors", { "aria-hidden": "true" });
  const middle = signed ? element("span.note", "(0 in the middle)") : null;
  return element("p.scale", signed ? numberText(-limit) : "0", colors, numberText(limit), middle);
}

// --- choosing cells -----------------------------------------------------------------------------------------

function listen(map, choose) {
  const { canvas, scroller } = map;
  canvas.addEventListener("pointermove", (event) => {
    const cell = cellAt(map, event);
    if (cell && cell.join() !== map.at?.join()) {
      choose(cell);
    }
  });
  scroller.addEventListener("keydown", (event) => {
    const cell = moved(map, event.key);
    if (cell && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      reveal(map, cell);
      choose(cell);
    }
  });
  scroller.addEventListener("scroll", () => requestAnimationFrame(() => paint(map)), { passive: true });
  new ResizeObserver(() => layOut(map)).observe(scroller);
  const onTheme = () => {
    if (canvas.isConnected) {
      layOut(map);
    } else {
      document.removeEventListener("themechange", onTheme);
    }
  };
  document.addEventListener("themechange", onTheme);
}

function cellAt({ canvas, scroller, left, top, width, rows, columns }, event) {
  const box = canvas.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left - left, event.clientY - box.top - top];
  const row = Math.floor((y + scroller.scrollTop) / CELL_HEIGHT);
  const column = Math.floor((x + scroller.scrollLeft) / width);
  return x >= 0 && y >= 0 && row < rows.length && column < columns.length ? [row, column] : null;
}

/** Return the cell that a key moves to; null for other keys. */
function moved({ rows, columns, at }, key) {
  const [row, column] = at ?? [0, 0];
  const targets = {
    ArrowUp: [row - 1, column],
    ArrowDown: [row + 1, column],
    ArrowLeft: [row, column - 1],
    ArrowRight: [row, column + 1],
    Home: [row, 0],
    End: [row, columns.length],
    PageUp: [row - 10, column],
    PageDown: [row + 10, column],
  };
  const within = (place, labels) => Math.max(0, Math.min(place, labels.length - 1));
  const target = targets[key];
  return target ? [within(target[0], rows), within(target[1], columns)] : null;
}

/** Scroll just far enough to show a cell. */
function reveal({ scroller, left, top, width }, [row, column]) {
  const bottom = (row + 1) * CELL_HEIGHT - (scroller.clientHeight - top);
  const right = (column + 1) * width - (scroller.clientWidth - left);
  scroller.scrollTop = Math.max(bottom, Math.min(scroller.scrollTop, row * CELL_HEIGHT));
  scroller.scrollLeft = Math.max(right, Math.min(scroller.scrollLeft, column * width));
}

// --- painting -----------------------------------------------------------------------------------------------

/** Measure how wide labels and cells are, and how large the canvas is. */
function layOut(map) {
  const { canvas, whole, scroller, rows, columns } = map;
  const room = scroller.clientWidth;
  if (room === 0) {
    return;
  }
  const pen = canvas.getContext("2d");
  pen.font = FONT;
  const widest = (labels) => Math.max(...labels.slice(0, 2000).map((label) => pen.measureText(label).width));
  map.left = Math.ceil(Math.min(widest(rows), MOST_LABEL, room * 0.35)) + 10;
  map.width = Math.floor(Math.max(LEAST_WIDTH, Math.min(MOST_WIDTH, (room - map.left) / columns.length)));
  map.upright = widest(columns) + 4 > map.width;
  map.top = map.upright ? Math.ceil(Math.min(widest(columns), MOST_UPRIGHT)) + 10 : 22;
  const full = [map.left + map.width * columns.length, map.top + CELL_HEIGHT * rows.length];
  whole.style.width = `${full[0]}px`;
  whole.style.height = `${full[1]}px`;
  scroller.style.height = `${Math.min(full[1] + 16, MOST_HEIGHT)}px`;
  const first = map.shown === null;
  map.shown = [Math.min(full[0], room), Math.min(full[1], scroller.clientHeight)];
  map.density = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = map.shown.map((size) => Math.round(size * map.density));
  [canvas.style.width, canvas.style.height] = map.shown.map((size) => `${size}px`);
  const style = getComputedStyle(canvas);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  map.colors = ["heat-low", "heat-zero", "heat-high"].map(color).map(partsOf);
  [map.ink, map.paper, map.edge] = ["text", "surface", "accent"].map(color);
  if (first) {
    // WHY: the first rows and columns of a table are often contexts and followers that were never seen.
    const place = Math.max(map.numbers.findIndex((value) => Math.abs(value) > map.limit / 2), 0);
    reveal(map, [Math.floor(place / columns.length), place % columns.length]);
    scroller.scrollTop += scroller.scrollTop > 0 ? scroller.clientHeight / 2 : 0;
    scroller.scrollLeft += scroller.scrollLeft > 0 ? room / 2 : 0;
  }
  paint(map);
}

/** Paint what is visible: cells, a frame around the chosen one, and the labels over them. */
function paint(map) {
  if (map.shown === null) {
    return;
  }
  const { rows, columns, numbers, left, top, width, scroller } = map;
  const [right, bottom] = map.shown;
  const pen = map.canvas.getContext("2d");
  pen.setTransform(map.density, 0, 0, map.density, 0, 0);
  pen.font = FONT;
  pen.textBaseline = "middle";
  pen.fillStyle = map.paper;
  pen.fillRect(0, 0, right, bottom);
  const [x, y] = [left - scroller.scrollLeft, top - scroller.scrollTop];
  const visibleRows = between(scroller.scrollTop / CELL_HEIGHT, (bottom - y) / CELL_HEIGHT, rows);
  const visibleColumns = between(scroller.scrollLeft / width, (right - x) / width, columns);
  for (const row of visibleRows) {
    for (const column of visibleColumns) {
      pen.fillStyle = colorOf(map, numbers[row * columns.length + column]);
      pen.fillRect(x + column * width, y + row * CELL_HEIGHT, width - 1, CELL_HEIGHT - 1);
    }
  }
  if (map.at !== null) {
    pen.lineWidth = 2;
    pen.strokeStyle = map.edge;
    pen.strokeRect(x + map.at[1] * width, y + map.at[0] * CELL_HEIGHT, width - 1, CELL_HEIGHT - 1);
  }
  pen.fillStyle = map.paper;
  pen.fillRect(0, 0, left, bottom);
  pen.fillRect(0, 0, right, top);
  pen.fillStyle = map.ink;
  for (const row of visibleRows.filter((i) => y + (i + 0.5) * CELL_HEIGHT > top)) {
    pen.fillText(fitted(pen, rows[row], left - 8), 2, y + (row + 0.5) * CELL_HEIGHT);
  }
  for (const column of visibleColumns.filter((i) => x + (i + 0.5) * width > left)) {
    columnLabel(pen, map, columns[column], x + (column + 0.5) * width);
  }
}

/** Return the indices of labels that lie at least partly between two numbers. */
function between(from, to, labels) {
  const first = Math.floor(from);
  return Array.from({ length: Math.min(Math.ceil(to), labels.length) - first }, (_, i) => first + i);
}

function columnLabel(pen, { upright, top, width }, label, x) {
  pen.save();
  pen.translate(x, upright ? top - 6 : top - 10);
  pen.rotate(upright ? -Math.PI / 2 : 0);
  pen.textAlign = upright ? "left" : "center";
  pen.fillText(fitted(pen, label, upright ? top - 8 : width), 0, 0);
  pen.restore();
}

function fitted(pen, label, width) {
  let text = label;
  while (text.length > 1 && pen.measureText(text).width > width) {
    text = `${text.slice(0, -2)}…`;
  }
  return text;
}

function partsOf(hex) {
  return [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
}

function colorOf({ colors: [low, zero, high], limit }, value) {
  const end = value < 0 ? low : high;
  const share = limit > 0 ? Math.abs(value) / limit : 0;
  return `rgb(${zero.map((from, i) => Math.round(from + (end[i] - from) * share)).join(" ")})`;
}

// --- the same as a table ------------------------------------------------------------------------------------

function tableOfPart({ name, rows, columns, numbers }, rowName, columnName) {
  const place = element("div");
  const startOf = ({ length }) => element("input", { type: "number", min: 1, max: length, value: 1 });
  const starts = [rows, columns].map(startOf);
  const show = () => {
    const [row, column] = starts.map(({ value, max }) => Math.max(1, Math.min(max, Math.floor(value) || 1)) - 1);
    const body = rows.slice(row, row + TABLE_ROWS).map((label, i) => {
      const from = (row + i) * columns.length;
      const values = numbers.slice(from + column, Math.min(from + column + TABLE_COLUMNS, from + columns.length));
      return [label, ...Array.from(values, (value) => numberText(value, 6))];
    });
    fill(place, plainTable(`${name}, values`, [rowName, ...columns.slice(column, column + TABLE_COLUMNS)], body));
  };
  starts.forEach((input) => input.addEventListener("change", show));
  show();
  const size = element("span.note", `of ${plural(rows.length, rowName)}, ${plural(columns.length, columnName)}`);
  const fields = [labeled(`from ${rowName}`, starts[0]), labeled(`from ${columnName}`, starts[1]), size];
  return element("div", element("p.fields", ...fields), place);
}
