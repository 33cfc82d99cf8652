// network.js - A network that predicts the next word of what the reader types, on the home page.
//
// The explorer's own code computes it (bundled in core.js); model.js has the weights, one character each. Both are
// fetched after the page has been painted.
//
// Concepts:
//     level: a weight divided by the step of its row, rounded: -45 to 45. "#" is -45, "$" is -44, and so on.

(() => {
  const { NEW_STORY, cut, capital, element, joined, percent, pause, showBars } = globalThis.toyGptParts;
  // All visible characters of ASCII from "#" on, but for the one that a string in a script would need twice.
  const LEVELS = Array.from({ length: 92 }, (_, i) => String.fromCharCode(35 + i)).filter((one) => one !== "\\").join("");
  const MOST = 45;
  const FILE = "02_model_weights.safetensors";
  const BARS = 6;
  const LONGEST = 400; // words that are added in one go
  const SEEN = 130; // milliseconds to see which word is drawn
  const RESTS = 110; // milliseconds until the next one

  const form = document.getElementById("live");
  const at = (name) => form.querySelector(`[data-live="${name}"]`);
  const [text, bars, others, message] = ["text", "bars", "others", "message"].map(at);
  const [slider, degrees, writeOn] = ["temperature", "degrees", "write"].map(at);

  let network;
  let context = []; // the tokens that are read, oldest first
  let wanted = ""; // the letters of a word that is not finished
  let drawn = null; // the probability that each word is drawn; null where the network has no answer
  let writing = null; // what stands for the text that is being written

  // --- the network ------------------------------------------------------------------------------------------

  /** Return weights as a safetensors file, which the explorer's code reads. */
  function safetensorsOf(weights) {
    const header = {};
    const numbers = [];
    for (const { name, shape, steps, levels } of weights) {
      const begin = 4 * numbers.length;
      const width = levels.length / steps.length;
      for (const [i, letter] of [...levels].entries()) {
        numbers.push(steps[Math.floor(i / width)] * (LEVELS.indexOf(letter) - MOST));
      }
      header[name] = { dtype: "F32", shape, data_offsets: [begin, 4 * numbers.length] };
    }
    const json = new TextEncoder().encode(JSON.stringify(header));
    const bytes = new Uint8Array(8 + json.length + 4 * numbers.length);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
    bytes.set(json, 8);
    bytes.set(new Uint8Array(Float32Array.from(numbers).buffer), 8 + json.length);
    return bytes;
  }

  /** Return the network: its words, how a text is cut into them, and what may come next. */
  function networkOf(stored) {
    const { tokens, end, weights } = stored;
    const parameters = weights.map(({ name, shape }) => ({ name, shape, file: FILE }));
    const meta = { ...stored.meta, parameters, weights: { layout: "safetensors", rows: {} } };
    const idOf = new Map(tokens.map((token, id) => [token, id]));
    const files = new Map([[FILE, safetensorsOf(weights)]]);
    const { nextProbs } = globalThis.toyGpt.network.rebuild(meta, { tokens, idOf }, files);
    /** A word that begins a sentence is small, unless the network knows it as a name. */
    const tokenOf = (word) => [word, word.toLowerCase(), capital(word.toLowerCase())].find((one) => idOf.has(one)) ?? word;
    return {
      tokens,
      end,
      knows: (token) => idOf.has(token),
      tokenize: (typed) => cut(typed).map((word) => (word === NEW_STORY ? end : tokenOf(word))),
      join: (words) => joined(words.map((word) => (word === end ? NEW_STORY : word))),
      contextOf: (words) => words.slice(-meta.context_size),
      nextProbs: (words) => nextProbs(words.map((word) => idOf.get(word))),
    };
  }

  /** Return the probabilities after temperature: p to the power 1/T, over their sum; at 0 all is the most likely one's. */
  function afterTemperature(probs, temperature) {
    const top = probs.reduce((a, b) => Math.max(a, b));
    const powers = probs.map((p) => (temperature > 0 ? (p / top) ** (1 / temperature) : Number(p === top)));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / total);
  }

  // --- the page ---------------------------------------------------------------------------------------------

  /** Return what a word is called on the page. */
  const labelOf = (word) => (word === network.end ? "(the story ends)" : word);

  const beginsAsWanted = (word) => word.toLowerCase().startsWith(wanted);

  /** Return the words of the text, without the last one while it may still become a known one. */
  function wholeWords() {
    const words = network.tokenize(text.value);
    const last = words.at(-1) ?? "";
    const isOpen = /\S$/.test(text.value) && !network.knows(last);
    wanted = isOpen ? last.toLowerCase() : "";
    wanted = network.tokens.some(beginsAsWanted) ? wanted : "";
    return wanted ? words.slice(0, -1) : words;
  }

  /** Read the text, and show what may come next. */
  function show() {
    const words = wholeWords();
    // WHY the end: what comes first in a story is what comes after the last one.
    context = network.contextOf(words.length ? words : [network.end]);
    const temperature = Number(slider.value);
    degrees.textContent = temperature.toFixed(1);
    const unknown = context.find((word) => !network.knows(word));
    sayUnknown(unknown);
    drawn = unknown === undefined ? afterTemperature(network.nextProbs(context), temperature) : null;
    const ranked = globalThis.toyGpt.sampling.topK(drawn ?? [], network.tokens.length);
    const shown = ranked.filter((id) => beginsAsWanted(network.tokens[id])).slice(0, BARS);
    bars.hidden = drawn === null;
    const entries = shown.map((id) => ({ word: network.tokens[id], label: labelOf(network.tokens[id]), p: drawn[id] }));
    showBars(bars, entries, BARS, choose);
    bars.querySelector(".drawn")?.classList.remove("drawn");
    const rest = entries.reduce((left, { p }) => left - p, 1);
    others.textContent = drawn === null ? "" : `all other words together: ${percent(Math.max(rest, 0))}`;
  }

  /** Say which word the network does not know, and offer known ones. */
  function sayUnknown(unknown) {
    message.replaceChildren();
    if (unknown === undefined) {
      return;
    }
    const near = globalThis.toyGpt.text.nearest(unknown, network.tokens);
    const words = network.tokenize(text.value);
    const offer = (by) => {
      const button = element("button", "chip", by ?? "leave it out");
      const others = words.map((word) => (word === unknown ? by : word)).filter((word) => word !== null);
      button.type = "button";
      button.addEventListener("click", () => put(network.join(others)));
      return button;
    };
    message.append(`“${unknown}” is in none of its stories, so the network does not know this word. `);
    message.append(near.length ? "Did you mean: " : "", ...[...near, null].map(offer));
  }

  /** Put a text in the box, and predict. */
  function put(typed) {
    text.value = typed;
    text.scrollTop = text.scrollHeight;
    show();
  }

  function add(word) {
    put(network.join([...wholeWords(), word]));
  }

  function choose(word) {
    stop();
    add(word);
  }

  // --- writing ----------------------------------------------------------------------------------------------

  /** Draw the next word, and show which it is. */
  function draw() {
    // WHY 1: the temperature is in these probabilities already.
    const word = network.tokens[globalThis.toyGpt.sampling.chooseToken(drawn, { temperature: 1 }, Math.random)];
    const row = [...bars.children].find(({ firstChild }) => firstChild.dataset.word === word);
    row?.classList.add("drawn");
    others.textContent = row ? others.textContent : `it drew another word: ${labelOf(word)}`;
    return word;
  }

  async function write() {
    const isMine = turnOf();
    writeOn.textContent = "Stop";
    for (let count = 0; count < LONGEST && drawn !== null; count++) {
      const word = draw();
      await pause(SEEN);
      if (!isMine()) {
        return;
      }
      add(word);
      if (word === network.end) {
        others.textContent = "The end. “Write on” begins a new story.";
        break;
      }
      await pause(RESTS);
      if (!isMine()) {
        return;
      }
    }
    stop();
  }

  /** Begin to write; returns whether nothing has stopped this since. */
  function turnOf() {
    const mine = {};
    writing = mine;
    return () => writing === mine;
  }

  function stop() {
    writing = null;
    writeOn.textContent = "Write on";
    bars.querySelector(".drawn")?.classList.remove("drawn");
  }

  // --- the start --------------------------------------------------------------------------------------------

  function start() {
    network = networkOf(globalThis.toyGptNetwork);
    at("words").textContent = network.tokens.filter((token) => /^[a-z]/i.test(token)).join(" ");
    text.addEventListener("input", () => {
      stop();
      show();
    });
    slider.addEventListener("input", show);
    writeOn.addEventListener("click", () => (writing === null ? write() : stop()));
    for (const chip of form.querySelectorAll("[data-start]")) {
      chip.addEventListener("click", () => {
        stop();
        put(chip.dataset.start);
      });
    }
    form.addEventListener("submit", (event) => event.preventDefault());
    text.readOnly = false;
    form.classList.add("ready");
    show();
  }

  /** Fetch a script that lies beside this one. */
  function fetchScript(name) {
    return new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = new URL(name, here).href;
      script.addEventListener("load", done);
      script.addEventListener("error", () => failed(new Error(`${name} cannot be fetched`)));
      document.head.append(script);
    });
  }

  const here = document.currentScript.src;
  // WHY so late: the page is painted first.
  requestAnimationFrame(() =>
    setTimeout(() =>
      Promise.all(["core.js", "model.js"].map(fetchScript)).then(start, ({ message: problem }) => {
        message.textContent = `The network does not run here: ${problem}.`;
      }),
    ),
  );
})();
