// window.js - A window that slides over a text: what came after the same words, wherever they stand in it.

(() => {
  const { bringToLife, element, showBars } = globalThis.toyGptParts;
  const BARS = 7;

  function start({ form, at, numbers: { words } }) {
    const [text, place, said, bars] = ["text", "place", "said", "bars"].map(at);
    const size = () => Number(form.elements.size.value);

    text.replaceChildren(...words.flatMap((word) => [element("span", "", word), " "]));
    const spans = [...text.children];

    /** Show the window that ends before word number `here`. */
    function show() {
      const here = Number(place.value);
      const context = words.slice(here - size(), here);
      // Every place where a word comes after this context.
      const found = words.map((_, i) => i).filter((i) => i >= size() && context.every((word, k) => words[i - size() + k] === word));
      spans.forEach((span, i) => {
        span.className = i === here ? "next" : i < here && i >= here - size() ? "in" : "";
      });
      for (const i of found.filter((other) => other !== here)) {
        spans.slice(i - size(), i).forEach((span) => span.classList.add("same"));
        spans[i].classList.add("same-next");
      }
      const counts = new Map();
      found.forEach((i) => counts.set(words[i], (counts.get(words[i]) ?? 0) + 1));
      const ranked = [...counts].sort(([, a], [, b]) => b - a);
      const entries = ranked.map(([word, count]) => ({ word, label: word, p: count / found.length }));
      showBars(bars, entries.slice(0, BARS), BARS);
      [...bars.children].forEach((row, i) => row.classList.toggle("drawn", entries[i]?.word === words[here]));
      const times = found.length === 1 ? "once" : `${found.length} times`;
      said.textContent = `After “${context.join(" ")}”, which the text has ${times}, came ${counts.size === 1 ? "only one word" : `${counts.size} different words`}:`;
      place.nextElementSibling.textContent = `word ${here + 1} of ${words.length}`;
      text.scrollTop = spans[here].offsetTop - text.offsetTop - text.clientHeight / 2;
    }

    text.addEventListener("click", ({ target }) => {
      const clicked = spans.indexOf(target);
      if (clicked >= Number(place.min)) {
        place.value = clicked;
        show();
      }
    });
    return show;
  }

  bringToLife("window", start);
})();
