// run.js - Open a trained run: fetch its files, check that they are complete and fit together, and rebuild the model.
//
// Concepts:
//     run: one trained model with its metadata, vocabulary and tokenizer, as its folder of artifacts gives it.
//     index: the list of runs that a page can open.
//
// REQ: nothing is fetched from any host but the page's own.
// REQ: a file that is missing or damaged gives one sentence that names it.
//
// It does not know how a model computes, or how anything looks on the page.

import { eachRow, finiteNumber, quoted, wholeNumber } from "./csv.js";
import { isObject, parseObject } from "./json.js";
import { DESCRIBED_NAME, MERGES_NAME, VOCAB_NAME, tokenizerFromMeta } from "./tokenizers.js";

const META_NAME = "00_meta.json";
const VOCABULARY_NAME = "01_vocabulary.csv";
const PREDICT_NAME = "predict";
const VOCABULARY_HEADER = ["token_id", "token", "frequency"];
const SCHEMA_VERSION = 1;
const LARGEST_LOSS = -Math.log(1e-12);

/**
 * Where the files of a run are. A run made in the page has no folder, but a URL for each file. The server computes the
 * predictions of a remote one. Its page may begin with a certain text.
 *
 * @typedef {{name: string, artifacts?: string, urls?: Map<string, string>, log: string | null, remote?: boolean,
 *     text?: string | null}} RunEntry
 */
/** @typedef {{tokens: string[], idOf: Map<string, number>, frequency: number[]}} Vocabulary */
/** @typedef {{columns: string[], rows: number[][]}} Log */
/** @typedef {{labels: string[], numbers: Float64Array, size: number}} Vectors - Row by row, `size` numbers each. */

/**
 * Numbers to look at, row by row; they may be computed only when they are read.
 *
 * @typedef {{name: string, file: string, rows: string[], columns: string[], numbers: Float64Array, note: string}}
 *     Matrix
 */

/**
 * The interface of every model.
 *
 * @typedef {object} Model
 * @property {string} kind
 * @property {number} vocabSize - V.
 * @property {number} contextSize - N, the most tokens it can use.
 * @property {number} minContext - The fewest tokens nextProbs() needs.
 * @property {(ids: number[]) => Float64Array} nextProbs - V probabilities for the token after a context, oldest first.
 * @property {(ids: number[], k: number) => object} explain - Why this token? Where the k most likely ones come from.
 * @property {((ids: number[]) => import("./network.js").Trace) | undefined} trace - Of a network with attention: a
 *     prediction part by part.
 * @property {{bytes: Uint8Array, memory: object} | undefined} learned - What a counting model has learned, if it keeps
 *     that; see training_text.js.
 * @property {() => Matrix[]} matrices
 * @property {() => Vectors | null} vectors
 * @property {((ids: number[], explained: boolean) => Promise<void>) | undefined} prepare - Where the server computes:
 *     wait for this before nextProbs() and explain().
 * @property {((ids: number[]) => boolean) | undefined} isReady - There, whether nextProbs() need not wait.
 */

/** @typedef {Map<string, string | Uint8Array>} Files - Text by name; the bytes of safetensors. */
/** @typedef {(meta: object, vocabulary: Vocabulary) => string[]} FilesOf - The files that a model is made of. */
/**
 * Rebuild a model from its files. Its nextProbs() and explain() get checked ids only. Throws an Error if a file is
 * damaged, or does not fit the vocabulary or the metadata.
 *
 * @typedef {(meta: object, vocabulary: Vocabulary, files: Files) =>
 *     Pick<Model, "minContext" | "nextProbs" | "explain" | "matrices" | "vectors">} Rebuild
 */

/**
 * @typedef {object} Run
 * @property {string} name
 * @property {object} meta - 00_meta.json.
 * @property {Vocabulary} vocabulary
 * @property {import("./tokenizers.js").Tokenizer} tokenizer
 * @property {Model} model
 * @property {Log | null} log
 * @property {number | null} lossFloor - In nats per token; no table with this context can go below it. Null if unknown.
 */

