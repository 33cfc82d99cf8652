// text.js - Tokens and numbers for a reader.

// What Python's str.isprintable() rejects.
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;
const ESCAPES = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * Return a token with white space and control characters as escapes, as `toy-gpt infer` shows it.
 *
 * @param {string} token
 * @returns {string} For example "cat" for cat, "'\\n'" for a line feed.
 */
export function visible(token) {
  return token !== "" && token.trim() === token && !UNPRINTABLE.test(token) ? token : written(token);
}

function written(token) {
  const quote = token.includes("'") && !token.includes('"') ? '"' : "'";
  const inner = Array.from(token, (character) => {
    if (character === quote) {
      return `\\${quote}`;
    }
    return ESCAPES[character] ?? (UNPRINTABLE.test(character) ? escaped(character.codePointAt(0)) : character);
  });
  return quote + inner.join("") + quote;
}

function escaped(code) {
  const digits = code.toString(16);
  return code < 0x100
    ? `\\x${digits.padStart(2, "0")}`
    : code < 0x10000
      ? `\\u${digits.padStart(4, "0")}`
      : `\\U${digits.padStart(8, "0")}`;
}

/** Return a probability with four decimals, a very small one as 1.2e-7. */
export function probabilityText(p) {
  return p > 0 && p < 0.00005 ? p.toExponential(1) : p.toFixed(4);
}

/** Return a share as a percentage: 0.126 becomes "13 %". */
export function percentText(share) {
  const percent = 100 * share;
  return `${percent > 0 && percent < 1 ? percent.toPrecision(1) : percent.toFixed(0)}\u00a0%`;
}

/** Return a number with at most `decimals` decimals, no zeros at its end, and a real minus sign. */
export function numberText(value, decimals = 4) {
  if (value !== 0 && Math.abs(value) < 0.5 * 10 ** -decimals) {
    return value.toExponential(1).replaceAll("-", "\u2212");
  }
  return String(Number(value.toFixed(decimals))).replace("-", "\u2212");
}

/** Return a count with thin spaces: 25670 becomes "25 670". */
export function countText(count) {
  return String(count).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** Return "1 token", "2 tokens". */
export function plural(count, noun) {
  return `${countText(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * Return the known tokens most like an unknown one: they share the most letters in order, and at least half.
 *
 * @param {string} token
 * @param {string[]} known
 * @param {number} most - How many at most.
 * @returns {string[]}
 */
export function nearest(token, known, most = 3) {
  const likeness = (other) => (2 * common(token.toLowerCase(), other.toLowerCase())) / (token.length + other.length);
  return known
    // WHY first: tokens of very different lengths cannot share half.
    .filter((other) => Math.min(token.length, other.length) * 4 >= token.length + other.length)
    .map((other) => [likeness(other), other])
    .filter(([like]) => like >= 0.5)
    .sort(([a], [b]) => b - a)
    .slice(0, most)
    .map(([, other]) => other);
}

/** Return the length of the longest common subsequence of two words. */
function common(a, b) {
  let row = new Array(b.length + 1).fill(0);
  for (const letter of a) {
    const next = [0];
    for (let j = 1; j <= b.length; j++) {
      next.push(letter === b[j - 1] ? row[j - 1] + 1 : Math.max(next[j - 1], row[j]));
    }
    row = next;
  }
  return row[b.length];
}
