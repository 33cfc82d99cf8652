// sentencepiece.js - A tokenizer in the style of sentencepiece, as imported models have it: BPE over characters.
//
// Concepts:
//     prefix: a space is written as "\u2581", and one may be put before a text that has none there.
//     byte token: "<0x00>" to "<0xFF>". A character without a token becomes its bytes in UTF-8.
//     joint: two neighbor characters that some merge joins. Between any others the text may be cut.

import { quoted } from "./csv.js";
import { isObject, parseObject } from "./json.js";
import { around, mergeAll } from "./pieces.js";

const SPACE = "\u2581";
const LONE_SURROGATE = /\p{Surrogate}/u;
const BYTE = /^<0x([0-9A-Fa-f]{2})>$/u;
// Metaspace's ways to put a prefix; the older form, a normalizer, puts one before every part of a text.
const PREFIXES = ["always", "first", "never"];

/**
 * Return the tokenizer of a tokenizer.json.
 *
 * @param {string} text - Its content.
 * @param {string[]} special - The special tokens that the metadata name.
 * @param {string} file - Its name.
 * @returns {import("./tokenizers.js").Tokenizer}
 * @throws {Error} It is damaged.
 */
export function sentencepieceTokenizer(text, special, file) {
  const { idOf, merges, prefix, strips } = readDescription(text, special, file);
  const ranks = new Map(merges.map(([left, right], rank) => [`${left} ${right}`, rank]));
  const joints = new Set(merges.map(([left, right]) => [...left].at(-1) + [...right][0]));
  const known = new Map();
  const encodePiece = (piece) => {
    if (!known.has(piece)) {
      const first = [...piece].flatMap((character) => (idOf.has(character) ? [character] : byteTokens(character)));
      known.set(piece, mergeAll(first, ranks));
    }
    return known.get(piece);
  };
  const tokensOf = around(special, (part, isFirst) => {
    const written = part.replaceAll(" ", SPACE);
    const isBare = !written.startsWith(SPACE);
    const before = { every: true, always: isBare, first: isBare && isFirst, never: false }[prefix];
    return part === "" ? [] : piecesOf(before ? SPACE + written : written, joints).flatMap(encodePiece);
  });
  const tokenize = (whole) => {
    if (LONE_SURROGATE.test(whole)) {
      throw new Error("the text holds a lone surrogate, which UTF-8 cannot encode");
    }
    return tokensOf(whole);
  };
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const join = (tokens) => {
    const joined = decoder.decode(Uint8Array.from(tokens.flatMap(bytesOf)));
    return strips && joined.startsWith(" ") ? joined.slice(1) : joined;
  };
  return { kind: "sentencepiece", special, tokenize, join, idOf };
}

/** Cut what is merged where no merge gets. */
function piecesOf(written, joints) {
  const pieces = [];
  let last = "";
  for (const character of written) {
    if (last && joints.has(last + character)) {
      pieces[pieces.length - 1] += character;
    } else {
      pieces.push(character);
    }
    last = character;
  }
  return pieces;
}

function byteTokens(character) {
  return Array.from(new TextEncoder().encode(character), (byte) => byteToken(byte));
}

function byteToken(byte) {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

function bytesOf(token) {
  const byte = BYTE.exec(token);
  return byte ? [Number.parseInt(byte[1], 16)] : [...new TextEncoder().encode(token.replaceAll(SPACE, " "))];
}

/** Return what a tokenizer.json says, after checking it. */
function readDescription(text, special, file) {
  const require = (holds, what) => {
    if (!holds) {
      throw new Error(`${file}: ${what}`);
    }
  };
  const { model, added_tokens: added, normalizer, pre_tokenizer: cut, decoder } = parseObject(text, file);
  const isNamed = (token) => isObject(token) && typeof token.content === "string" && token.content !== "";
  require(Array.isArray(added) && added.every(isNamed), "its added_tokens are not a list of texts and ids");
  require(isObject(model) && isObject(model.vocab), "its model has no vocab");
  const idOf = new Map([...Object.entries(model.vocab), ...added.map(({ content, id }) => [content, id])]);
  const ids = [...idOf.values()];
  const areIds = ids.every((id) => Number.isInteger(id) && id >= 0) && new Set(ids).size === ids.length;
  require(areIds, "its ids are not all whole numbers, or two tokens have the same id");
  const named = new Set(added.map(({ content }) => content));
  const areSpecial = special.length === named.size && special.every((token) => named.has(token));
  require(areSpecial, "its special tokens are not those of the metadata");
  for (const token of [SPACE, ...Array.from({ length: 256 }, (_, byte) => byteToken(byte))]) {
    require(idOf.has(token), `${quoted(token)} is not in the vocabulary`);
  }
  const isMerge = (pair) => Array.isArray(pair) && pair.length === 2 && idOf.has(pair[0]) && idOf.has(pair[1]);
  require(Array.isArray(model.merges), "its merges are not a list");
  model.merges.forEach((pair, rank) =>
    require(isMerge(pair) && idOf.has(pair.join("")), `merge ${rank} is not two tokens that are one together`),
  );
  const prefix = isObject(normalizer) ? "every" : cut?.prepend_scheme;
  require(prefix === "every" || PREFIXES.includes(prefix), "it does not say where a text has a prefix");
  require(Array.isArray(decoder?.decoders), "it does not say how tokens are joined");
  return { idOf, merges: model.merges, prefix, strips: decoder.decoders.some((step) => step?.type === "Strip") };
}