// For each model its layouts, and the module that names its files (filesOf) and rebuilds it (rebuild).
// WHY loaded when needed: a page that opens one run reads the code of one model.
const TABLE = { layouts: ["all", "observed", "sparse"], code: () => import("./tables.js") };
const NETWORK = { layouts: ["tables", "safetensors"], code: () => import("./network.js") };
const MODELS = {
  "back-off": { layouts: ["tables"], code: () => import("./back_off.js") },
  "kneser-ney": { layouts: ["tables"], code: () => import("./kneser_ney.js") },
  mixture: { layouts: ["tables"], code: () => import("./mixture.js") },
  "context-mixing": { layouts: [] }, // its server computes it
  embeddings: NETWORK,
  attention: NETWORK,
  gpt: NETWORK,
  llama: NETWORK,
};
// The contexts that a name fixes; the older toy-gpt series' unigram looks back one token, and its bigram two.
const FIXED_CONTEXTS = { unigram: [0, 1], bigram: [1, 2], mixture: [64], "context-mixing": [64] };
// In tokens; the other models need one more than their context. What was imported does not know its text.
const SHORTEST_TEXTS = { mixture: 10, "context-mixing": 1, "back-off": 0 };

// --- opening runs -------------------------------------------------------------------------------------------

/**
 * Read the list of runs that a page can open.
 *
 * @param {string} indexUrl - Of a JSON file {"runs": [{"name", "artifacts", "log"}, …]}, URLs relative to its own.
 * @returns {Promise<RunEntry[]>} With whole URLs.
 * @throws {Error} The list is missing or damaged.
 */
export async function loadRuns(indexUrl) {
  const base = new URL(indexUrl, globalThis.location?.href);
  const file = base.pathname.split("/").at(-1);
  const { runs } = parseObject(await fetchText(base, file), file);
  const isText = (value) => value === null || typeof value === "string";
  const isEntry = ({ name, artifacts, log = null, text = null }) =>
    typeof name === "string" && typeof artifacts === "string" && isText(log) && isText(text);
  if (!Array.isArray(runs) || !runs.every((entry) => isObject(entry) && isEntry(entry))) {
    throw new Error(`${file}: its runs are not a list of names and URLs`);
  }
  return runs.map(({ name, artifacts, log = null, remote = false, text = null }) => ({
    name,
    text,
    remote: remote === true,
    artifacts: new URL(artifacts, base).href,
    log: log === null ? null : new URL(log, base).href,
  }));
}

/**
 * Open one run.
 *
 * @param {RunEntry} entry
 * @returns {Promise<Run>}
 * @throws {Error} A file is missing or damaged, or two disagree: one sentence that names it.
 */
export async function loadRun(entry) {
  const { name, log = null } = entry;
  const [metaText, vocabularyText, logText] = await Promise.all([
    fetchText(urlOf(entry, META_NAME), META_NAME),
    fetchText(urlOf(entry, VOCABULARY_NAME), VOCABULARY_NAME),
    log === null ? null : fetchText(new URL(log, globalThis.location?.href), "train_log.csv"),
  ]);
  const meta = await readMeta(metaText, entry);
  const vocabulary = readVocabulary(vocabularyText, meta.vocab_size);
  const { filesOf, rebuild } = entry.remote ? await remoteSource(entry) : await sourceOf(meta).code();
  const files = await fetchAll(entry, [...filesOf(meta, vocabulary), ...tokenizerFiles(meta)]);
  const tokenizer = await tokenizerFromMeta(meta.tokenizer, files);
  checkIds(vocabulary, tokenizer);
  const model = checked(rebuild(meta, vocabulary, files), meta);
  checkText(meta, vocabulary);
  return {
    name,
    meta,
    vocabulary,
    tokenizer,
    model,
    log: logText === null ? null : readLog(logText),
    lossFloor: meta.loss_floor ?? null,
  };
}

/** Return what rebuilds a model whose predictions the server computes. */
async function remoteSource(entry) {
  const { filesOf, rebuildFrom } = await import("./remote.js");
  const fetchAnswer = (query) => {
    const url = urlOf(entry, PREDICT_NAME);
    url.search = query;
    return fetchText(url, PREDICT_NAME);
  };
  return { filesOf, rebuild: rebuildFrom(fetchAnswer) };
}

/**
 * Return the URL of a run's file.
 *
 * @param {RunEntry} entry
 * @param {string} name
 * @returns {URL}
 */
export function urlOf({ artifacts, urls }, name) {
  if (urls !== undefined) {
    if (!urls.has(name)) {
      throw new Error(`${name} is missing`);
    }
    return new URL(urls.get(name));
  }
  const folder = new URL(artifacts.endsWith("/") ? artifacts : `${artifacts}/`, globalThis.location?.href);
  // WHY encoded: a name never leads out of the run's folder.
  return new URL(encodeURIComponent(name), folder);
}

