// training_text.js - The text that a counting model has learned: where a probability comes from, line by line.
//
// Concepts:
//     evidence: what the counts of one context gave to the probability of a token.
//     place: a token of the training text that is behind such a count; the places of a count share what it gave.
//     struck: a line that is left out, to see what the model would be without it.
//
// inference/trace.py does the same with a suffix array; here a phrase is looked for from the beginning to the end.

import { createMemory, createNgrams } from "./kneser_ney.js";
import { readSafetensors } from "./safetensors.js";

const TRACE_NAME = "04_trace.safetensors";
const FALLBACK_DISCOUNTS = [0.5, 1, 1.5];
const SMALLEST_DISCOUNT = 1e-9;

/** @typedef {{length: number, probability: number, countsKinds: boolean}} Evidence - As in models/base.py. */
/** @typedef {{position: number, length: number, probability: number}} Place */
/** @typedef {{number: number, probability: number, places: Place[]}} LineShare - Lines are counted from 1. */

export class TrainingText {
  /**
   * @param {ArrayLike<number>} ids - The token ids that were learned.
   * @param {ArrayLike<number>} lineStarts - The number of each line's first token.
   */
  constructor(ids, lineStarts) {
    this.ids = ids;
    this.lineStarts = lineStarts;
  }

  /** @returns {number[]} Where a phrase begins. */
  find(phrase) {
    const found = [];
    const last = this.ids.length - phrase.length;
    for (let begin = 0; begin <= last; begin++) {
      let same = 0;
      while (same < phrase.length && this.ids[begin + same] === phrase[same]) {
        same += 1;
      }
      if (same === phrase.length) {
        found.push(begin);
      }
    }
    return found;
  }

  /** @returns {number} The line of a token. */
  lineOf(position) {
    let [low, high] = [0, this.lineStarts.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      [low, high] = this.lineStarts[middle] <= position ? [middle + 1, high] : [low, middle];
    }
    return low;
  }

  /** @returns {[number, number]} Where a line begins, and where it ends. */
  line(number) {
    return [this.lineStarts[number - 1], this.lineStarts[number] ?? this.ids.length];
  }

  /** @returns {TrainingText} The text without some lines; the others keep their numbers. */
  without(struck) {
    const ids = [];
    const starts = [];
    for (let number = 1; number <= this.lineStarts.length; number++) {
      starts.push(ids.length);
      if (!struck.has(number)) {
        const [begin, end] = this.line(number);
        for (let i = begin; i < end; i++) {
          ids.push(this.ids[i]);
        }
      }
    }
    return new TrainingText(ids, starts);
  }
}

/**
 * Read the text from the file that toy-gpt train --trace keeps.
 *
 * @param {Uint8Array} bytes
 * @param {number} vocabSize - V.
 * @returns {TrainingText}
 * @throws {Error} The file is damaged.
 */
export function readTrainingText(bytes, vocabSize) {
  const tensors = readSafetensors(bytes, TRACE_NAME);
  const ids = tensors.get("training_ids")?.numbers;
  const starts = tensors.get("line_starts")?.numbers;
  const isRising = (numbers) => numbers.every((start, i) => start >= (numbers[i - 1] ?? 0));
  if (!ids?.every((id) => id < vocabSize) || !starts?.length || starts[0] !== 0 || !isRising(starts)) {
    throw new Error(`${TRACE_NAME}: it does not hold the tokens and lines of a text`);
  }
  return new TrainingText(ids, starts);
}

/**
 * Open what a Kneser-Ney model has learned.
 *
 * @param {import("./run.js").Model} model - It has `learned`.
 * @returns {{text: TrainingText, evidence: Function, without: (struck: Set<number>) => object}} `without` gives the same
 *     of the model that it would be without some lines.
 */
export function openLearned({ learned: { bytes, memory }, contextSize, vocabSize }) {
  const text = readTrainingText(bytes, vocabSize);
  const without = (struck) => {
    const rest = text.without(struck);
    return { text: rest, ...tracedBy(memoryOf(rest.ids, contextSize), vocabSize) };
  };
  return { text, without, ...tracedBy(memory, vocabSize) };
}

