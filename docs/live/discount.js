// discount.js - Back-off with one discount: a part of each count goes to what the shorter context says.
//
//     p(w | h) = max(c(h w) - D, 0) / c(h) + D N(h) / c(h) * q(w)
//
// N(h) is how many different words came after h, and q(w) is the share of w among the continuation counts of the shorter
// context h': how many different words came before "h' w".

(() => {
  const { bringToLife, element, percent } = globalThis.toyGptParts;
  const BARS = 7;

  /** Return how often each word came after a context. */
  function countsAfter(words, context) {
    const counts = new Map();
    words.forEach((word, i) => {
      if (i >= context.length && context.every((one, k) => words[i - context.length + k] === one)) {
        counts.set(word, (counts.get(word) ?? 0) + 1);
      }
    });
    return counts;
  }

  /** Return how many different words came before "h' w", for each w. */
  function continuations(words, shorter) {
    const before = new Map();
    for (let i = 2; i < words.length; i++) {
      if (words[i - 1] === shorter) {
        before.set(words[i], (before.get(words[i]) ?? new Set()).add(words[i - 2]));
      }
    }
    return new Map([...before].map(([word, set]) => [word, set.size]));
  }

  const sum = (counts) => [...counts.values()].reduce((a, b) => a + b, 0);

  /** Return each word with the two parts of its probability. */
  function backOff(words, context, discount) {
    const counts = countsAfter(words, context);
    const lower = continuations(words, context.at(-1));
    const given = (discount * counts.size) / sum(counts);
    const entries = [...new Set([...counts.keys(), ...lower.keys()])].map((word) => ({
      word,
      kept: Math.max((counts.get(word) ?? 0) - discount, 0) / sum(counts),
      added: (given * (lower.get(word) ?? 0)) / sum(lower),
    }));
    return { counts, given, entries };
  }

  function start({ form, at, numbers: { words } }) {
    const [slider, said, bars] = ["discount", "said", "bars"].map(at);
    let context = form.querySelector("[data-context]").dataset.context;

    function rowOf({ word, kept, added }) {
      const [row, bar, track] = [element("li", ""), element("span", "bar"), element("span", "track two")];
      track.append(...[kept, added].map((p) => {
        const part = element("span", "");
        part.style.width = `${100 * p}%`;
        return part;
      }));
      bar.append(element("span", "word", word), track, element("span", "share", percent(kept + added)));
      row.append(bar);
      return row;
    }

    function show() {
      const discount = Number(slider.value);
      const { counts, given, entries } = backOff(words, context.split(" "), discount);
      const ranked = entries.sort((a, b) => (counts.get(b.word) ?? 0) - (counts.get(a.word) ?? 0) || (a.word < b.word ? -1 : 1));
      const rows = ranked.slice(0, BARS).map(rowOf);
      bars.replaceChildren(...rows, ...Array.from({ length: BARS - rows.length }, () => {
        const row = rowOf({ word: "", kept: 0, added: 0 });
        row.classList.add("empty");
        return row;
      }));
      slider.nextElementSibling.textContent = discount.toFixed(2);
      const listed = [...counts].map(([word, count]) => `${word} ${count}`).join(", ");
      const shorter = context.split(" ").at(-1);
      said.textContent = `Counts after “${context}”: ${listed}. The discount takes ${percent(given)} of the probability, which “${shorter}” alone shares out:`;
      form.querySelectorAll("[data-context]").forEach((chip) => chip.setAttribute("aria-pressed", chip.dataset.context === context));
    }

    form.querySelectorAll("[data-context]").forEach((chip) =>
      chip.addEventListener("click", () => {
        context = chip.dataset.context;
        show();
      }),
    );
    return show;
  }

  bringToLife("discount", start);
})();
