// neighbors.js - A token's nearest neighbors: those whose vectors point most nearly the same way, by the cosine.

(() => {
  const { bringToLife, element } = globalThis.toyGptParts;

  const product = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const cosine = (a, b) => product(a, b) / Math.sqrt(product(a, a) * product(b, b));

  function start({ form, at, numbers: { tokens, vectors } }) {
    const [choice, slider, said, list, links, label] = ["token", "count", "said", "list", "links", "label"].map(at);
    const dots = [...form.querySelectorAll(".dot")];
    const placeOf = (i) => ["cx", "cy"].map((name) => Number(dots[i].getAttribute(name)));

    function pick(token) {
      choice.value = token;
      show();
    }

    function show() {
      const here = tokens.indexOf(choice.value);
      const found = tokens
        .map((token, i) => ({ token, i, near: cosine(vectors[here], vectors[i]) }))
        .filter(({ i }) => i !== here)
        .sort((a, b) => b.near - a.near)
        .slice(0, Number(slider.value));
      dots.forEach((dot, i) => {
        dot.classList.toggle("main", i === here);
        dot.classList.toggle("near", found.some((one) => one.i === i));
      });
      const [x, y] = placeOf(here);
      links.setAttribute("d", found.map(({ i }) => `M${x} ${y}L${placeOf(i).join(" ")}`).join(""));
      label.setAttribute("x", x);
      label.setAttribute("y", y - 0.08);
      label.textContent = choice.value;
      list.replaceChildren(...found.map(({ token, near }) => {
        const button = element("button", "", token);
        button.type = "button";
        button.append(element("small", "", near.toFixed(2)));
        button.addEventListener("click", () => {
          pick(token);
          list.firstElementChild.focus();
        });
        return button;
      }));
      slider.nextElementSibling.textContent = slider.value;
      said.textContent = `The nearest neighbors of “${choice.value}”, with the cosine of the angle between both vectors:`;
    }

    dots.forEach((dot, i) => dot.addEventListener("click", () => pick(tokens[i])));
    return show;
  }

  bringToLife("neighbors", start);
})();
