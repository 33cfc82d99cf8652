// temperature.js - A model's probabilities after a word, changed by temperature and cut by top-p, and words drawn.
//
//     after temperature T, a probability p becomes p to the power 1/T, over the sum of all of these;
//     top-p keeps the most likely words that together reach a share of the probability.

(() => {
  const { bringToLife, percent, showBars } = globalThis.toyGptParts;
  const BARS = 8;
  const DRAWN = 20;

  /** Return [word's index, probability], the most likely first, of what may be drawn. */
  function drawable(probs, temperature, topP) {
    const ranked = probs.map((p, i) => [i, p]).sort((a, b) => b[1] - a[1]);
    const top = ranked[0][1];
    const powers = ranked.map(([, p], i) => (temperature > 0 ? (p / top) ** (1 / temperature) : Number(i === 0)));
    const limit = topP * powers.reduce((a, b) => a + b);
    let reached = 0;
    const kept = powers.filter((power) => {
      const isKept = reached === 0 || reached < limit - 1e-12;
      reached += isKept ? power : 0;
      return isKept && power > 0;
    });
    return kept.map((power, i) => [ranked[i][0], power / reached]);
  }

  function start({ form, at, numbers: { tokens, rows } }) {
    const [temperature, topP, said, bars] = ["temperature", "top-p", "said", "bars"].map(at);
    const [others, draw, drawn] = ["others", "draw", "drawn"].map(at);
    let word = Object.keys(rows)[0];
    let entries = [];

    function show() {
      temperature.nextElementSibling.textContent = Number(temperature.value).toFixed(1);
      topP.nextElementSibling.textContent = Number(topP.value).toFixed(2);
      const kept = drawable(rows[word], Number(temperature.value), Number(topP.value));
      entries = kept.map(([i, p]) => ({ word: tokens[i], label: tokens[i], p }));
      showBars(bars, entries.slice(0, BARS), BARS);
      said.textContent = `After “${word}”, ${entries.length} of ${tokens.length} tokens can be drawn:`;
      const rest = entries.slice(BARS).reduce((sum, { p }) => sum + p, 0);
      others.textContent = entries.length > BARS ? `the other ${entries.length - BARS} together: ${percent(rest)}` : "\u00a0";
      form.querySelectorAll("button[data-word]").forEach((chip) => chip.setAttribute("aria-pressed", chip.dataset.word === word));
    }

    function drawOne() {
      let left = Math.random();
      return (entries.find(({ p }) => (left -= p) < 0) ?? entries.at(-1)).word;
    }

    form.querySelectorAll("button[data-word]").forEach((chip) =>
      chip.addEventListener("click", () => {
        word = chip.dataset.word;
        show();
      }),
    );
    draw.addEventListener("click", () => {
      drawn.textContent = Array.from({ length: DRAWN }, drawOne).join(" ");
    });
    return show;
  }

  bringToLife("temperature", start);
})();
