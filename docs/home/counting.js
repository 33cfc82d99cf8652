// counting.js - A bigram trained on the reader's own words, on the home page: a table of counts is the whole model.
//
// Concepts:
//     bigram: a model that looks back one word. counts[a][b] says how often b came right after a, and the probability
//         of b after a is counts[a][b] over the sum of row a.

(() => {
  const { ENDS, cut, element, joined, pause, percent, showBars } = globalThis.toyGptParts;
  const MOST_WORDS = 300;
  const MOST_DIFFERENT = 16; // as many as the table has room for
  const LONGEST = 24; // words that are written
  const WATCHED = 3000; // milliseconds for all pairs together
  const SLOWEST = 260; // milliseconds for one pair
  const BARS = 4;

  const form = document.getElementById("counting");
  const at = (name) => form.querySelector(`[data-counting="${name}"]`);
  const [text, train, result] = ["text", "train", "result"].map(at);
  const [reading, table, chosen, bars] = ["reading", "table", "chosen", "bars"].map(at);
  const [about, written, write] = ["about", "written", "write"].map(at);

  let model = null;
  let turn = 0; // of training or writing; a new one ends the one before

  // --- the model --------------------------------------------------------------------------------------------

  /** Return the words to learn from: of a long text its beginning, with as many different words as the table shows. */
  function wordsOf(typed) {
    const words = [];
    const different = new Set();
    for (const word of cut(typed.toLowerCase()).filter((piece) => piece.trim())) {
      different.add(word);
      if (different.size > MOST_DIFFERENT || words.length === MOST_WORDS) {
        break;
      }
      words.push(word);
    }
    return words;
  }

  /** Return a model that has counted nothing. */
  function emptyModel(words) {
    const vocabulary = [...new Set(words)].sort();
    const counts = new Map(vocabulary.map((word) => [word, new Map()]));
    return { words, vocabulary, counts };
  }

  /** Count one pair. This is all of training. */
  function count({ counts }, before, word) {
    const row = counts.get(before);
    row.set(word, (row.get(word) ?? 0) + 1);
  }

  /** Return what came after a word, the most frequent first: the word, its count, its probability. */
  function after({ counts }, before) {
    const row = [...counts.get(before)];
    const total = row.reduce((sum, [, times]) => sum + times, 0);
    return row.map(([word, times]) => ({ word, label: word, times, p: times / total })).sort((a, b) => b.p - a.p);
  }

  /** Draw a word that came after another one; undefined if none did. */
  function drawAfter(before) {
    let left = Math.random();
    const entries = after(model, before);
    return (entries.find(({ p }) => (left -= p) < 0) ?? entries.at(-1))?.word;
  }

  // --- the page ---------------------------------------------------------------------------------------------

  /** Return the cell of a pair. */
  const cellOf = (before, word) =>
    table.tBodies[0].rows[model.vocabulary.indexOf(before)].cells[model.vocabulary.indexOf(word) + 1];

  /** Build the table: a row for the word before, a column for the word that came next. */
  function drawTable() {
    const head = element("tr", "");
    head.append(element("td", ""), ...model.vocabulary.map((word) => Object.assign(element("th", "", word), { scope: "col" })));
    const rows = model.vocabulary.map((before) => {
      const row = element("tr", "");
      const label = Object.assign(element("th", ""), { scope: "row" });
      const button = element("button", "", before);
      button.type = "button";
      button.addEventListener("click", () => select(before));
      label.append(button);
      row.append(label, ...model.vocabulary.map(() => element("td", "")));
      return row;
    });
    table.tHead.replaceChildren(head);
    table.tBodies[0].replaceChildren(...rows);
  }

  /** Show a pair's count, and the shares of its row. */
  function fill(before) {
    for (const { word, times, p } of after(model, before)) {
      const cell = cellOf(before, word);
      cell.textContent = times;
      cell.style.setProperty("--share", p);
    }
  }

  /** Show one row as probabilities. */
  function select(before) {
    const entries = after(model, before);
    const total = entries.reduce((sum, { times }) => sum + times, 0);
    const sum = entries.length ? `${entries[0].times} of ${total} is ${percent(entries[0].p)}` : "";
    chosen.textContent = entries.length ? `After “${before}” came “${entries[0].word}”: ${sum}.` : `Nothing came after “${before}”.`;
    showBars(bars, entries.slice(0, BARS), BARS);
    [...table.tBodies[0].rows].forEach((row, i) => row.classList.toggle("chosen", model.vocabulary[i] === before));
  }

  /** Read the text pair by pair, and count. */
  async function learn() {
    const mine = ++turn;
    const words = wordsOf(text.value);
    if (words.length < 2) {
      result.hidden = true;
      about.textContent = "Write at least two words: a bigram counts pairs.";
      return;
    }
    model = emptyModel(words);
    result.hidden = false;
    write.disabled = true;
    about.textContent = written.textContent = "";
    reading.replaceChildren(...words.flatMap((word) => [element("span", "", word), " "]));
    drawTable();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const rest = still ? 0 : Math.min(SLOWEST, WATCHED / words.length);
    for (let i = 1; i < words.length; i++) {
      count(model, words[i - 1], words[i]);
      fill(words[i - 1]);
      if (rest) {
        mark([reading.children[i - 1], reading.children[i], cellOf(words[i - 1], words[i])]);
        await pause(rest);
        if (mine !== turn) {
          return;
        }
      }
    }
    mark([]);
    finish();
  }

  /** Let some elements glow, and no others. */
  function mark(elements) {
    form.querySelectorAll(".now").forEach((node) => node.classList.remove("now"));
    elements.forEach((node) => node.classList.add("now"));
  }

  /** Say what was learned, and write with it. */
  function finish() {
    const { words, vocabulary } = model;
    const isCut = words.length < cut(text.value).filter((piece) => piece.trim()).length;
    const read = isCut ? `Trained on the first ${words.length} words, which fill the table` : "Trained";
    about.textContent = `${read}: ${words.length - 1} pairs counted, ${vocabulary.length} different words.`;
    const pairsOf = (word) => [...model.counts.get(word).values()].reduce((a, b) => a + b, 0);
    select(vocabulary.reduce((best, word) => (pairsOf(word) > pairsOf(best) ? word : best)));
    write.disabled = false;
    writeText();
  }

  /** Write word by word, and show the cells on the way. */
  async function writeText() {
    const mine = ++turn;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const added = [model.words[0]];
    written.textContent = joined(added);
    for (let ends = 0; added.length < LONGEST && ends < 2; ) {
      const before = added.at(-1);
      const word = drawAfter(before);
      if (word === undefined) {
        break;
      }
      if (!still) {
        mark([cellOf(before, word)]);
        await pause(SLOWEST);
        if (mine !== turn) {
          return;
        }
      }
      added.push(word);
      ends += ENDS.has(word);
      written.textContent = joined(added);
    }
    mark([]);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    learn();
  });
  write.addEventListener("click", writeText);
  train.disabled = false;
})();
