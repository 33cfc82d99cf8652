// interval.js - Arithmetic coding: each token keeps its part of the interval, and certain bits are written at once.
//
// As coding/arithmetic.py does it, but with fractions in the place of whole numbers, which is exact enough for a sentence.

(() => {
  const { bringToLife, element, percent } = globalThis.toyGptParts;
  const LABELED = 0.07; // the share of a part in which its token has room

  /** Return the part of each token in the row of a context: where it begins, and its size. */
  function divide(tokens, { rest, seen }) {
    let begin = 0;
    return tokens.map((token) => {
      const part = { token, begin, size: seen[token] ?? rest };
      begin += part.size;
      return part;
    });
  }

  /** Return the bits that are certain in an interval: double it while it fits into a half. */
  function certain(low, size) {
    let [bits, waiting] = ["", 0];
    for (;;) {
      const half = size > 0.5 ? undefined : [0, 0.5, 0.25].find((begin) => begin <= low && low + size <= begin + 0.5);
      if (half === undefined) {
        return { bits, waiting };
      }
      if (half === 0.25) {
        waiting += 1; // the next bit is open; this one will be its opposite
      } else {
        bits += half === 0.5 ? `1${"0".repeat(waiting)}` : `0${"1".repeat(waiting)}`;
        waiting = 0;
      }
      [low, size] = [2 * (low - half), 2 * size];
    }
  }

  function start({ form, at, numbers: { tokens, rows, begin } }) {
    const [slider, back, next, said, whole, lines, parts, table] =
      ["step", "back", "next", "said", "whole", "lines", "parts", "table"].map(at);

    function show() {
      const words = [...begin, form.elements.end.value, "."];
      slider.max = words.length;
      const step = Number(slider.value);
      let [low, size] = [0, 1];
      table.replaceChildren(...words.map((word, i) => {
        const row = element("tr", i === step - 1 ? "drawn" : "");
        let cells = ["", "", ""];
        if (i < step) {
          const part = divide(tokens, rows[words[i - 1] ?? "."]).find(({ token }) => token === word);
          [low, size] = [low + size * part.begin, size * part.size];
          cells = [percent(part.size), (-Math.log2(size)).toFixed(2), certain(low, size).bits];
        }
        row.append(element("th", "", word), ...cells.map((text) => element("td", "", text)));
        return row;
      }));
      whole.style.setProperty("--low", `${100 * low}%`);
      whole.style.setProperty("--size", `${100 * size}%`);
      lines.setAttribute("points", `${100 * low},0 ${100 * (low + size)},0 100,10 0,10`);
      const isOver = step === words.length;
      const divided = isOver ? [{ token: "", size: 1 }] : divide(tokens, rows[words[step - 1] ?? "."]);
      parts.replaceChildren(...divided.map(({ token, size: width }) => {
        const part = element("span", token === words[step] ? "next" : "", width >= LABELED ? token : "");
        part.style.width = `${100 * width}%`;
        return part;
      }));
      const { bits, waiting } = certain(low, size);
      said.textContent = isOver
        ? `The surprise is ${(-Math.log2(size)).toFixed(2)} bits. ${bits.length} bits are certain, and ${waiting + 1} more name${waiting ? "" : "s"} a number in the interval: ${bits.length + waiting + 1} bits are sent, and the reader adds zeros.`
        : `From ${low.toFixed(6)} to ${(low + size).toFixed(6)}. Next comes “${words[step]}”, and keeps its part:`;
      slider.nextElementSibling.textContent = `${step} of ${words.length}`;
      [back.disabled, next.disabled] = [step === 0, isOver];
    }

    for (const [button, by] of [[back, -1], [next, 1]]) {
      button.addEventListener("click", () => {
        slider.value = Number(slider.value) + by;
        show();
      });
    }
    return show;
  }

  bringToLife("interval", start);
})();
