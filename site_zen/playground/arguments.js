// arguments.js - The arguments of a command: a line split as a shell splits it, and joined again.

const SPACES = " \t\r\n";

/** Split a line into words, at spaces outside of quotes; a backslash escapes the next character. */
export function cut(line) {
  const words = [];
  let word = null; // the one being read; null between two
  let quote = null;
  const signs = [...line];
  while (signs.length) {
    const sign = signs.shift();
    const escapes = sign === "\\" && (quote === null || (quote === '"' && '"\\'.includes(signs[0] ?? " ")));
    if (escapes) {
      word = (word ?? "") + (signs.shift() ?? "");
    } else if (quote !== null) {
      [word, quote] = sign === quote ? [word, null] : [word + sign, quote];
    } else if (sign === '"' || sign === "'") {
      [word, quote] = [word ?? "", sign];
    } else if (!SPACES.includes(sign)) {
      word = (word ?? "") + sign;
    } else if (word !== null) {
      words.push(word);
      word = null;
    }
  }
  return word === null ? words : [...words, word];
}

/** Join words into a line that a shell splits into the same words. */
export function join(words) {
  return words.map((word) => (/^[\w./,:=+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`)).join(" ");
}

/**
 * Separate the arguments with known flags from the others.
 *
 * @param {string[]} words
 * @param {string[]} flags
 * @returns {[Map<string, string>, string[]]} The values by flag, and the other words.
 */
export function part(words, flags) {
  const values = new Map();
  const others = [];
  const waiting = [...words];
  while (waiting.length) {
    const word = waiting.shift();
    const [flag, ...value] = word.split("=");
    if (flags.includes(flag) && value.length) {
      values.set(flag, value.join("="));
    } else if (flags.includes(word) && waiting.length) {
      values.set(word, waiting.shift());
    } else {
      others.push(word);
    }
  }
  return [values, others];
}
