// mixture.js - Model 460: several experts see the same history, each in its own way, and mixture weights combine them.
//
//     p(w | h) = exp(sum_k lambda_k(h) log p_k(w | h)) / Z(h)
//
// Concepts:
//     view: a value that is known before a token: an earlier token (lag_1 is the last), the word so far (prefix), the
//         words before it (word_1, word_2), the place in the line (column).
//     recipe: the experts, as the metadata list them. chains: the views of each expert, the most important first;
//         backing off drops the last. gates: the values that corrections of the mixture weights are looked up by.
//     mixture weight: the power lambda_k to which an expert's probabilities are raised.
//
// It does not know how counts become probabilities (kneser_ney.js), how weights are learned, or where files come from.

import { eachRow, finiteNumber, knownId, quoted, wholeNumber } from "./csv.js";
import { isObject } from "./json.js";
import { checkCounts, createMemory, createNgrams, discountsOf, interpolate } from "./kneser_ney.js";
import { softmax, topK } from "./sampling.js";

const DISCOUNTS_NAME = "03_discounts.csv";
const WEIGHTS_NAME = "04_mixing_weights.csv";
const DISCOUNTS_HEADER = ["expert", "context_size", "once", "twice", "three_or_more"];

const LARGEST_WEIGHT = 1000;
const LARGEST_VALUE = 0x10ffff;
const NEVER_SEEN = -1;

const LAGS = Array.from({ length: 8 }, (_, i) => `lag_${i + 1}`);
const TEXT_VIEWS = ["prefix", "word_1", "word_2"];
const VIEWS = [...LAGS, ...TEXT_VIEWS, "column"];
const GATES = ["previous", "column", "matched"];

// Only the last 16 letters of a word count, and a word that ended too long ago is forgotten.
const LOOK_BACK = 64;
const WORD_LETTERS = 16;
const WORD_REACH = 32;
const SECOND_WORD_REACH = 47;
const LAST_COLUMN = 60;
const COLUMN_STEP = 4;
const LETTER = /^\p{L}$/u;

/** Return the recipe that the metadata give. */
function recipeOf({ recipe }) {
  if (recipe === undefined) {
    throw new Error("00_meta.json: it has no recipe: an earlier version trained this mixture; train it again");
  }
  const { chains, gates } = isObject(recipe) ? recipe : {};
  const isSome = (names, known) => Array.isArray(names) && names.every((name) => known.includes(name));
  const isChain = (chain) => isSome(chain, VIEWS) && chain.length > 0;
  if (!Array.isArray(chains) || !chains.length || !chains.every(isChain) || !isSome(gates, GATES)) {
    throw new Error("00_meta.json: its recipe is not lists of known chains and gates");
  }
  return recipe;
}

function countsName(k) {
  return `02_counts_${k + 1}.csv`;
}

/** @type {import("./run.js").FilesOf} */
export function filesOf(meta) {
  return [...recipeOf(meta).chains.map((_, k) => countsName(k)), DISCOUNTS_NAME, WEIGHTS_NAME];
}

