// story.js - A story of the world, sentence by sentence: what is true by now, and how far back the fact is that it needs.

(() => {
  const { bringToLife, element } = globalThis.toyGptParts;

  function start({ at, numbers: { tokens, sentences } }) {
    const [slider, back, next, text, said, table] = ["sentence", "back", "next", "text", "said", "table"].map(at);
    text.replaceChildren(...tokens.flatMap((token) => [element("span", "", token), " "]));
    const spans = [...text.children];

    function show() {
      const here = Number(slider.value);
      const { begin, end, needs, facts } = sentences[here];
      spans.forEach((span, i) => {
        span.className = i === needs?.token || i === needs?.told ? "next" : i >= begin && i < end ? "in" : "";
      });
      const before = sentences[here - 1]?.facts;
      facts.forEach((cells, i) => {
        const row = table.rows[i];
        row.replaceChildren(row.cells[0], ...cells.map((cell, k) => element("td", before && before[i][k] !== cell ? "drawn" : "", cell)));
      });
      slider.nextElementSibling.textContent = `${here + 1} of ${sentences.length}`;
      said.textContent = needs
        ? `“${tokens[needs.token]}” takes a fact that was told ${needs.token - needs.told} tokens before.`
        : "This sentence needs no fact that was told before.";
      [back.disabled, next.disabled] = [here === 0, here === sentences.length - 1];
      text.scrollTop = spans[begin].offsetTop - text.offsetTop - text.clientHeight / 2;
    }

    function go(to) {
      slider.value = to;
      show();
    }

    back.addEventListener("click", () => go(Number(slider.value) - 1));
    next.addEventListener("click", () => go(Number(slider.value) + 1));
    text.addEventListener("click", ({ target }) => {
      const clicked = spans.indexOf(target);
      if (clicked >= 0) {
        go(sentences.findIndex(({ end }) => clicked < end));
      }
    });
    return show;
  }

  bringToLife("story", start);
})();
