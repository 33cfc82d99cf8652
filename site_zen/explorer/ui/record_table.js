// record_table.js - Tables: a plain one, and one of many records that can be sorted.

import { element, fill, scrollBox } from "./dom.js";
import { countText } from "../core/text.js";

const PAGE = 100;
const MORE = 500;

/**
 * Make a table.
 *
 * @param {string} caption
 * @param {(Node | string)[]} names - Of the columns.
 * @param {(Node | string)[][]} rows - The first cell names its row.
 * @param {number} words - How many columns hold words; the others hold numbers and are aligned to the right.
 * @returns {HTMLElement}
 */
export function plainTable(caption, names, rows, words = 1) {
  const kind = (i) => (i < words ? "" : ".number");
  const head = names.map((name, i) => element(`th${kind(i)}`, { scope: "col" }, name));
  const body = rows.map((row) => {
    const [first, ...others] = row;
    const cells = others.map((cell, i) => element(`td${kind(i + 1)}`, cell));
    return element("tr", element(`th${kind(0)}`, { scope: "row" }, first), ...cells);
  });
  const parts = [element("thead", element("tr", ...head)), element("tbody", ...body)];
  return scrollBox(caption, element("table", element("caption", caption), ...parts));
}

/**
 * @typedef {object} TableColumn
 * @property {string} name
 * @property {(record: object) => number | string} value - What the column is sorted by.
 * @property {(record: object) => Node | string} [show] - What a cell shows; the value by default.
 */

/**
 * Make a table of many records, shown page by page, that can be sorted by any column: numbers largest first.
 *
 * @param {string} caption
 * @param {TableColumn[]} columns
 * @param {object[]} records
 * @param {number} words - How many columns hold words.
 * @returns {{node: HTMLElement, show: (records: object[]) => void}} The table, and a function that shows others in it.
 */
export function recordTable(caption, columns, records, words) {
  let all = records;
  let sorted = null;
  let falling = false;
  let shown = PAGE;
  const place = element("div");
  const more = element("button", { type: "button", onclick: () => show(shown + MORE) });
  const status = element("p.note", { role: "status" });
  const heads = columns.map((column, i) =>
    element("button.sort", { type: "button", onclick: () => sortBy(column, i >= words) }, column.name),
  );

  function sortBy(column, fallingFirst) {
    falling = sorted === column ? !falling : fallingFirst;
    sorted = column;
    show(PAGE);
    heads[columns.indexOf(column)].focus();
  }

  function show(count) {
    shown = count;
    const sign = falling ? -1 : 1;
    const ordered = sorted ? [...all].sort((a, b) => sign * compare(sorted.value(a), sorted.value(b))) : all;
    const rows = ordered.slice(0, count).map((record) => columns.map(({ value, show: text = value }) => text(record)));
    fill(place, plainTable(caption, heads, rows, words));
    heads.forEach((head, i) => {
      const order = columns[i] !== sorted ? "none" : falling ? "descending" : "ascending";
      head.parentElement.setAttribute("aria-sort", order);
    });
    more.hidden = rows.length === all.length;
    more.textContent = `Show ${countText(Math.min(MORE, all.length - rows.length))} more`;
    status.textContent = `${countText(rows.length)} of ${countText(all.length)} shown`;
  }

  show(PAGE);
  const others = (found) => {
    all = found;
    show(PAGE);
  };
  return { node: element("div", place, element("div.fields", status, more)), show: others };
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Make a fold that is closed at first; its content is made when it is opened. */
export function fold(title, make) {
  const details = element("details", element("summary", title));
  details.addEventListener("toggle", () => details.append(make()), { once: true });
  return details;
}