/** @type {import("./run.js").Rebuild} */
export function rebuild(meta, vocabulary, files) {
  const { tokens } = vocabulary;
  const recipe = recipeOf(meta);
  const { chains, gates } = recipe;
  const usesWords = chains.flat().some((name) => !LAGS.includes(name));
  const codes = new Map(); // of the prefixes and words in the files
  const read = (reader, name, ...more) => reader(files.get(name), meta.weights.rows[name], ...more);
  const discounts = read(readDiscounts, DISCOUNTS_NAME, chains);
  const memories = chains.map((chain, k) => {
    const ngrams = read(readNgrams, countsName(k), countsName(k), vocabulary.idOf, chain, codes);
    const longestLag = Math.max(...chain.map((name) => LAGS.indexOf(name) + 1));
    checkCounts(ngrams, vocabulary, meta.start_tokens.slice(0, longestLag), countsName(k));
    return createMemory(ngrams, discounts[k], countsName(k));
  });
  const weights = read(readWeights, WEIGHTS_NAME, recipe);
  const longest = longestMemory(recipe);

  const predict = (ids) => {
    const views = viewsOf(ids, tokens, usesWords ? codes : null);
    const matched = chains.map((chain, k) => memories[k].matched(chain.map((name) => views[name]).toReversed()));
    const values = { previous: views.lag_1, column: views.column, matched: matchedGate(matched[longest]) };
    const experts = matched.map((followers) => interpolate(followers, tokens.length));
    const vectors = [weights.base, ...gates.map((gate) => weights[gate].get(values[gate])).filter(Boolean)];
    const lambdas = chains.map((_, k) => vectors.reduce((sum, vector) => sum + vector[k], 0));
    return { experts, lambdas, probs: mix(experts, lambdas) };
  };
  return {
    minContext: 0,
    nextProbs: (ids) => predict(ids).probs,
    explain: (ids, k) => explainMixture(predict(ids), chains, k, tokens),
    matrices: () => [weightsMatrix(weights, recipe, tokens)],
    vectors: () => null,
  };
}

/** Multiply the experts, each raised to its mixture weight, and normalize. */
function mix(experts, lambdas) {
  const scores = new Float64Array(experts[0].length);
  experts.forEach((probs, k) => {
    for (let id = 0; id < scores.length; id++) {
      scores[id] += lambdas[k] * Math.log(probs[id]);
    }
  });
  return softmax(scores);
}

/** Return the index of the expert with the longest context of plain tokens. */
function longestMemory({ chains }) {
  const memories = chains.map((chain) => (chain.every((name) => LAGS.includes(name)) ? chain.length : 0));
  return memories.indexOf(Math.max(...memories));
}

/** Return how far the longest memory matched, and how often that context was seen, in powers of two. */
function matchedGate(matched) {
  const bits = 32 - Math.clz32(Math.min(matched.at(-1).total, 511));
  return 10 * (matched.length - 1) + bits;
}

// --- views --------------------------------------------------------------------------------------------------

/**
 * Return the value of every view after a text.
 *
 * @param {number[]} ids - The text, 64 tokens at most.
 * @param {string[]} tokens
 * @param {Map<string, number> | null} codes - Of known prefixes and words; null if no expert uses them.
 * @returns {Object<string, number>} By name; V + 1 for a token before the text, -1 for a text never seen.
 */
function viewsOf(ids, tokens, codes) {
  const views = Object.fromEntries(LAGS.map((name, i) => [name, ids.at(-1 - i) ?? tokens.length + 1]));
  if (codes !== null) {
    const { texts, column } = wordViews(ids.map((id) => tokens[id]));
    TEXT_VIEWS.forEach((name, i) => {
      views[name] = codes.get(texts[i]) ?? NEVER_SEEN;
    });
    views.column = column;
  }
  return views;
}

/** Return the word so far and the two words before it, and the position in the line. */
function wordViews(characters) {
  let [part, last, second] = ["", "", ""];
  let [lastEnd, secondEnd] = [-LOOK_BACK, -LOOK_BACK];
  let inLine = 0;
  characters.forEach((character, i) => {
    if (LETTER.test(character) || character === "'") {
      part = [...part, ...character.toLowerCase()].slice(-WORD_LETTERS).join("");
    } else if (part) {
      [part, last, second] = ["", part, last];
      [lastEnd, secondEnd] = [i, lastEnd];
    }
    inLine = character === "\n" ? 0 : inLine + 1;
  });
  const near = (word, end, reach) => (characters.length - end <= reach ? word : "");
  return {
    texts: [part, near(last, lastEnd, WORD_REACH), near(second, secondEnd, SECOND_WORD_REACH)],
    column: Math.floor(Math.min(inLine, LAST_COLUMN) / COLUMN_STEP),
  };
}

// --- reading ------------------------------------------------------------------------------------------------

