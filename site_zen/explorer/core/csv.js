// csv.js - The CSV files of a run, read strictly: anything unexpected is refused with its line number.
//
// Concepts:
//     cell: text between commas; in quotation marks if it holds a comma, a quotation mark or a line end (RFC 4180).
//     label: the tokens of a context, oldest first, joined by "|" ("the|cat|runs"); "|" and "\" inside a token are
//         escaped with "\", and a token that is a lone "*" is written "\*".
//
// WHY character by character: a table may have millions of cells, and a regular expression for each is too slow.
//
// It does not know where the text comes from, or what the numbers mean.

const QUOTE = 34;
const COMMA = 44;
const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;

const NO_CONTEXT_LABEL = "(no context)";

/**
 * Read a CSV text row by row.
 *
 * @param {string} text
 * @param {string} file - Its name, for messages.
 * @param {string[] | null} header - The first row it must have; null accepts any, which `take` gets too.
 * @param {(cells: string[]) => void} take - Called with the cells of each row, as many as in the header.
 * @param {number} [expected] - How many rows there must be below the header.
 * @throws {Error} The text is damaged, or `take` refused a row; the message names the file and the line.
 */
export function eachRow(text, file, header, take, expected) {
  if (!text.endsWith("\n")) {
    throw new Error(`${file}: ${text ? "the file is cut off in its last line" : "the file is empty"}`);
  }
  let count = -1;
  let width = 0;
  let begin = 0;
  try {
    for (let end = 0; begin < text.length; begin = end) {
      const cells = [];
      end = readRow(text, begin, cells);
      if (++count === 0) {
        width = cells.length;
        checkHeader(cells, header ?? cells);
      } else if (cells.length !== width) {
        throw new Error(`${cells.length} cells instead of ${width}`);
      }
      if (count > 0 || header === null) {
        take(cells);
      }
    }
  } catch (error) {
    throw new Error(`${file}, line ${lineAt(text, begin)}: ${error.message}`);
  }
  if (expected !== undefined && count !== expected) {
    throw new Error(`${file}: ${count} rows, but the metadata promise ${expected}`);
  }
}

/** Append the cells of the row that begins at an index; return where the next row begins. */
function readRow(text, begin, cells) {
  for (let at = begin; ; at++) {
    const from = at;
    if (text.charCodeAt(from) === QUOTE) {
      at = closingQuote(text, from + 1) + 1;
      cells.push(text.slice(from + 1, at - 1).replaceAll('""', '"'));
    } else {
      let code = text.charCodeAt(at);
      while (code !== COMMA && code !== LINE_FEED && code !== CARRIAGE_RETURN) {
        code = text.charCodeAt(++at); // the text ends with a line feed, so this ends too
      }
      cells.push(text.slice(from, at));
    }
    const code = text.charCodeAt(at);
    if (code === LINE_FEED) {
      return at + 1;
    }
    if (code === CARRIAGE_RETURN) {
      return text.charCodeAt(at + 1) === LINE_FEED ? at + 2 : at + 1;
    }
    if (code !== COMMA) {
      throw new Error("a comma must follow the quotation mark that ends a cell");
    }
  }
}

/** Return the index of the quotation mark that ends a cell; two in a row stand for one inside it. */
function closingQuote(text, begin) {
  let at = text.indexOf('"', begin);
  while (at >= 0 && text.charCodeAt(at + 1) === QUOTE) {
    at = text.indexOf('"', at + 2);
  }
  if (at < 0) {
    throw new Error("a quotation mark is not closed");
  }
  return at;
}

function checkHeader(found, header) {
  if (found.length !== header.length || found.some((cell, i) => cell !== header[i])) {
    throw new Error(`the header is not ${quoted(header.join(","))} but ${quoted(found.join(","))}`);
  }
}

/** Return the line number of an index. WHY not counted while reading: only an error needs it. */
function lineAt(text, begin) {
  return text.slice(0, begin).split(/\r\n|\r|\n/).length;
}

/**
 * Return text for a message: in quotation marks, and cut if it is long.
 *
 * @type {(text: string) => string}
 */
export function quoted(text) {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text);
}

// --- the text of a cell -------------------------------------------------------------------------------------

