// surprise.js - The surprise of a probability, and of the words of a sentence that three models have read; its mean is the loss.

(() => {
  const { bringToLife, element } = globalThis.toyGptParts;
  const STRONGEST = Math.log(1000); // the surprise with the strongest color

  const nats = (p) => -Math.log(p);

  /** Return a probability with three digits: "0.25", "0.00123". */
  const digits = (p) => String(Number(p.toPrecision(3)));

  function start({ form, at, numbers: { words, models } }) {
    const [slider, said, sentence, loss] = ["probability", "said", "words", "loss"].map(at);
    let p = Number(slider.value); // a slider has steps, a probability has not

    function word(text, probability) {
      const button = element("button", "", text);
      button.type = "button";
      button.append(element("small", "", nats(probability).toFixed(2)));
      button.style.setProperty("--shade", `${60 * Math.min(nats(probability) / STRONGEST, 1)}%`);
      button.setAttribute("aria-pressed", p === probability);
      button.addEventListener("click", () => {
        p = probability;
        slider.value = p;
        show();
        sentence.children[words.indexOf(text)].focus();
      });
      return button;
    }

    function show(event) {
      p = event?.target === slider ? Number(slider.value) : p;
      slider.nextElementSibling.textContent = digits(p);
      said.textContent = `Surprise: ${nats(p).toFixed(3)} nats, or ${(nats(p) / Math.LN2).toFixed(3)} bits. It is that of ${digits(1 / p)} equally likely tokens.`;
      const probabilities = models[form.elements.model.value];
      sentence.replaceChildren(...words.map((text, i) => word(text, probabilities[i])));
      const mean = probabilities.map(nats).reduce((a, b) => a + b) / words.length;
      loss.textContent = `The mean of the ${words.length} surprises, the loss: ${mean.toFixed(3)} nats. Perplexity: ${Math.exp(mean).toFixed(1)}.`;
    }

    return show;
  }

  bringToLife("surprise", start);
})();
