// parts.js - What is alive on a page shares: words cut from a text, words joined to one, bars that move, a picture's start.
//
// It knows no model.

(() => {
  const MARKS = new Set([".", ",", "?", "!"]);
  const ENDS = new Set([".", "?", "!"]);
  const NEW_STORY = "\n";

  /** Return the words and marks of a text, and "\n" where a line ends. */
  const cut = (text) => text.match(/\n|[.,?!"]|[^\s.,?!"]+/g) ?? [];

  /** Return a word with a large first letter. */
  const capital = (word) => word.slice(0, 1).toUpperCase() + word.slice(1);

  /** Return words as a person writes them: no space before a mark, a capital where a sentence begins. */
  function joined(words) {
    let text = "";
    let [glued, begins, isOpen, before] = [true, true, false, ""];
    for (const word of words) {
      if (word === NEW_STORY) {
        text += word;
        [glued, begins, isOpen] = [true, true, false];
      } else if (word === '"') {
        isOpen = !isOpen;
        text += glued || !isOpen ? word : ` ${word}`;
        // WHY after a full stop only: "Where are you?" asks Mina.
        [glued, begins] = [isOpen, isOpen || before === "."];
      } else {
        text += (glued || MARKS.has(word) ? "" : " ") + (begins ? capital(word) : word);
        [glued, begins] = [false, ENDS.has(word)];
      }
      before = word;
    }
    return text;
  }

  /** Return a probability as a percentage with two digits: "41 %", "8.9 %", "0.61 %". */
  function percent(p) {
    const share = 100 * p;
    const digits = share >= 99.5 ? "100" : share === 0 ? "0" : share < 0.01 ? "< 0.01" : share.toPrecision(2);
    return `${digits}\u00a0%`;
  }

  /** Return a token with its spaces to be seen. */
  const seen = (token) => token.replaceAll(" ", "␣").replaceAll("\n", "⏎");

  /** Return a new element with a class and a text. */
  function element(tag, className, text = "") {
    const node = document.createElement(tag);
    node.className = className;
    node.textContent = text;
    return node;
  }

  /** Return one empty bar; `choose` is called with the word that it shows. */
  function emptyBar(choose) {
    const row = document.createElement("li");
    const bar = element(choose ? "button" : "span", "bar");
    const track = element("span", "track");
    track.append(element("span", ""));
    bar.append(element("span", "word"), track, element("span", "share"), element("span", "beside"));
    if (choose) {
      bar.type = "button";
      bar.addEventListener("click", () => choose(bar.dataset.word));
    }
    row.append(bar);
    return row;
  }

  /**
   * Show words and their probabilities as bars. A bar that is there changes its length, so it moves.
   *
   * @param {HTMLElement} list
   * @param {{word: string, label: string, p: number, beside?: string, mark?: number}[]} entries - `label` is the word as it
   *   is shown, `beside` stands at the end, and `mark` is another probability, a line across the bar.
   * @param {number} count - How many bars there are, so that the page does not jump; those without a word are empty.
   * @param {((word: string) => void) | null} choose - Called when a bar is pressed.
   */
  function showBars(list, entries, count, choose = null) {
    if (list.childElementCount !== count || !list.querySelector(choose ? "button.bar" : ".bar")) {
      list.replaceChildren(...Array.from({ length: count }, () => emptyBar(choose)));
    }
    [...list.children].forEach((row, i) => {
      const { word = "", label = "", p = 0, beside = "", mark } = entries[i] ?? {};
      const [name, track, share, note] = row.firstChild.children;
      row.classList.toggle("empty", i >= entries.length);
      row.firstChild.dataset.word = word;
      name.textContent = label;
      track.firstChild.style.width = `${100 * p}%`;
      track.classList.toggle("marked", mark !== undefined);
      track.style.setProperty("--mark", `${100 * (mark ?? 0)}%`);
      share.textContent = i < entries.length ? percent(p) : "";
      note.textContent = beside;
    });
  }

  /** Return a cell of a table with a probability and its bar behind it. */
  function barCell(p, className = "") {
    const cell = element("td", `measured ${className}`, percent(p));
    cell.style.setProperty("--p", `${100 * p}%`);
    return cell;
  }

  /**
   * Bring a lesson's pictures of one kind to life.
   *
   * @param {string} kind
   * @param {(parts: {form: HTMLFormElement, at: (part: string) => HTMLElement, numbers: any}) => (event?: Event) => void} start
   *   - Called once for each picture; returns what shows its state, which is called after every input.
   */
  function bringToLife(kind, start) {
    document.querySelectorAll(`[data-picture="${kind}"]`).forEach((form) => {
      const at = (part) => form.querySelector(`[data-part="${part}"]`);
      const numbers = JSON.parse(form.querySelector('[type="application/json"]').textContent);
      const show = start({ form, at, numbers });
      form.addEventListener("input", show);
      form.addEventListener("submit", (event) => event.preventDefault());
      form.classList.add("ready");
      show();
    });
  }

  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

  globalThis.toyGptParts = { NEW_STORY, ENDS, cut, capital, joined, percent, seen, element, showBars, barCell, bringToLife, pause };
})();
