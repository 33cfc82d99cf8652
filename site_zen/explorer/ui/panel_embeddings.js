// panel_embeddings.js - The vectors of a model in two dimensions, and the nearest neighbors of one of them.

import { element, fill, labeled, newId, searchBox } from "./dom.js";
import { fold, plainTable, recordTable } from "./record_table.js";
import { scatter } from "./scatter.js";
import { numberText, percentText, plural, visible } from "../core/text.js";
import { nearestByCosine, principalComponents } from "../core/vectors.js";

const MOST_POINTS = 1500;
const NEIGHBORS = 8;

/** @type {(run: import("../core/run.js").Run) => HTMLElement} */
export function embeddingsPanel({ model, vocabulary }) {
  const vectors = model.vectors();
  if (vectors === null || vectors.labels.length === 0) {
    return element("p.note", "This model counts; it has no vectors to show.");
  }
  const { numbers, size } = vectors;
  const labels = vectors.labels.map(visible);
  const { points, about } = inTwoDimensions(vectors);
  const order = byFrequency(vectors.labels, vocabulary).slice(0, MOST_POINTS);
  const chart = scatter({
    title: `${plural(order.length, "vector")} in two dimensions; the table below has their coordinates`,
    points: order.map((i) => ({ label: labels[i], x: points[i][0], y: points[i][1] })),
    onChoice: (place) => choose(order[place]),
  });
  const near = element("div", { role: "status" });
  const choose = (chosen) => {
    box.value = labels[chosen];
    const found = nearestByCosine(numbers, size, chosen, NEIGHBORS);
    chart.mark(order.indexOf(chosen), found.map(({ place }) => order.indexOf(place)).filter((i) => i >= 0));
    fill(near, neighbors(labels, chosen, found));
  };
  const box = searchBox((text) => labels.includes(text) && choose(labels.indexOf(text)));
  const known = element("datalist", { id: newId() }, ...order.map((i) => element("option", { value: labels[i] })));
  box.setAttribute("list", known.id);
  choose(order.find((i) => numbers.subarray(i * size, (i + 1) * size).some((x) => x !== 0)) ?? order[0]);
  const left = labels.length > order.length ? ` It shows ${order.length} of ${labels.length}.` : "";
  return element(
    "div",
    element("p.note", about + left),
    chart.node,
    labeled("Nearest neighbors of", box),
    known,
    near,
    fold("The points as a table", () => coordinates(labels, points)),
  );
}

/** Return two numbers for each vector, and a sentence on where they come from. */
function inTwoDimensions({ numbers, size, labels }) {
  if (size === 2) {
    const points = labels.map((_, i) => [numbers[2 * i], numbers[2 * i + 1]]);
    return { points, about: "The first two weights of each row: a view of the table, not learned vectors." };
  }
  const { points, share } = principalComponents(numbers, size);
  const about =
    `Each token is a learned vector of ${size} numbers. The chart shows the two directions in which the vectors ` +
    `differ most (principal components); they hold ${percentText(share)} of the variance.`;
  return { points, about };
}

/** Return the indices of labels, the most frequent tokens first; labels that are not tokens keep their order. */
function byFrequency(labels, { idOf, frequency }) {
  const often = labels.map((label) => frequency[idOf.get(label)] ?? 0);
  return labels.map((_, i) => i).sort((a, b) => often[b] - often[a] || a - b);
}

function neighbors(labels, chosen, found) {
  if (found.length === 0) {
    return element("p.note", `${labels[chosen]} has no neighbors: its vector is zero, or there is no other.`);
  }
  const rows = found.map(({ place, cosine }) => [element("code", labels[place]), numberText(cosine)]);
  return plainTable(`Pointing in nearly the same direction as ${labels[chosen]}`, ["label", "cosine"], rows);
}

function coordinates(labels, points) {
  const records = labels.map((label, i) => [label, ...points[i]]);
  const columns = ["label", "x", "y"].map((name, i) => ({
    name,
    value: (record) => record[i],
    show: (record) => (i === 0 ? element("code", record[0]) : numberText(record[i])),
  }));
  return recordTable("Coordinates", columns, records, 1).node;
}
