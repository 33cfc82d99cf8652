// mixture.js - Rung 460: several memories look at the same history, each in its own way, and powers weigh them.
//
//     p(w | h) = exp(sum_k lambda_k(h) log p_k(w | h)) / Z(h)
//
// Concepts:
//     view: a value that is known before a token: an earlier token (lag_1 is the last), the word so far (prefix), the
//         words before it (word_1, word_2), the place in the line (column).
//     chain: the views of one expert, the most important first; backing off drops the last.
//     gate: what a correction of the powers is looked up by.
//
// It does not know how counts become probabilities (kneser_ney.js), how powers are learned, or where files come from.

import { eachRow, finiteNumber, knownId, quoted, wholeNumber } from "./csv.js";
import { createGrams, createMemory, discountsOf, interpolate } from "./kneser_ney.js";
import { softmax, topK } from "./sampling.js";

const DISCOUNTS_NAME = "03_discounts.csv";
const WEIGHTS_NAME = "04_mixing_weights.csv";
const DISCOUNTS_HEADER = ["expert", "context_size", "once", "twice", "three_or_more"];

const LARGEST_POWER = 1000;
const LARGEST_VALUE = 0x10ffff;
const NEVER_MET = -1;

const LAGS = Array.from({ length: 8 }, (_, i) => `lag_${i + 1}`);
const TEXT_VIEWS = ["prefix", "word_1", "word_2"];
const CHARACTERS = {
  chains: [
    LAGS.slice(0, 3),
    LAGS.slice(0, 5),
    LAGS.slice(0, 8),
    ["lag_1", "prefix", "lag_2", "word_1", "word_2"],
    ["lag_1", "lag_2", "lag_3", "prefix", "column"],
  ],
  gates: ["previous", "column", "matched"],
};
const OTHER_TOKENS = { chains: [LAGS.slice(0, 1), LAGS.slice(0, 3)], gates: ["matched"] };

// A word is known by its last 16 letters, and forgotten when it ended too long ago.
const LOOK_BACK = 64;
const WORD_LETTERS = 16;
const WORD_REACH = 32;
const SECOND_WORD_REACH = 47;
const LAST_COLUMN = 60;
const COLUMN_STEP = 4;
const LETTER = /^\p{L}$/u;

/** Return which experts there are: others where the tokens are characters with letters among them, which form words. */
function recipeFor(tokens) {
  const areCharacters = tokens.every((token) => [...token].length === 1) && tokens.some((token) => LETTER.test(token));
  return areCharacters ? CHARACTERS : OTHER_TOKENS;
}

function countsName(k) {
  return `02_counts_${k + 1}.csv`;
}

/** @type {import("./run.js").FilesOf} */
export function filesOf(meta, { tokens }) {
  return [...recipeFor(tokens).chains.map((_, k) => countsName(k)), DISCOUNTS_NAME, WEIGHTS_NAME];
}

/** @type {import("./run.js").Rebuild} */
export function rebuild(meta, vocabulary, files) {
  const { tokens } = vocabulary;
  const recipe = recipeFor(tokens);
  const { chains, gates } = recipe;
  const codes = new Map(); // of the prefixes and words that were met
  const read = (reader, name, ...more) => reader(files.get(name), meta.weights.rows[name], ...more);
  const discounts = read(readDiscounts, DISCOUNTS_NAME, chains);
  const memories = chains.map((chain, k) => {
    const grams = read(readGrams, countsName(k), countsName(k), vocabulary.idOf, chain, codes);
    return createMemory(grams, discounts[k], countsName(k));
  });
  const powers = read(readPowers, WEIGHTS_NAME, recipe);
  const longest = longestMemory(recipe);

  const look = (ids) => {
    const views = viewsOf(ids, tokens, recipe === CHARACTERS ? codes : null);
    const met = chains.map((chain, k) => memories[k].matched(chain.map((name) => views[name]).toReversed()));
    const values = { previous: views.lag_1, column: views.column, matched: matchedGate(met[longest]) };
    const experts = met.map((seen) => interpolate(seen, tokens.length));
    const vectors = [powers.base, ...gates.map((gate) => powers[gate].get(values[gate])).filter(Boolean)];
    const lambdas = chains.map((_, k) => vectors.reduce((sum, vector) => sum + vector[k], 0));
    return { experts, lambdas, probs: mix(experts, lambdas) };
  };
  return {
    leastContext: 0,
    forward: (ids) => look(ids).probs,
    explain: (ids, k) => explainMixture(look(ids), chains, k, tokens),
    matrices: () => [powersMatrix(powers, recipe, tokens)],
    vectors: () => null,
  };
}

/** Multiply the experts, each raised to its power, and normalize. */
function mix(experts, lambdas) {
  const scores = new Float64Array(experts[0].length);
  experts.forEach((probs, k) => {
    for (let id = 0; id < scores.length; id++) {
      scores[id] += lambdas[k] * Math.log(probs[id]);
    }
  });
  return softmax(scores);
}

/** Return the place of the expert with the longest memory of plain tokens. */
function longestMemory({ chains }) {
  const memories = chains.map((chain) => (chain.every((name) => LAGS.includes(name)) ? chain.length : 0));
  return memories.indexOf(Math.max(...memories));
}

/** Say how far the longest memory matched, and how often it had been there, in powers of two. */
function matchedGate(chain) {
  const bits = 32 - Math.clz32(Math.min(chain.at(-1).total, 511));
  return 10 * (chain.length - 1) + bits;
}

// --- views --------------------------------------------------------------------------------------------------

/**
 * Return the value of every view after a text.
 *
 * @param {number[]} ids - The text, 64 tokens at most.
 * @param {string[]} tokens
 * @param {Map<string, number> | null} codes - Of known prefixes and words; null where tokens do not form words.
 * @returns {Object<string, number>} By name; V + 1 for a token before the text, -1 for a text never met.
 */
