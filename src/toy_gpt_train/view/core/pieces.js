// pieces.js - What kinds of tokenizers share: special tokens, and the merging of one word.

import { argmax } from "./sampling.js";

/**
 * Return what cuts a text into tokens: each special token is one, and `cut` cuts the text between them. It is told
 * whether the text begins with what it cuts.
 */
export function around(special, cut) {
  const pattern = special.length ? patternOf(special) : null;
  return (text) =>
    (pattern === null ? [text] : text.split(pattern)).flatMap((part, place) =>
      place % 2 ? [part] : cut(part, place === 0),
    );
}

/** Return a pattern that matches any of some texts, the longest if several match. */
function patternOf(texts) {
  const longestFirst = [...texts].sort((a, b) => [...b].length - [...a].length);
  const escaped = longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/gu, String.raw`\$&`));
  return new RegExp(`(${escaped.join("|")})`, "u");
}

/**
 * Merge adjacent tokens, the pair of lowest rank first and the leftmost one of it, until no pair can be merged.
 *
 * Cost: O(n) per merge, O(n^2) in all; a word is short, and done once.
 */
export function mergeAll(first, ranks) {
  const tokens = [...first];
  // How early a token and the next one were merged: the lower the rank, the larger.
  const early = (place) =>
    place + 1 < tokens.length ? -(ranks.get(`${tokens[place]} ${tokens[place + 1]}`) ?? Infinity) : -Infinity;
  const pairs = tokens.map((_, place) => early(place));
  for (;;) {
    const place = argmax(pairs);
    if (pairs[place] === -Infinity) {
      return tokens;
    }
    tokens.splice(place, 2, tokens[place] + tokens[place + 1]);
    pairs.splice(place, 2, early(place));
    if (place > 0) {
      pairs[place - 1] = early(place - 1);
    }
  }
}