/** Return a rebuilt model with the whole interface; it refuses ids that are not a context. */
function checked(model, { model_kind: kind, vocab_size: vocabSize, context_size: contextSize }) {
  const { minContext } = model;
  const check = (ids) => {
    if (ids.length < minContext || ids.length > contextSize) {
      const wanted = minContext === contextSize ? contextSize : `${minContext} to ${contextSize}`;
      throw new Error(`a context has ${wanted} token ids, got ${ids.length}`);
    }
    if (!ids.every((id) => Number.isInteger(id) && id >= 0 && id < vocabSize)) {
      throw new Error(`token ids are 0 to ${vocabSize - 1}, got ${ids.join(", ")}`);
    }
    return ids;
  };
  const nextProbs = (ids) => model.nextProbs(check(ids));
  const explain = (ids, k) => model.explain(check(ids), k);
  return { ...model, kind, vocabSize, contextSize, nextProbs, explain };
}

/** Fetch several files at once; return them by name: safetensors as bytes, all others as text. */
async function fetchAll(entry, names) {
  const fetchOne = (name) => (name.endsWith(".safetensors") ? fetchBytes : fetchText)(urlOf(entry, name), name);
  const files = await Promise.all(names.map(fetchOne));
  return new Map(names.map((name, i) => [name, files[i]]));
}

async function fetchBytes(url, file) {
  if (globalThis.location && url.origin !== globalThis.location.origin) {
    throw new Error(`${file} is on another host, ${url.host}, and this page fetches nothing from there`);
  }
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new Error(`${file} cannot be fetched: ${error.message}`);
  }
  if (!response.ok) {
    throw new Error(`${file} is missing: ${url.pathname} gives ${response.status}`);
  }
  return new Uint8Array(await response.arrayBuffer());
}

async function fetchText(url, file) {
  const bytes = await fetchBytes(url, file);
  try {
    // WHY not response.text(): it replaces damaged bytes with U+FFFD and drops a byte-order mark.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Error(`${file}: not UTF-8 text`);
  }
}

// --- checking what was fetched ------------------------------------------------------------------------------

/** Read 00_meta.json, complete it if it is of the older series, and check what this page relies on. */
async function readMeta(text, entry) {
  const found = parseObject(text, META_NAME);
  const meta = Object.hasOwn(found, "schema_version") ? found : await completed(found, entry);
  const require = (holds, what) => {
    if (!holds) {
      throw new Error(`${META_NAME}: ${what}`);
    }
  };
  require(meta.schema_version === SCHEMA_VERSION, `schema_version is not ${SCHEMA_VERSION}, the one that can be read`);
  require(typeof meta.model_kind === "string", "model_kind is missing or is not text");
  require(Number.isSafeInteger(meta.vocab_size) && meta.vocab_size >= 1, "vocab_size is not a whole number above 0");
  require(Number.isSafeInteger(meta.context_size) && meta.context_size >= 0, "context_size is not a whole number");
  const starts = meta.start_tokens;
  require(Array.isArray(starts) && starts.every((token) => typeof token === "string"), "start_tokens are not texts");
  for (const name of ["tokenizer", "corpus", "metrics", "weights"]) {
    require(isObject(meta[name]), `${name} is missing`);
  }
  for (const [what, loss] of [["train_loss", meta.metrics.train_loss], ["loss_floor", meta.loss_floor]]) {
    const isLoss = typeof loss === "number" && loss >= 0 && loss <= LARGEST_LOSS;
    require(isLoss || (Object.hasOwn(meta, "origin") && (loss ?? null) === null), `${what} is missing or is not a loss`);
  }
  const layouts = entry.remote ? ["safetensors"] : sourceOf(meta).layouts;
  if (meta.weights.layout === "safetensors" && !layouts.includes("safetensors")) {
    throw new Error(onlyRemote(meta));
  }
  require(layouts.includes(meta.weights.layout), `the layout of its weights does not fit ${meta.model_kind}`);
  const { rows } = meta.weights;
  const counted = { tables: isObject(rows), safetensors: true }[meta.weights.layout] ?? typeof rows === "number";
  require(counted, "weights does not give the number of rows");
  return meta;
}

/** Say what to do with a run that no page computes. */
const onlyRemote = ({ model_kind: kind }) =>
  `this page cannot predict with the counts of this ${kind} run; open it with toy-gpt view --base-dir RUN, whose server predicts`;