/** Return what each context gives to the probability of a token, and the rest, which none gives. */
function tracedBy(memory, vocabSize) {
  const evidence = (ids, id) => {
    const parts = [];
    let weight = 1;
    for (const [length, { ids: known, shares, gamma }] of [...memory.matched(ids).entries()].toReversed()) {
      const place = known.indexOf(id);
      if (place >= 0) {
        const countsKinds = length < memory.discounts.length - 1;
        parts.push({ length, probability: weight * shares[place], countsKinds });
      }
      weight *= gamma;
    }
    return { parts, rest: weight / vocabSize };
  };
  return { evidence };
}

/** Count a text again. */
function memoryOf(ids, longest) {
  let counts = new Map();
  for (let end = longest; end < ids.length; end++) {
    const key = ids.slice(end - longest, end + 1).join(" ");
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const ngrams = createNgrams(longest);
  for (const [key, count] of counts) {
    const values = key.split(" ").map(Number);
    ngrams.add(values.slice(0, -1), values.at(-1), count);
  }
  const discounts = [estimateDiscounts([...counts.values()])];
  for (let length = longest - 1; length >= 0; length--) {
    const shorter = new Map();
    for (const key of counts.keys()) {
      const rest = key.slice(key.indexOf(" ") + 1);
      shorter.set(rest, (shorter.get(rest) ?? 0) + 1);
    }
    counts = shorter;
    discounts.unshift(estimateDiscounts([...counts.values()]));
  }
  return createMemory(ngrams, discounts, "the text");
}

/** Return the three discounts of a length; see estimate_discounts() in models/kneser_ney.py. */
function estimateDiscounts(counts) {
  const n = [0, 0, 0, 0, 0];
  counts.filter((count) => count <= 4).forEach((count) => (n[count] += 1));
  if (!n.slice(1).every((number) => number > 0)) {
    return FALLBACK_DISCOUNTS;
  }
  const y = n[1] / (n[1] + 2 * n[2]);
  const taken = [1, 2, 3].map((r) => r - ((r + 1) * y * n[r + 1]) / n[r]);
  return taken.every((less, i) => less >= SMALLEST_DISCOUNT && less <= i + 1) ? taken : FALLBACK_DISCOUNTS;
}

/**
 * Return where the probability of a token comes from.
 *
 * @param {{evidence: (ids: number[], id: number) => {parts: Evidence[], rest: number}}} model
 * @param {TrainingText} text - What it has learned.
 * @param {number} contextSize - N.
 * @param {number[]} ids - The context.
 * @param {number} id - The token.
 * @returns {{probability: number, lines: LineShare[], rest: number}} The lines that gave most come first.
 */
export function placesOf(model, text, contextSize, ids, id) {
  const { parts, rest } = model.evidence(ids, id);
  const places = new Map();
  for (const { length, probability, countsKinds } of parts) {
    const groups = new Map();
    for (const begin of text.find([...ids.slice(ids.length - length), id])) {
      const position = begin + length;
      if (position >= contextSize) {
        const before = countsKinds ? text.ids[begin - 1] : null;
        groups.set(before, groups.get(before) ?? []);
        groups.get(before).push(position);
      }
    }
    for (const group of groups.values()) {
      for (const position of group) {
        const place = places.get(position) ?? { position, length: 0, probability: 0 };
        place.length = Math.max(place.length, length);
        place.probability += probability / groups.size / group.length;
        places.set(position, place);
      }
    }
  }
  const lines = byLine([...places.values()], text);
  return { probability: lines.reduce((sum, line) => sum + line.probability, rest), lines, rest };
}

function byLine(places, text) {
  const lines = new Map();
  for (const place of places.toSorted((a, b) => b.probability - a.probability || a.position - b.position)) {
    const number = text.lineOf(place.position);
    const share = lines.get(number) ?? { number, probability: 0, places: [] };
    share.probability += place.probability;
    share.places.push(place);
    lines.set(number, share);
  }
  return [...lines.values()].sort((a, b) => b.probability - a.probability || a.number - b.number);
}
