// runs.js - The runs that this browser has kept: a list, and their curves in one chart.

import { drawnToWidth } from "../explorer/ui/charts.js";
import { element, fill, svg } from "../explorer/ui/dom.js";
import { numberText } from "../explorer/core/text.js";
import { cut, part } from "./arguments.js";
import { secondsText } from "./form.js";

const [HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [220, 40, 10, 10, 30];
const COLORS = 5;

/** Return what a run is called: "3: llama, 040_story_world.txt". */
export function nameOf({ id, line, corpus }) {
  return `${id}: ${part(cut(line), ["--model"])[0].get("--model")}, ${corpus}`;
}

/** Return the losses of a finished model, from its files. */
export function metricsOf(files) {
  return JSON.parse(new TextDecoder().decode(files["00_meta.json"])).metrics;
}

/** Return the loss of a record that runs are compared by: on held-out text, if there was some. */
function lossOf(record) {
  return record.val_loss ?? record.avg_loss;
}

/**
 * Make the list.
 *
 * @param {{open: (run: object) => void, share: (run: object) => void, forget: (run: object) => void}} on
 * @returns {{node: HTMLElement, show: (runs: import("./kept.js").KeptRun[]) => void, say: (words: string) => void}}
 */
export function runList(on) {
  const rows = element("ul.runs");
  const chart = element("div");
  const note = element("p.note");
  const said = element("div", { role: "status" });
  const parts = [element("h2", "Your runs"), rows, said, chart, note];
  const node = element("section.run", { "aria-label": "Your runs", hidden: true }, ...parts);
  const say = (words) => fill(said, words ? element("p.notice", words) : null);
  let chosen = new Set();
  const compare = (runs) => {
    const some = runs.filter(({ id, records }) => chosen.has(id) && records.length > 0);
    note.textContent = some.length
      ? "The loss of each, in nats per token, by the epochs it has read: on held-out text where there was some. A model " +
        "that learns in one pass has a level line. Compare runs with the same text and the same tokens."
      : "They are kept in this browser. Tick two or more to see their curves in one chart.";
    fill(chart, some.length ? curves(some.slice(0, COLORS)) : null);
  };
  const show = (runs) => {
    node.hidden = runs.length === 0;
    say("");
    chosen = new Set(runs.filter(({ id }) => chosen.has(id)).map(({ id }) => id));
    const button = (text, act, run) =>
      element("button", { type: "button", onclick: () => act(run), "aria-label": `${text} ${nameOf(run)}` }, text);
    const row = (run) => {
      const onchange = () => {
        chosen[chosen.has(run.id) ? "delete" : "add"](run.id);
        compare(runs);
      };
      const box = element("input", { type: "checkbox", checked: chosen.has(run.id), onchange });
      const { train_loss: loss, val_loss: heldOut = loss } = metricsOf(run.files);
      const facts = [`loss ${numberText(heldOut, 3)}`, secondsText(run.seconds).replace("about ", "")];
      return element(
        "li",
        element("label", box, ` ${nameOf(run)}`),
        element("span.note", facts.join(", ")),
        element("span.fields", button("Open", on.open, run), button("Share", on.share, run), button("Remove", on.forget, run)),
      );
    };
    fill(rows, ...runs.map(row));
    compare(runs);
  };
  return { node, show, say };
}

/** Draw the curves of some runs. */
function curves(runs) {
  const lines = runs.map((run) => ({ name: nameOf(run), points: run.records.map((one) => [one.epoch, lossOf(one)]) }));
  const most = (i) => Math.max(...lines.flatMap(({ points }) => points.map((point) => point[i])));
  const [widest, highest] = [most(0), most(1)];
  const pathOf = (points) => (points.length > 1 ? points : [[0, points[0][1]], [widest, points[0][1]]]);
  const { place } = drawnToWidth((width) => {
    const x = (epoch) => LEFT + (epoch / widest) * (width - LEFT - RIGHT);
    const y = (loss) => HEIGHT - BOTTOM - (loss / highest) * (HEIGHT - BOTTOM - TOP);
    const text = (at, end, value) => svg("text", { x: at[0], y: at[1], "text-anchor": end }, value);
    const heights = [0, highest / 2, highest];
    return svg(
      "svg.lines",
      { width, height: HEIGHT, role: "img", "aria-label": `Losses of ${lines.map(({ name }) => name).join("; ")}` },
      ...heights.flatMap((loss) => [
        svg("line.grid", { x1: LEFT, x2: width - RIGHT, y1: y(loss), y2: y(loss) }),
        text([LEFT - 6, y(loss) + 4], "end", numberText(loss, 1)),
      ]),
      text([LEFT, HEIGHT - 8], "start", "0"),
      text([width - RIGHT, HEIGHT - 8], "end", `epoch ${numberText(widest, 1)}`),
      ...lines.map(({ points }, i) =>
        svg(`polyline.line.color-${i}`, { points: pathOf(points).map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ") }),
      ),
    );
  });
  const ends = lines.map(({ name, points }, i) => element(`li.color-${i}`, `${name}: ${numberText(points.at(-1)[1], 3)}`));
  return element("div", element("ul.legend", ...ends), place);
}