async function completed(meta, entry) {
  const { asToday, isOlder } = await import("./older_series.js");
  if (!isOlder(meta)) {
    return meta;
  }
  try {
    return await asToday(meta, (name) => fetchText(urlOf(entry, name), name));
  } catch (error) {
    throw new Error(`${META_NAME}: ${error.message}`);
  }
}

/** Return the layouts and the code of a model; context-N exists for any N. */
function sourceOf({ model_kind: kind, context_size: contextSize }) {
  const window = /^context-?([0-9]{1,4})$/u.exec(kind);
  const fixed = window ? [Number(window[1])] : Object.hasOwn(FIXED_CONTEXTS, kind) ? FIXED_CONTEXTS[kind] : null;
  if (fixed === null && !Object.hasOwn(MODELS, kind)) {
    throw new Error(`${META_NAME}: unknown model ${quoted(kind)}`);
  }
  if (fixed !== null && !fixed.includes(contextSize)) {
    throw new Error(`${META_NAME}: context_size is ${contextSize}, but ${kind} has ${fixed[0]}`);
  }
  return MODELS[kind] ?? TABLE;
}

function readVocabulary(text, vocabSize) {
  const tokens = [];
  const frequency = [];
  const idOf = new Map();
  const take = ([id, token, count]) => {
    if (wholeNumber(id, "token_id") !== tokens.length || idOf.has(token)) {
      throw new Error(`token_id ${id} is not ${tokens.length}, or the token ${quoted(token)} appears twice`);
    }
    idOf.set(token, tokens.length);
    tokens.push(token);
    frequency.push(wholeNumber(count, "frequency"));
  };
  eachRow(text, VOCABULARY_NAME, VOCABULARY_HEADER, take, vocabSize);
  return { tokens, idOf, frequency };
}

/** Check that the frequencies are those of a text that is long enough and begins with the first tokens. */
function checkText({ model_kind: kind, context_size: contextSize, start_tokens: start, origin }, { idOf, frequency }) {
  const numTokens = frequency.reduce((sum, count) => sum + count, 0);
  const isUnknown = numTokens === 0 && origin !== undefined; // an imported model does not say what it has read
  if (numTokens < (SHORTEST_TEXTS[kind] ?? contextSize + 1) && !isUnknown) {
    throw new Error(`${VOCABULARY_NAME}: a text of ${numTokens} tokens is too short for a context of ${contextSize}`);
  }
  const left = [...frequency];
  for (const token of start.slice(0, numTokens)) {
    const id = idOf.get(token);
    if (!left[id]) {
      throw new Error(`${VOCABULARY_NAME}: start_tokens in ${META_NAME} has ${quoted(token)} more often`);
    }
    left[id] -= 1;
  }
}

/** Check that the vocabulary has the special tokens, and numbers tokens as the tokenizer's own files do, if any. */
function checkIds({ tokens, idOf: known }, { kind, special, idOf }) {
  const missing = special.find((text) => !known.has(text));
  if (missing !== undefined) {
    throw new Error(`${VOCABULARY_NAME}: the special token ${quoted(missing)} is missing`);
  }
  if (idOf === null) {
    return;
  }
  const file = kind === "bpe" ? VOCAB_NAME : DESCRIBED_NAME;
  const place = tokens.findIndex((token, id) => idOf.get(token) !== id);
  if (place >= 0) {
    throw new Error(`${VOCABULARY_NAME}: token ${quoted(tokens[place])} has the id ${place}, but not in ${file}`);
  }
  if (tokens.length !== idOf.size) {
    throw new Error(`${VOCABULARY_NAME}: ${tokens.length} tokens, but ${file} has ${idOf.size}`);
  }
}

/** Return the names of the tokenizer's own files. */
function tokenizerFiles({ tokenizer, artifacts }) {
  if (tokenizer.kind === "sentencepiece") {
    return [DESCRIBED_NAME];
  }
  if (tokenizer.kind !== "bpe") {
    return [];
  }
  const described = isObject(artifacts) && Object.hasOwn(artifacts, DESCRIBED_NAME);
  return [VOCAB_NAME, MERGES_NAME, ...(described ? [DESCRIBED_NAME] : [])];
}

function readLog(text) {
  let columns = null;
  const rows = [];
  eachRow(text, "train_log.csv", null, (cells) => {
    if (columns === null) {
      columns = cells;
    } else {
      rows.push(cells.map((cell, i) => finiteNumber(cell, columns[i])));
    }
  });
  return { columns, rows };
}