/**
 * Return a whole number of 0 or more, of 15 digits at most, which a double holds exactly; `what` begins the message.
 *
 * @type {(cell: string, what: string) => number}
 */
export function wholeNumber(cell, what) {
  if (!cell || cell.length > 15 || afterDigits(cell, 0) !== cell.length || (cell[0] === "0" && cell !== "0")) {
    throw new Error(`${what} is not a whole number: ${quoted(cell)}`);
  }
  return Number(cell);
}

/**
 * Return a finite number, written like -0.25 or 1e-05; `what` begins the message.
 *
 * WHY not Number() alone: it also accepts "", " 1" and "0x10".
 *
 * @type {(cell: string, what: string) => number}
 */
export function finiteNumber(cell, what) {
  const begin = cell[0] === "-" ? 1 : 0;
  let at = afterDigits(cell, begin);
  let good = at > begin;
  const part = (from) => {
    at = afterDigits(cell, from);
    good &&= at > from;
  };
  if (cell[at] === ".") {
    part(at + 1);
  }
  if (cell[at] === "e") {
    part(cell[at + 1] === "-" || cell[at + 1] === "+" ? at + 2 : at + 1);
  }
  const number = good && at === cell.length ? Number(cell) : NaN;
  if (!Number.isFinite(number)) {
    throw new Error(`${what} is not a finite number: ${quoted(cell)}`);
  }
  return number;
}

function afterDigits(text, begin) {
  let at = begin;
  while (text.charCodeAt(at) >= 48 && text.charCodeAt(at) <= 57) {
    at += 1;
  }
  return at;
}

// --- labels -------------------------------------------------------------------------------------------------

/**
 * Return the label of a context, given its tokens, oldest first: "the|cat", or "(no context)".
 *
 * @type {(tokens: string[]) => string}
 */
export function contextLabel(tokens) {
  return tokens.length ? tokens.map(escapeToken).join("|") : NO_CONTEXT_LABEL;
}

function escapeToken(token) {
  return token === "*" ? "\\*" : token.replaceAll("\\", "\\\\").replaceAll("|", "\\|");
}

/**
 * Return the token ids of a label that names `count` tokens; the inverse of contextLabel.
 *
 * @type {(label: string, idOf: Map<string, number>, count: number) => number[]}
 */
export function idsOfLabel(label, idOf, count) {
  if (count === 0 && label === NO_CONTEXT_LABEL) {
    return [];
  }
  const tokens = label.includes("\\") ? splitEscaped(label) : label.split("|");
  if (tokens.length !== count) {
    throw new Error(`${quoted(label)} does not name ${count} tokens`);
  }
  return tokens.map((token) => knownId(token, idOf));
}

/**
 * Return the id of a token of the vocabulary.
 *
 * @type {(token: string, idOf: Map<string, number>) => number}
 */
export function knownId(token, idOf) {
  const id = idOf.get(token);
  if (id === undefined) {
    throw new Error(`the token ${quoted(token)} is not in the vocabulary`);
  }
  return id;
}

/**
 * Return the token ids of the row with this index, in a file whose rows stand in the order of their contexts.
 *
 * @type {(label: string, index: number, vocabulary: import("./run.js").Vocabulary, count: number) => number[]}
 * @throws {Error} The label plainly names another context.
 */
export function idsInOrder(label, index, { tokens, idOf }, count) {
  const ids = Array(count);
  let rest = index;
  for (let at = count - 1; at >= 0; at--) {
    ids[at] = rest % tokens.length;
    rest = Math.floor(rest / tokens.length);
  }
  const names = label.split("|");
  const another = names.length === count && names.some((name, i) => name !== tokens[ids[i]]);
  if (another && names.every((name) => idOf.has(name)) && !tokens.some((token) => token.includes("|"))) {
    throw new Error(`the row of ${quoted(label)} where that of ${quoted(ids.map((id) => tokens[id]).join("|"))} should be`);
  }
  return ids;
}

function splitEscaped(label) {
  const tokens = [""];
  for (let at = 0; at < label.length; at++) {
    if (label[at] === "|") {
      tokens.push("");
      continue;
    }
    if (label[at] === "\\" && ++at === label.length) {
      throw new Error(`the label ${quoted(label)} ends in the middle of an escape`);
    }
    tokens[tokens.length - 1] += label[at];
  }
  return tokens;
}
