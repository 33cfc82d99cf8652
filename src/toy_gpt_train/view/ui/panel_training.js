// panel_training.js - How the loss fell while the model was trained.

import { lineChart } from "./charts.js";
import { element } from "./dom.js";
import { fold, recordTable } from "./record_table.js";
import { floorOf } from "../core/floor.js";
import { numberText } from "../core/text.js";

const LOSSES = [
  { column: "avg_loss", name: "training loss", kind: "train" },
  { column: "val_loss", name: "held-out loss", kind: "validation" },
];
const FLOORS = ["loss_floor", "above_floor"]; // columns of the log that say nothing where no loss floor is shown
const ONE_LINE = "The log has one line, so there is no curve to draw: a model that counts learns in one pass.";
const ABOUT = "Loss is how surprised the model is by the actual next token, in nats.";

/** @type {(run: import("../core/run.js").Run) => HTMLElement} */
export function trainingPanel(run) {
  const { log } = run;
  if (log === null || log.rows.length === 0) {
    return element("p.note", "This run has no training log.");
  }
  const floor = floorOf(run);
  const table = fold("The log as a table", () => tableOf(log, floor?.name === "loss floor" ? [] : FLOORS));
  const about = element("p.note", floor === null ? ABOUT : `${ABOUT} ${floor.says}`);
  const curve = log.rows.length > 1 ? lossChart(log, floor) : element("p", ONE_LINE);
  return element("div", about, curve, table);
}

/**
 * Draw the losses of a log.
 *
 * @param {import("../core/run.js").Log} log - With at least one row.
 * @param {{name: string, value: number} | null} floor - Null while it is not known.
 * @returns {HTMLElement}
 */
export function lossChart(log, floor) {
  const valuesOf = (name) => log.rows.map((row) => row[log.columns.indexOf(name)]);
  const xName = log.columns.includes("step") ? "step" : "epoch";
  const lines = LOSSES.filter(({ column }) => log.columns.includes(column));
  return lineChart({
    title: `${lines.map(({ name }) => name).join(" and ")} by ${xName}`,
    xName,
    xs: valuesOf(xName),
    series: lines.map((line) => ({ ...line, values: valuesOf(line.column) })),
    level: floor === null ? null : { name: `${floor.name} ${numberText(floor.value)}`, value: floor.value },
  });
}

function tableOf({ columns, rows }, without) {
  const all = columns.map((name, i) => ({ name, value: (row) => row[i], show: (row) => numberText(row[i], 6) }));
  const shown = all.filter(({ name }) => !without.includes(name));
  return recordTable("The training log", shown, rows, 0).node;
}
