// tokenizers.js - Text becomes tokens, and tokens text: words, characters, byte-level BPE.
//
// Concepts:
//     code point: what Python calls a character. A JavaScript string counts in units of 16 bits, of which a code point
//         may take two; so text is walked through by code points, never by places.
//     pre-token: a piece of text that merges never leave; " the", "2024", "!?" and "'s" are pre-tokens.
//     spelling: a token's bytes, each as one printable character of GPT-2's alphabet; the space is "Ġ".
//
// OBS: what is a letter depends on the Unicode version of the browser, as it does on that of Python. New scripts are
// signs to an old one.
//
// It does not know ids, models or where files come from.

import { quoted } from "./csv.js";
import { argmax } from "./sampling.js";

export const VOCAB_NAME = "vocab.json";
export const MERGES_NAME = "merges.txt";
export const DESCRIBED_NAME = "tokenizer.json";

// WHY not \s: JavaScript's has U+FEFF and lacks U+0085. These are what str.isspace() of Python takes for white space,
// and below what Unicode's White_Space does, which GPT-2's pattern means.
const WORD = /[^\t-\r\x1c-\x1f \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/gu;
const SPACE = String.raw`\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`;
const PRETOKEN = new RegExp(
  String.raw`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^${SPACE}\p{L}\p{N}]+|[${SPACE}]+(?![^${SPACE}])|[${SPACE}]+`,
  "gu",
);
const LONE_SURROGATE = /\p{Surrogate}/u;

/** @typedef {{kind: string, tokenize: (text: string) => string[], join: (tokens: string[]) => string}} Tokenizer */

/**
 * Return the tokenizer that a run's metadata describe.
 *
 * @param {{kind: string}} described - The metadata's `tokenizer`.
 * @param {Map<string, string>} files - The text of the files that byte-level BPE is made of, by name.
 * @returns {Tokenizer}
 * @throws {Error} There is no such tokenizer, or its files are damaged.
 */
export function tokenizerFromMeta(described, files) {
  if (described.kind === "word") {
    return { kind: "word", tokenize: (text) => text.match(WORD) ?? [], join: (tokens) => tokens.join(" ") };
  }
  if (described.kind === "char") {
    return { kind: "char", tokenize: (text) => [...text], join: (tokens) => tokens.join("") };
  }
  if (described.kind === "bpe") {
    return bpeTokenizer(files);
  }
  throw new Error(`unknown tokenizer ${quoted(String(described.kind))}; there are word, char, bpe`);
}

/**
 * Cut text into pre-tokens; joined they are the text again.
 *
 * @param {string} text - Without special tokens.
 * @returns {string[]} For example "It's 3 dogs!" gives "It", "'s", " 3", " dogs", "!".
 */
export function pretokenize(text) {
  return text.match(PRETOKEN) ?? [];
}

// --- byte-level BPE -----------------------------------------------------------------------------------------

// GPT-2's printable alphabet: bytes that print stand for themselves, the others for the code points from 256 on.
const CHAR_OF_BYTE = Array(256).fill("");
for (let byte = 0, others = 0; byte < 256; byte++) {
  const prints = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
  CHAR_OF_BYTE[byte] = String.fromCharCode(prints ? byte : 256 + others++);
}
const BYTE_OF_CHAR = new Map(CHAR_OF_BYTE.map((character, byte) => [character, byte]));

function spell(text) {
  return Array.from(new TextEncoder().encode(text), (byte) => CHAR_OF_BYTE[byte]).join("");
}

function unspell(spelling) {
  if (!spelling) {
    throw new Error("a token is empty");
  }
  return Array.from(spelling, (character) => {
    const byte = BYTE_OF_CHAR.get(character);
    if (byte === undefined) {
      throw new Error(`${quoted(character)} in ${quoted(spelling)} is not in GPT-2's printable alphabet`);
    }
    return byte;
  });
}

/** Return the tokenizer of vocab.json, merges.txt and, where it names special tokens, tokenizer.json. */
function bpeTokenizer(files) {
  const special = specialTokens(files.get(DESCRIBED_NAME));
  const spellings = readVocab(files.get(VOCAB_NAME), special);
  const ranks = readMerges(files.get(MERGES_NAME), spellings);
  const splitter = special.size ? patternOf(special.keys()) : null;
  const known = new Map();
  const encodeWord = (word) => {
    if (!known.has(word)) {
      known.set(word, mergeAll(spell(word), ranks));
    }
    return known.get(word);
  };
  const tokenize = (text) => {
    if (LONE_SURROGATE.test(text)) {
      throw new Error("the text holds a lone surrogate, which UTF-8 cannot hold");
    }
    const pieces = splitter === null ? [text] : text.split(splitter);
    return pieces.flatMap((piece, place) => (place % 2 ? [spell(piece)] : pretokenize(piece).flatMap(encodeWord)));
  };
  // Bytes that are no UTF-8, as when a text ends inside a character, become U+FFFD.
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const join = (tokens) => decoder.decode(Uint8Array.from(tokens.flatMap(unspell)));
  return { kind: "bpe", tokenize, join };
}

/**
 * Merge neighbours, the pair of lowest rank first and at its leftmost place, until no two can be merged.
 *
 * Cost: O(n) a merge, O(n^2) in all; a word is short, and worked out once.
 */
function mergeAll(spelling, ranks) {
  const tokens = [...spelling];
  // How early a token and the next one were merged: the lower the rank, the larger; nothing comes after the last.
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

/** Return a pattern of some texts; the longest wins where several begin at one place. */
function patternOf(texts) {
  const longestFirst = [...texts].sort((a, b) => [...b].length - [...a].length);
  const escaped = longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/gu, String.raw`\$&`));
  return new RegExp(`(${escaped.join("|")})`, "u");
}