function readNgrams(text, expected, file, idOf, chain, codes) {
  const names = chain.toReversed();
  const ngrams = createNgrams(chain.length);
  const valueOf = (name, cell) => {
    if (LAGS.includes(name)) {
      return knownId(cell, idOf);
    }
    if (TEXT_VIEWS.includes(name)) {
      return codes.get(cell) ?? codes.set(cell, codes.size).get(cell);
    }
    const value = wholeNumber(cell, name);
    if (value > LARGEST_VALUE) {
      throw new Error(`${cell} is not the value of a view`);
    }
    return value;
  };
  const take = (cells) => {
    const [token, count] = cells.slice(names.length);
    const values = names.map((name, i) => valueOf(name, cells[i]));
    ngrams.add(values, knownId(token, idOf), wholeNumber(count, "count"));
  };
  eachRow(text, file, [...names, "token", "count"], take, expected);
  return ngrams;
}

/** Return the discounts of each expert, by context length. */
function readDiscounts(text, expected, chains) {
  const discounts = chains.map((chain) => Array(chain.length + 1).fill(null));
  const take = ([expert, length, ...cells]) => {
    const ofExpert = discounts[wholeNumber(expert, "expert") - 1];
    if (ofExpert?.[wholeNumber(length, "context_size")] !== null) {
      throw new Error(`expert ${expert} and context size ${length} are unknown, or appear twice`);
    }
    ofExpert[Number(length)] = discountsOf(cells);
  };
  eachRow(text, DISCOUNTS_NAME, DISCOUNTS_HEADER, take, expected);
  if (discounts.flat().includes(null)) {
    throw new Error(`${DISCOUNTS_NAME}: it does not have one row for each expert and length`);
  }
  return discounts;
}

/** Return the base of the mixture weights, and for each gate its corrections by value. */
function readWeights(text, expected, { chains, gates }) {
  const weights = { base: null, ...Object.fromEntries(gates.map((gate) => [gate, new Map()])) };
  const take = ([gate, cell, ...cells]) => {
    const value = wholeNumber(cell, "value");
    const vector = cells.map((weight) => finiteNumber(weight, "mixture weight"));
    if (vector.some((weight) => Math.abs(weight) > LARGEST_WEIGHT)) {
      throw new Error("a mixture weight is far too large");
    }
    if (weights.base === null && gate === "base") {
      weights.base = vector;
    } else if (weights.base !== null && gates.includes(gate) && !weights[gate].has(value)) {
      weights[gate].set(value, vector);
    } else {
      throw new Error(`the gate ${quoted(gate)} is unknown, out of order or appears twice`);
    }
  };
  const header = ["gate", "value", ...chains.map((_, k) => `expert_${k + 1}`)];
  eachRow(text, WEIGHTS_NAME, header, take, expected);
  if (weights.base === null) {
    throw new Error(`${WEIGHTS_NAME}: it is empty`);
  }
  return weights;
}

// --- looking into it ----------------------------------------------------------------------------------------

function explainMixture({ experts, lambdas, probs }, chains, k, tokens) {
  const entriesOf = (p) => topK(p, k).map((id) => ({ token: tokens[id], probability: p[id] }));
  return {
    kind: "mixture",
    experts: experts.map((p, i) => ({ views: chains[i], weight: lambdas[i], entries: entriesOf(p) })),
    entries: entriesOf(probs),
  };
}

function weightsMatrix(weights, { chains, gates }, tokens) {
  const nameOf = (gate, value) => `${gate} ${gate === "previous" ? tokens[value] ?? "(none)" : value}`;
  const rowsOf = (gate) => [...weights[gate]].map(([value, vector]) => [nameOf(gate, value), vector]);
  const rows = [["base", weights.base], ...gates.flatMap(rowsOf)];
  return {
    name: "mixture weights",
    file: WEIGHTS_NAME,
    rows: rows.map(([name]) => name),
    columns: chains.map((chain, k) => `expert_${k + 1}: ${chain.join(", ")}`),
    numbers: Float64Array.from(rows.flatMap(([, vector]) => vector)),
    note: "how far to trust each expert: the base, and what each gate adds to it",
  };
}
