// rotation.js - RoPE with one pair of numbers: query and key are turned by their positions, and their product depends on
// how far apart they are.

(() => {
  const { bringToLife } = globalThis.toyGptParts;
  const FARTHEST = 20;

  const turned = ([a, b], angle) => [a * Math.cos(angle) - b * Math.sin(angle), a * Math.sin(angle) + b * Math.cos(angle)];
  const product = ([a, b], [c, d]) => a * c + b * d;
  const show2 = (x) => x.toFixed(2).replace("-", "\u2212");

  function start({ at, numbers: { query, key } }) {
    const [forQuery, forKey, back, on, said] = ["query-at", "key-at", "back", "on", "said"].map(at);
    const [queryRay, keyRay, curve, dot, table] = ["query", "key", "curve", "dot", "table"].map(at);

    /** Return the score of a query and a key at two positions. */
    const score = (m, n) => product(turned(query, m), turned(key, n));

    const points = Array.from({ length: 20 * FARTHEST + 1 }, (_, i) => i / 10 - FARTHEST);
    curve.setAttribute("points", points.map((distance) => `${distance},${-score(distance, 0)}`).join(" "));

    function show() {
      const [m, n] = [forQuery, forKey].map(({ value }) => Number(value));
      [[queryRay, turned(query, m)], [keyRay, turned(key, n)]].forEach(([ray, [x, y]], i) => {
        ray.setAttribute("x2", x);
        ray.setAttribute("y2", -y);
        table.rows[i].lastElementChild.textContent = `(${show2(x)}, ${show2(y)})`;
      });
      dot.setAttribute("cx", m - n);
      dot.setAttribute("cy", -score(m, n));
      forQuery.nextElementSibling.textContent = m;
      forKey.nextElementSibling.textContent = n;
      back.disabled = Math.min(m, n) === 0;
      on.disabled = Math.max(m, n) === FARTHEST;
      said.textContent = `The query at ${m}, the key at ${n}: ${String(m - n).replace("-", "\u2212")} apart. Score: ${show2(score(m, n))}.`;
    }

    for (const [button, by] of [[back, -1], [on, 1]]) {
      button.addEventListener("click", () => {
        forQuery.value = Number(forQuery.value) + by;
        forKey.value = Number(forKey.value) + by;
        show();
      });
    }
    return show;
  }

  bringToLife("rotation", start);
})();
