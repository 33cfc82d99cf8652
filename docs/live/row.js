// row.js - A row of the bigram's table: the text gives the context, training gave the weights, softmax the probabilities.

(() => {
  const { bringToLife, element, showBars } = globalThis.toyGptParts;
  const BARS = 7;

  /** Return the whole row of a context: most tokens share one weight. */
  const rowOf = (tokens, { rest, seen }) => tokens.map((token) => seen[token] ?? rest);

  function softmax(weights) {
    const most = Math.max(...weights);
    const powers = weights.map((weight) => Math.exp(weight - most));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / sum);
  }

  function start({ form, at, numbers: { words, tokens, rows } }) {
    const [text, place, said, bars] = ["text", "place", "said", "bars"].map(at);
    text.replaceChildren(...words.flatMap((word) => [element("span", "", word), " "]));
    const spans = [...text.children];

    function show() {
      const here = Number(place.value);
      const context = words[here];
      const counts = new Map();
      let total = 0;
      spans.forEach((span, i) => {
        const before = i > 0 && words[i - 1] === context;
        span.className = i === here ? "in" : words[i] === context ? "same" : before ? "same-next" : "";
        if (before) {
          counts.set(words[i], (counts.get(words[i]) ?? 0) + 1);
          total += 1;
        }
      });
      const weights = rowOf(tokens, rows[context]);
      const probs = softmax(weights);
      const beside = (token, i) =>
        form.elements.beside.value === "counts" ? `${counts.get(token) ?? 0} of ${total}` : weights[i].toFixed(2).replace("-", "\u2212");
      const entries = tokens.map((token, i) => ({
        word: token, label: token, p: probs[i], mark: (counts.get(token) ?? 0) / total, beside: beside(token, i),
      }));
      showBars(bars, entries.sort((a, b) => b.p - a.p).slice(0, BARS), BARS);
      said.textContent = `The row of “${context}”, which was trained ${total} times in each epoch:`;
      place.nextElementSibling.textContent = `“${context}”`;
      text.scrollTop = spans[here].offsetTop - text.offsetTop - text.clientHeight / 2;
    }

    text.addEventListener("click", ({ target }) => {
      const clicked = spans.indexOf(target);
      if (clicked >= 0 && clicked <= Number(place.max)) {
        place.value = clicked;
        show();
      }
    });
    return show;
  }

  bringToLife("row", start);
})();
