// tokenizers.js - Text becomes tokens, and tokens text: words, characters, byte-level BPE, and what was imported.
//
// Concepts:
//     code point: what Python calls a character. A JavaScript string counts 16-bit units, and a code point may take
//         two of them, so text is split by code points, never by index.
//     pre-token: a piece of text that no merge crosses; " the", "2024", "!?" and "'s" are pre-tokens.
//     special token: text that is one token wherever it stands, as "<|endoftext|>" between documents.
//     spelling: a token's bytes, each as one printable character of GPT-2's alphabet; the space is "Ġ".
//
// OBS: what counts as a letter depends on the browser's Unicode version, and in Python on Python's.
//
// It does not know models or where files come from.

import { quoted } from "./csv.js";
import { parseObject } from "./json.js";
import { around, mergeAll } from "./pieces.js";

export const VOCAB_NAME = "vocab.json";
export const MERGES_NAME = "merges.txt";
export const DESCRIBED_NAME = "tokenizer.json";

// WHY not \s: JavaScript's has U+FEFF and lacks U+0085. WORD uses the white space of Python's str.isspace(), SPACE that
// of Unicode's White_Space, which GPT-2's pattern means.
const WORD = /[^\t-\r\x1c-\x1f \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/gu;
const SPACE = String.raw`\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`;
const CONTRACTION = "'(?:[sdmt]|ll|ve|re)";
const WHITE = String.raw`[${SPACE}]+(?![^${SPACE}])|[${SPACE}]+`;
// How text is cut before merging: by GPT-2's pattern, by Llama 3's, or by GPT-2's after each digit has been cut out.
const PRETOKENS = {
  gpt2: pattern(String.raw`${CONTRACTION}| ?\p{L}+| ?\p{N}+| ?[^${SPACE}\p{L}\p{N}]+|${WHITE}`),
  llama3: pattern(
    String.raw`'(?:[sS\u017f]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}` +
      String.raw`| ?[^${SPACE}\p{L}\p{N}]+[\r\n]*|[${SPACE}]*[\r\n]+|${WHITE}`,
  ),
  digits: pattern(
    String.raw`${CONTRACTION}| ?\p{L}+|\p{N}| ?[^${SPACE}\p{L}\p{N}]+|[${SPACE}]+(?![^${SPACE}\p{N}])|[${SPACE}]+`,
  ),
};

function pattern(source) {
  return new RegExp(source, "gu");
}

const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * @typedef {object} Tokenizer
 * @property {string} kind
 * @property {(text: string) => string[]} tokenize
 * @property {(tokens: string[]) => string} join
 * @property {string[]} special - The special tokens.
 * @property {Map<string, number> | null} idOf - The ids in the tokenizer's own files; null if it has none.
 */

/**
 * Return the tokenizer that a run's metadata describe.
 *
 * @param {{kind: string, special?: string[], cut?: string, ignore_merges?: boolean}} described - The metadata's `tokenizer`.
 * @param {Map<string, string>} files - The text of the tokenizer's own files, by name.
 * @returns {Promise<Tokenizer>}
 * @throws {Error} There is no such tokenizer, or its files are damaged.
 */
export async function tokenizerFromMeta(described, files) {
  const { kind } = described;
  const special = specialOfMeta(described);
  if (kind === "word") {
    const tokenize = around(special, (text) => text.match(WORD) ?? []);
    return { kind, special, tokenize, join: (tokens) => tokens.join(" "), idOf: null };
  }
  if (kind === "char") {
    return { kind, special, tokenize: around(special, (text) => [...text]), join: (tokens) => tokens.join(""), idOf: null };
  }
  if (kind === "bpe") {
    return bpeTokenizer(files, special, described);
  }
  if (kind === "sentencepiece") {
    // WHY loaded when needed: only imported models have it.
    const { sentencepieceTokenizer } = await import("./sentencepiece.js");
    return sentencepieceTokenizer(files.get(DESCRIBED_NAME), special, DESCRIBED_NAME);
  }
  throw new Error(`unknown tokenizer ${quoted(String(kind))}; choose word, char or bpe`);
}

/** Return the special tokens that metadata name; none if they name none. */
function specialOfMeta({ kind, special = [] }) {
  if (!Array.isArray(special) || !special.every((text) => typeof text === "string" && text)) {
    throw new Error("the special tokens of the tokenizer are not a list of texts");
  }
  if (new Set(special).size !== special.length) {
    throw new Error("a special token of the tokenizer appears twice");
  }
  // WHY: a space stands between two words, which could become a special token.
  if (kind === "word" && special.some((text) => text.includes(" "))) {
    throw new Error("a special token has a space, which stands between words");
  }
  return special;
}

/**
 * Split text without special tokens into pre-tokens: "It's 3 dogs!" into "It", "'s", " 3", " dogs", "!".
 *
 * @type {(text: string, cut?: string) => string[]}
 */
export function pretokenize(text, cut = "gpt2") {
  return text.match(PRETOKENS[cut]) ?? [];
}

// --- byte-level BPE -----------------------------------------------------------------------------------------

// GPT-2's printable alphabet: printable bytes stand for themselves, the others for code points from 256 on.
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

/** Return the tokenizer of vocab.json, merges.txt and, if it has special tokens, tokenizer.json. */
function bpeTokenizer(files, named, { cut = "gpt2", ignore_merges: ignoreMerges = false }) {
  if (!Object.hasOwn(PRETOKENS, cut)) {
    throw new Error(`the tokenizer cuts text in a way that is not known here: ${quoted(String(cut))}`);
  }
  const special = specialTokens(files.get(DESCRIBED_NAME));
  if (named.length !== special.size || !named.every((text) => special.has(text))) {
    throw new Error(`${DESCRIBED_NAME}: its special tokens are not those of the metadata`);
  }
  const idOf = readVocab(files.get(VOCAB_NAME), special);
  const ranks = readMerges(files.get(MERGES_NAME), idOf);
  const known = new Map();
  const encodeWord = (word) => {
    if (!known.has(word)) {
      const spelled = spell(word);
      known.set(word, ignoreMerges && idOf.has(spelled) ? [spelled] : mergeAll(spelled, ranks));
    }
    return known.get(word);
  };
  const tokensOf = around(named, (text) => pretokenize(text, cut).flatMap(encodeWord));
  const tokenize = (text) => {
    if (LONE_SURROGATE.test(text)) {
      throw new Error("the text holds a lone surrogate, which UTF-8 cannot encode");
    }
    return tokensOf(text);
  };
  // Invalid UTF-8, as when a text ends inside a character, becomes U+FFFD.
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const bytesOf = (token) => (special.has(token) ? [...new TextEncoder().encode(token)] : unspell(token));
  const join = (tokens) => decoder.decode(Uint8Array.from(tokens.flatMap(bytesOf)));
  return { kind: "bpe", special: named, tokenize, join, idOf };
}

// --- the files of BPE ---------------------------------------------------------------------------------------

/** Return the ids of the special tokens in tokenizer.json; none without such a file. */
function specialTokens(text) {
  if (text === undefined) {
    return new Map();
  }
  const added = parseObject(text, DESCRIBED_NAME).added_tokens ?? [];
  if (!Array.isArray(added) || !added.every((token) => typeof token?.content === "string" && token.content)) {
    throw new Error(`${DESCRIBED_NAME}: its added_tokens are not a list of texts and ids`);
  }
  return new Map(added.map((token) => [token.content, token.id]));
}

/** Return the id of each token: its spelling, or a special token's plain text. */
function readVocab(text, special) {
  const idOf = new Map(Object.entries(parseObject(text, VOCAB_NAME)));
  const ids = [...idOf.values()];
  if (!ids.every((id) => Number.isInteger(id) && id >= 0) || new Set(ids).size !== ids.length) {
    throw new Error(`${VOCAB_NAME}: its ids are not all whole numbers, or two tokens have the same id`);
  }
  for (const [token, id] of special) {
    if (idOf.get(token) !== id) {
      throw new Error(`${VOCAB_NAME}: ${quoted(token)} does not have the id that ${DESCRIBED_NAME} gives it`);
    }
  }
  for (const token of idOf.keys()) {
    if (!special.has(token)) {
      located(VOCAB_NAME, () => unspell(token));
    }
  }
  const missing = CHAR_OF_BYTE.findIndex((character) => !idOf.has(character));
  if (missing >= 0) {
    throw new Error(`${VOCAB_NAME}: byte 0x${missing.toString(16).padStart(2, "0")} has no token`);
  }
  return idOf;
}

/** Return the rank of each pair; its key is the line of the file, because no spelling has a space. */
function readMerges(text, idOf) {
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
    const unknown = [...parts, parts.join("")].find((token) => !idOf.has(token));
    if (unknown !== undefined) {
      throw new Error(`${where} ${quoted(unknown)} is not in the vocabulary`);
    }
    if (ranks.has(line)) {
      throw new Error(`${where} ${quoted(line)} appears twice`);
    }
    ranks.set(line, ranks.size);
  });
  return ranks;
}

/** Do something, and name the file in its error. */
function located(file, act) {
  try {
    return act();
  } catch (error) {
    throw new Error(`${file}: ${error.message}`);
  }
}