function viewsOf(ids, tokens, codes) {
  const views = Object.fromEntries(LAGS.map((name, i) => [name, ids.at(-1 - i) ?? tokens.length + 1]));
  if (codes !== null) {
    const { texts, column } = wordViews(ids.map((id) => tokens[id]));
    TEXT_VIEWS.forEach((name, i) => {
      views[name] = codes.get(texts[i]) ?? NEVER_MET;
    });
    views.column = column;
  }
  return views;
}

/** Return the word so far and the two words before it, and the place in the line. */
function wordViews(characters) {
  let [part, last, second] = ["", "", ""];
  let [lastEnd, secondEnd] = [-LOOK_BACK, -LOOK_BACK];
  let placeInLine = 0;
  characters.forEach((character, place) => {
    if (LETTER.test(character) || character === "'") {
      part = [...part, ...character.toLowerCase()].slice(-WORD_LETTERS).join("");
    } else if (part) {
      [part, last, second] = ["", part, last];
      [lastEnd, secondEnd] = [place, lastEnd];
    }
    placeInLine = character === "\n" ? 0 : placeInLine + 1;
  });
  const near = (word, end, reach) => (characters.length - end <= reach ? word : "");
  return {
    texts: [part, near(last, lastEnd, WORD_REACH), near(second, secondEnd, SECOND_WORD_REACH)],
    column: Math.floor(Math.min(placeInLine, LAST_COLUMN) / COLUMN_STEP),
  };
}

// --- reading ------------------------------------------------------------------------------------------------

function readGrams(text, expected, file, idOf, chain, codes) {
  const names = chain.toReversed();
  const grams = createGrams(chain.length);
  const valueOf = (name, cell) => {
    if (LAGS.includes(name)) {
      return knownId(cell, idOf);
    }
    if (TEXT_VIEWS.includes(name)) {
      return codes.get(cell) ?? codes.set(cell, codes.size).get(cell);
    }
    const value = wholeNumber(cell, name);
    if (value > LARGEST_VALUE) {
      throw new Error(`${cell} is no value of a view`);
    }
    return value;
  };
  const take = (cells) => {
    const [token, count] = cells.slice(names.length);
    const values = names.map((name, i) => valueOf(name, cells[i]));
    grams.add(values, knownId(token, idOf), wholeNumber(count, "count"));
  };
  eachRow(text, file, [...names, "token", "count"], take, expected);
  return grams;
}

/** Return the discounts of each expert, by context length. */
function readDiscounts(text, expected, chains) {
  const discounts = chains.map((chain) => Array(chain.length + 1).fill(null));
  const take = ([expert, length, ...cells]) => {
    const ofExpert = discounts[wholeNumber(expert, "expert") - 1];
    if (ofExpert?.[wholeNumber(length, "context_size")] !== null) {
      throw new Error(`expert ${expert} and context size ${length} are unknown, or there twice`);
    }
    ofExpert[Number(length)] = discountsOf(cells);
  };
  eachRow(text, DISCOUNTS_NAME, DISCOUNTS_HEADER, take, expected);
  if (discounts.flat().includes(null)) {
    throw new Error(`${DISCOUNTS_NAME}: not a row for each expert and length`);
  }
  return discounts;
}

/** Return the base of the powers, and for each gate its corrections by value. */
function readPowers(text, expected, { chains, gates }) {
  const powers = { base: null, ...Object.fromEntries(gates.map((gate) => [gate, new Map()])) };
  const take = ([gate, cell, ...cells]) => {
    const value = wholeNumber(cell, "value");
    const vector = cells.map((power) => finiteNumber(power, "power"));
    if (vector.some((power) => Math.abs(power) > LARGEST_POWER)) {
      throw new Error("a power is out of all proportion");
    }
    if (powers.base === null && gate === "base") {
      powers.base = vector;
    } else if (powers.base !== null && gates.includes(gate) && !powers[gate].has(value)) {
      powers[gate].set(value, vector);
    } else {
      throw new Error(`the gate ${quoted(gate)} is unknown, out of place or there twice`);
    }
  };
  const header = ["gate", "value", ...chains.map((_, k) => `expert_${k + 1}`)];
  eachRow(text, WEIGHTS_NAME, header, take, expected);
  if (powers.base === null) {
    throw new Error(`${WEIGHTS_NAME}: there is nothing in it`);
  }
  return powers;
}

// --- looking into it ----------------------------------------------------------------------------------------

function explainMixture({ experts, lambdas, probs }, chains, k, tokens) {
  const entriesOf = (p) => topK(p, k).map((id) => ({ token: tokens[id], probability: p[id] }));
  return {
    kind: "mixture",
    experts: experts.map((p, i) => ({ name: expertName(i, chains[i]), power: lambdas[i], entries: entriesOf(p) })),
    entries: entriesOf(probs),
  };
}

function expertName(k, chain) {
  return `expert_${k + 1}: ${chain.join(", ")}`;
}

function powersMatrix(powers, { chains, gates }, tokens) {
  const nameOf = (gate, value) => `${gate} ${gate === "previous" ? tokens[value] ?? "(none)" : value}`;
  const rowsOf = (gate) => [...powers[gate]].map(([value, vector]) => [nameOf(gate, value), vector]);
  const rows = [["base", powers.base], ...gates.flatMap(rowsOf)];
  return {
    name: "powers",
    file: WEIGHTS_NAME,
    rows: rows.map(([name]) => name),
    columns: chains.map((chain, k) => expertName(k, chain)),
    numbers: Float64Array.from(rows.flatMap(([, vector]) => vector)),
    note: "how far each expert is trusted: the base, and what is added for the last token, the line and the match",
  };
}
