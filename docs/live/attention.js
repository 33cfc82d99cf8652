// attention.js - One query, three keys and three values in the plane: scores, shares, and the mix of the values.
//
//     s_j = q . k_j / sqrt(2),  a = softmax(s),  h = sum_j a_j v_j

(() => {
  const { barCell, bringToLife, element } = globalThis.toyGptParts;

  const shown = (x, digits) => x.toFixed(digits).replace("-", "\u2212");
  const pair = ([x, y], digits = 2) => `(${shown(x, digits)}, ${shown(y, digits)})`;

  function attend(query, keys, values) {
    const scores = keys.map(([x, y]) => (query[0] * x + query[1] * y) / Math.SQRT2);
    const powers = scores.map(Math.exp);
    const sum = powers.reduce((a, b) => a + b);
    const shares = powers.map((power) => power / sum);
    const mix = [0, 1].map((i) => values.reduce((all, value, j) => all + shares[j] * value[i], 0));
    return { scores, shares, mix };
  }

  /** Return where a pointer is in a drawing, with the vertical axis upward. */
  function placeIn(svg, { clientX, clientY }) {
    const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [x, -y];
  }

  function start({ form, at, numbers: { keys, values } }) {
    const [angle, length, said, table, plane, arrow, point] =
      ["angle", "length", "said", "table", "plane", "query", "mix"].map(at);
    const dots = form.querySelectorAll(".value");

    function show() {
      const turn = (Number(angle.value) * Math.PI) / 180;
      const query = [Math.cos, Math.sin].map((f) => Number(length.value) * f(turn));
      const { scores, shares, mix } = attend(query, keys, values);
      arrow.setAttribute("x2", query[0]);
      arrow.setAttribute("y2", -query[1]);
      point.setAttribute("cx", mix[0]);
      point.setAttribute("cy", -mix[1]);
      dots.forEach((dot, j) => dot.setAttribute("r", 0.08 + 0.4 * shares[j]));
      angle.nextElementSibling.textContent = `${angle.value}°`;
      length.nextElementSibling.textContent = Number(length.value).toFixed(1);
      keys.forEach((_, j) => {
        const row = table.rows[j];
        row.replaceChildren(row.cells[0], element("td", "", shown(scores[j], 2)), barCell(shares[j]), element("td", "", pair(values[j], 1)));
      });
      table.rows[keys.length].lastElementChild.textContent = pair(mix);
      const best = shares.indexOf(Math.max(...shares));
      said.textContent = Number(length.value) === 0
        ? "A query of length 0 asks nothing: every key gets the same share."
        : `The query ${pair(query)} matches key ${best + 1} best.`;
    }

    function follow(event) {
      if (event.buttons) {
        const [x, y] = placeIn(plane, event);
        angle.value = (Math.atan2(y, x) * 180) / Math.PI + (y < 0 ? 360 : 0);
        length.value = Math.hypot(x, y);
        show();
      }
    }

    plane.addEventListener("pointerdown", follow);
    plane.addEventListener("pointermove", follow);
    return show;
  }

  bringToLife("attention", start);
})();
