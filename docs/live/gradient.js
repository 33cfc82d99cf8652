// gradient.js - Three numbers, w, x and b, and the loss L = y y of y = w x + b: forward, backward, and downhill.

(() => {
  const { bringToLife } = globalThis.toyGptParts;
  const RATE = 0.02; // the learning rate of a step downhill
  const ROWS = ["w", "x", "b", "w x", "y", "L"];
  // The walk: which row gets its gradient, and why.
  const WALK = [
    [null, () => "Forward: each value comes from those above it. Now walk backward."],
    ["L", () => "L grows with itself at the rate 1."],
    ["y", ({ y }) => `L = y y uses y twice, and each use gives 1 × y: 2 × ${show(y)} = ${show(2 * y)}.`],
    ["b", ({ slope }) => `In y = w x + b, the sum passes its gradient on unchanged: ${show(slope)}.`],
    ["w x", ({ slope }) => `It passes the same to its other term, w x: ${show(slope)}.`],
    ["w", ({ slope, x }) => `In w x, w is multiplied by x: ${show(slope)} × ${show(x)} = ${show(slope * x)}.`],
    ["x", ({ slope, w }) => `And x is multiplied by w: ${show(slope)} × ${show(w)} = ${show(slope * w)}.`],
  ];

  /** Return a number with at most two decimals. */
  const show = (number) => String(Number(number.toFixed(2))).replace("-", "\u2212");

  function start({ at }) {
    const [walk, table, said, step, losses] = ["walk", "table", "said", "step", "losses"].map(at);
    const sliders = { w: at("w"), x: at("x"), b: at("b") };
    const numbers = {}; // a slider has steps, a number has not
    let fallen = [];

    function read() {
      for (const [name, slider] of Object.entries(sliders)) {
        numbers[name] = Number(slider.value);
      }
      fallen = [];
    }

    function draw() {
      const { w, x, b } = numbers;
      const y = w * x + b;
      const slope = 2 * y;
      const values = { w, x, b, "w x": w * x, y, L: y * y };
      const gradients = { w: slope * x, x: slope * w, b: slope, "w x": slope, y: slope, L: 1 };
      const steps = Number(walk.value);
      const reached = new Set(WALK.slice(0, steps + 1).map(([name]) => name));
      ROWS.forEach((name, i) => {
        const [, value, gradient] = table.rows[i].cells;
        value.textContent = show(values[name]);
        gradient.textContent = reached.has(name) ? show(gradients[name]) : "?";
        table.rows[i].classList.toggle("drawn", name === WALK[steps][0]);
      });
      for (const [name, slider] of Object.entries(sliders)) {
        slider.value = numbers[name];
        slider.nextElementSibling.textContent = show(numbers[name]);
      }
      walk.nextElementSibling.textContent = `step ${steps} of ${WALK.length - 1}`;
      said.textContent = WALK[steps][1]({ ...numbers, y, slope });
      losses.textContent = fallen.length ? `L: ${[...fallen, y * y].slice(-7).map(show).join(" → ")}` : "";
    }

    step.addEventListener("click", () => {
      const y = numbers.w * numbers.x + numbers.b;
      fallen.push(y * y);
      // x is the data; what is learned is w and b.
      numbers.w -= RATE * 2 * y * numbers.x;
      numbers.b -= RATE * 2 * y;
      walk.value = WALK.length - 1;
      draw();
    });
    return (event) => {
      if (event?.target !== walk) {
        read();
      }
      draw();
    };
  }

  bringToLife("gradient", start);
})();
