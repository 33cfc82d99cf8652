// attention.js - What each token looks at, for every head: small triangles to choose from, the text with arcs, and one
// large triangle with its numbers.

import { element, fill, svg } from "./dom.js";
import { percentText, visible } from "../core/text.js";

const LEAST_SHARE = 0.03; // of an arc

/**
 * Make the view.
 *
 * @param {(block: number, head: number) => void} onHead - Called when a head is chosen.
 * @returns {{node: HTMLElement, show: (trace: import("../core/network.js").Trace, choice: object) => void}}
 */
export function attentionView(onHead) {
  const heads = element("div.heads", { role: "group", "aria-label": "Heads" });
  const text = element("div.looking");
  const matrix = element("div");
  const title = element("h4", "Who looks at whom?");
  const words = element("p", "Each small picture is a head: a row for each token, and in it what the token looks at. Choose one.");
  const node = element("div", title, words, heads, text, matrix);
  const show = (trace, { block, head }) => {
    const { tokens, attention } = trace;
    const count = tokens.length;
    const one = (numbers, i, j) =>
      element(
        "button",
        { type: "button", "aria-pressed": String(i === block && j === head), "aria-label": `${i + 1}.${j + 1}: block ${i + 1}, head ${j + 1}`, onclick: () => onHead(i, j) },
        thumbnail(numbers, count),
        element("span.note", `${i + 1}.${j + 1}`),
      );
    const had = heads.contains(document.activeElement);
    fill(heads, ...attention.flatMap((some, i) => some.map((numbers, j) => one(numbers, i, j))));
    if (had) {
      heads.querySelector("[aria-pressed=true]").focus();
    }
    const numbers = attention[block][head];
    fill(text, lookingText(tokens, numbers));
    const labels = tokens.map(visible);
    const name = `Attention of block ${block + 1}, head ${head + 1}`;
    const fold = element("details", element("summary", "The whole triangle, with its numbers"));
    const open = async () => {
      const { heatmap } = await import("./heatmap.js"); // WHY when opened: it is large
      fold.append(heatmap({ name, rows: labels, columns: labels, numbers, rowName: "token", columnName: "token", fromEnd: true }));
    };
    fold.addEventListener("toggle", open, { once: true });
    fill(matrix, fold);
  };
  return { node, show };
}

/** Draw a matrix of shares as a small picture. */
function thumbnail(numbers, count) {
  const canvas = element("canvas", { width: count, height: count, "aria-hidden": "true" });
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(count, count);
  for (let i = 0; i < numbers.length; i++) {
    // WHY the root: small shares are seen, too.
    pixels.data.set([0xc9, 0x50, 0x0a, Math.round(255 * Math.sqrt(numbers[i]))], 4 * i);
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

/** Make the text of tokens; the one that is pointed at or chosen shows with arcs what it looks at. */
function lookingText(tokens, numbers) {
  const count = tokens.length;
  const arcs = svg("svg.arcs", { "aria-hidden": "true" });
  const said = element("p.note", { role: "status" });
  let chosen = count - 1;
  const chips = tokens.map((token, i) =>
    element(
      "button.looker",
      { type: "button", onclick: () => choose(i), onpointerenter: () => look(i), onpointerleave: () => look(chosen), onfocus: () => look(i) },
      visible(token),
    ),
  );
  const box = element("div.lookers", { role: "group", "aria-label": "Tokens; choose one to see what it looks at", tabindex: 0 }, arcs, ...chips);
  const choose = (i) => {
    chosen = i;
    look(i);
  };
  function look(i) {
    const shares = numbers.subarray(i * count, (i + 1) * count);
    chips.forEach((chip, j) => {
      chip.style.setProperty("--share", j <= i ? `${Math.round(100 * Math.sqrt(shares[j]))}%` : "0%");
      chip.setAttribute("aria-pressed", String(j === i));
    });
    const order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, 3);
    const names = order.filter((j) => shares[j] >= LEAST_SHARE).map((j) => `“${visible(tokens[j])}” ${percentText(shares[j])}`);
    said.textContent = `“${visible(tokens[i])}” looks at ${names.join(", ")}.`;
    const middle = ({ offsetLeft, offsetTop, offsetWidth }) => [offsetLeft + offsetWidth / 2, offsetTop];
    const [x, y] = middle(chips[i]);
    arcs.setAttribute("height", 0); // WHY: it must not count in the height of what scrolls
    arcs.setAttribute("height", box.scrollHeight);
    arcs.setAttribute("width", box.clientWidth);
    fill(
      arcs,
      ...[...shares.keys()].filter((j) => j !== i && shares[j] >= LEAST_SHARE).map((j) => {
        const [tx, ty] = middle(chips[j]);
        const top = Math.min(y, ty) - 10 - Math.min(Math.abs(x - tx) / 10, 14);
        return svg("path", { d: `M${x},${y} C${x},${top} ${tx},${top} ${tx},${ty}`, "stroke-width": (1 + 5 * shares[j]).toFixed(1), opacity: (0.3 + 0.7 * shares[j]).toFixed(2) });
      }),
    );
  }
  // WHY an observer: the places of the tokens are known once they are laid out.
  new ResizeObserver(() => look(chosen)).observe(box);
  requestAnimationFrame(() => (box.scrollTop = box.scrollHeight)); // the newest token
  return element("div", box, said);
}
