// product.js - A mixture of experts: their probabilities, each raised to a power, multiplied and normalized.
//
//     p(w) = exp(sum_k lambda_k log p_k(w)) / Z, beside the arithmetic mean of the p_k(w)

(() => {
  const { barCell, bringToLife, element, percent, seen } = globalThis.toyGptParts;
  const ROWS = 6;

  function product(experts, powers) {
    const scores = experts[0].map((_, w) => experts.reduce((sum, probs, k) => sum + powers[k] * Math.log(probs[w]), 0));
    const most = Math.max(...scores);
    const parts = scores.map((score) => Math.exp(score - most));
    const total = parts.reduce((a, b) => a + b);
    return parts.map((part) => part / total);
  }

  function start({ form, at, numbers: { tokens, texts } }) {
    const [said, table] = ["said", "table"].map(at);
    const sliders = ["first", "second", "third"].map(at);

    function show() {
      const text = form.elements.text.value;
      const experts = texts[text];
      const powers = sliders.map(({ value }) => Number(value));
      sliders.forEach((slider, k) => {
        slider.nextElementSibling.textContent = powers[k].toFixed(1).replace("-", "\u2212");
      });
      const mixed = product(experts, powers);
      const ranked = tokens.map((_, w) => w).sort((a, b) => mixed[b] - mixed[a]).slice(0, ROWS);
      table.replaceChildren(...ranked.map((w) => {
        const mean = experts.reduce((sum, probs) => sum + probs[w], 0) / experts.length;
        const row = document.createElement("tr");
        row.append(element("th", "", seen(tokens[w])), ...experts.map((probs) => barCell(probs[w])), barCell(mixed[w], "strong"), barCell(mean));
        return row;
      }));
      const [best] = ranked;
      const surest = Math.max(...experts.map((probs) => probs[best]));
      said.textContent = `After “${text}”, “${seen(tokens[best])}” has ${percent(mixed[best])} in the product, and at most ${percent(surest)} with one expert:`;
    }

    return show;
  }

  bringToLife("product", start);
})();
