// votes.js - The mixer of context mixing with two votes: evidence is added on the scale of log-odds.
//
//     p = squash(w1 stretch(p1) + w2 stretch(p2)), and after the bit y came: w_i += RATE (y - p) stretch(p_i)

(() => {
  const { bringToLife, element } = globalThis.toyGptParts;
  const RATE = 0.1; // of a step of learning
  const WIDEST = 6; // log-odds at the end of a bar

  const stretch = (p) => Math.log(p / (1 - p));
  const squash = (x) => 1 / (1 + Math.exp(-x));
  const show2 = (x) => x.toFixed(2).replace("-", "\u2212");

  /** Return a cell with a bar that begins in its middle, to the right for a 1. */
  function signedCell(x) {
    const cell = element("td", "signed", show2(x));
    const end = (value) => `${50 + (50 * Math.max(Math.min(value, WIDEST), -WIDEST)) / WIDEST}%`;
    cell.style.setProperty("--from", end(Math.min(x, 0)));
    cell.style.setProperty("--to", end(Math.max(x, 0)));
    return cell;
  }

  function start({ at }) {
    const [said, table, one, zero] = ["said", "table", "one", "zero"].map(at);
    const votes = [1, 2].map((i) => ({ p: at(`p${i}`), weight: at(`w${i}`), learned: 0 }));

    function draw() {
      const inputs = votes.map(({ p }) => stretch(Number(p.value)));
      const parts = votes.map(({ learned }, i) => learned * inputs[i]);
      const sum = parts[0] + parts[1];
      for (const { p, weight, learned } of votes) {
        weight.value = learned;
        weight.nextElementSibling.textContent = show2(learned);
        p.nextElementSibling.textContent = Number(p.value).toFixed(2);
      }
      const rows = votes.map(({ p }, i) => [Number(p.value).toFixed(3), show2(inputs[i]), parts[i]]);
      [...rows, [squash(sum).toFixed(3), show2(sum), sum]].forEach((texts, i) => {
        const added = texts.pop();
        table.rows[i].replaceChildren(table.rows[i].cells[0], ...texts.map((text) => element("td", "", text)), signedCell(added));
      });
      const mean = votes.reduce((all, { p }) => all + Number(p.value) / votes.length, 0);
      said.textContent = `The mixer says ${squash(sum).toFixed(3)}. The mean of both votes is ${mean.toFixed(3)}.`;
      return { inputs, p: squash(sum) };
    }

    for (const [button, bit] of [[one, 1], [zero, 0]]) {
      button.addEventListener("click", () => {
        const { inputs, p } = draw();
        votes.forEach((vote, i) => {
          vote.learned += RATE * (bit - p) * inputs[i];
        });
        draw();
      });
    }
    return (event) => {
      for (const vote of votes.filter(({ weight }) => !event || event.target === weight)) {
        vote.learned = Number(vote.weight.value); // a slider has steps, a weight has not
      }
      draw();
    };
  }

  bringToLife("votes", start);
})();