// --- the files of BPE ---------------------------------------------------------------------------------------

function parseJson(text, file) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${file}: not JSON: ${error.message}`);
  }
}

/** Return the ids of the special tokens that tokenizer.json names; none where there is no such file. */
function specialTokens(text) {
  if (text === undefined) {
    return new Map();
  }
  const added = parseJson(text, DESCRIBED_NAME)?.added_tokens ?? [];
  if (!Array.isArray(added) || !added.every((token) => typeof token?.content === "string" && token.content)) {
    throw new Error(`${DESCRIBED_NAME}: its added_tokens are not a list of texts and ids`);
  }
  return new Map(added.map((token) => [token.content, token.id]));
}

/** Return the spellings of all tokens; special tokens stand in the file as plain text. */
function readVocab(text, special) {
  const idOf = parseJson(text, VOCAB_NAME);
  if (idOf === null || typeof idOf !== "object" || Array.isArray(idOf)) {
    throw new Error(`${VOCAB_NAME}: not a JSON object of tokens and ids`);
  }
  const ids = Object.values(idOf);
  if (!ids.every((id) => Number.isInteger(id) && id >= 0) || new Set(ids).size !== ids.length) {
    throw new Error(`${VOCAB_NAME}: its ids are not all whole numbers, or two tokens have the same`);
  }
  const spellings = new Set();
  for (const [token, id] of special) {
    if (idOf[token] !== id) {
      throw new Error(`${VOCAB_NAME}: it does not number ${quoted(token)} as ${DESCRIBED_NAME} does`);
    }
  }
  for (const spelling of Object.keys(idOf)) {
    if (special.has(spelling)) {
      spellings.add(spell(spelling));
    } else {
      located(VOCAB_NAME, () => unspell(spelling));
      spellings.add(spelling);
    }
  }
  const missing = CHAR_OF_BYTE.findIndex((character) => !spellings.has(character));
  if (missing >= 0) {
    throw new Error(`${VOCAB_NAME}: byte 0x${missing.toString(16).padStart(2, "0")} has no token`);
  }
  return spellings;
}

/** Return the rank of each pair; its key is the line of the file, for no spelling has a space. */
function readMerges(text, spellings) {
  const ranks = new Map();
  text.replaceAll("\r\n", "\n").split("\n").forEach((line, i) => {
    if (!line || (i === 0 && line.startsWith("#version"))) {
      return;
    }
    const where = `${MERGES_NAME}, line ${i + 1}:`;
    const parts = line.split(" ");
    if (parts.length !== 2) {
      throw new Error(`${where} not two tokens with a space between them: ${quoted(line)}`);
    }
    const unknown = [...parts, parts.join("")].find((token) => !spellings.has(token));
    if (unknown !== undefined) {
      throw new Error(`${where} ${quoted(unknown)} is not in the vocabulary`);
    }
    if (ranks.has(line)) {
      throw new Error(`${where} ${quoted(line)} is merged twice`);
    }
    ranks.set(line, ranks.size);
  });
  return ranks;
}

/** Do something, and name the file in what goes wrong. */
function located(file, act) {
  try {
    return act();
  } catch (error) {
    throw new Error(`${file}: ${error.message}`);
  }
}
