// view_driver.mjs - Lets test_view_core.py ask the explorer's modules: a JSON request per line in, a JSON answer per line out.
//
// Run it: node view_driver.mjs FOLDER, where FOLDER is a copy of view/core.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const PAGE = "http://page/view/";

const folder = pathToFileURL(`${process.argv[2]}/`);
const load = (name) => import(new URL(name, folder));
const [runs, csv, sampling, tokenizers, texts, vectors, sessions, traces] = await Promise.all(
  ["run.js", "csv.js", "sampling.js", "tokenizers.js", "text.js", "vectors.js", "session.js", "training_text.js"].map(load),
);

// A page has an address and fetches its files; here they come with the request, as base64 by name.
let served = {};
const queries = [];
globalThis.location = new URL("index.html", PAGE);
globalThis.fetch = async (url) => {
  if (url.search) {
    queries.push(url.search);
  }
  const content = served[url.pathname.split("/").at(-1)];
  const bytes = Uint8Array.from(Buffer.from(content ?? "", "base64"));
  return { ok: content !== undefined, status: content === undefined ? 404 : 200, arrayBuffer: async () => bytes.buffer };
};

let run = null;
let tokenizer = null; // that of the run, or one of files alone
const answers = {
  async loadRuns({ files }) {
    served = files;
    return runs.loadRuns("index.json");
  },
  async load({ files, artifacts = "run/", urls = null, remote = false }) {
    served = files;
    run = null;
    const begin = performance.now();
    const log = Object.hasOwn(files, "train_log.csv") ? "train_log.csv" : null;
    const place = urls === null ? { artifacts: new URL(artifacts, PAGE).href } : { urls: new Map(Object.entries(urls)) };
    run = await runs.loadRun({ name: "a run", ...place, log, remote });
    const milliseconds = performance.now() - begin;
    const { name, meta, vocabulary, model, lossFloor } = run;
    tokenizer = run.tokenizer;
    const { kind, vocabSize, contextSize, minContext } = model;
    const { tokens, idOf, frequency } = vocabulary;
    return {
      name, meta, tokens, ids: tokens.map((token) => idOf.get(token)), frequency, tokenizer: tokenizer.kind,
      log: run.log, lossFloor, kind, vocabSize, contextSize, minContext, milliseconds,
    };
  },
  async bpe({ files, special = [], kind = "bpe" }) {
    tokenizer = await tokenizers.tokenizerFromMeta({ kind, special }, new Map(Object.entries(files)));
    return Object.fromEntries(tokenizer.idOf);
  },
  // Ask for several contexts at once; return the queries that were sent, and what went wrong.
  async prepare({ contexts, explained }) {
    const before = queries.length;
    const ends = await Promise.allSettled(contexts.map((ids) => run.model.prepare(ids, explained)));
    return { queries: queries.slice(before), errors: ends.map(({ reason }) => reason?.message ?? null) };
  },
  nextProbs: ({ contexts }) => contexts.map((ids) => [...run.model.nextProbs(ids)]),
  explain: ({ context, k }) => run.model.explain(context, k),
  trace({ context }) {
    const plain = (value) => (ArrayBuffer.isView(value) ? [...value] : Array.isArray(value) ? value.map(plain) : value);
    const { blocks, ...rest } = run.model.trace(context);
    const entries = (some) => Object.fromEntries(Object.entries(some).map(([name, value]) => [name, plain(value)]));
    return { ...entries(rest), blocks: blocks.map(entries) };
  },
  places({ context, id, struck = [] }) {
    const learned = traces.openLearned(run.model);
    const model = struck.length ? learned.without(new Set(struck)) : learned;
    return traces.placesOf(model, model.text, run.model.contextSize, context, id);
  },
  matrices: () => run.model.matrices().map((matrix) => ({ ...matrix, numbers: [...matrix.numbers] })),
  vectors() {
    const vectors = run.model.vectors();
    return vectors && { ...vectors, numbers: [...vectors.numbers] };
  },
  tokenize: ({ texts }) => texts.map((text) => tokenizer.tokenize(text)),
  join: ({ lists }) => lists.map((tokens) => tokenizer.join(tokens)),
  async cut({ kind, special = [], texts }) {
    const { tokenize } = await tokenizers.tokenizerFromMeta({ kind, special }, new Map());
    return texts.map(tokenize);
  },
  pretokenize: ({ texts, cut }) => texts.map((text) => tokenizers.pretokenize(text, cut)),
  rows({ text, header }) {
    const rows = [];
    csv.eachRow(text, "a.csv", header, (cells) => rows.push(cells));
    return rows;
  },
  number: ({ cell }) => csv.finiteNumber(cell, "cell"),
  label: ({ tokens }) => csv.contextLabel(tokens),
  ids: ({ label, tokens, count }) => csv.idsOfLabel(label, new Map(tokens.map((token, id) => [token, id])), count),
  random({ seed, count }) {
    const random = sampling.seededRandom(seed);
    return Array.from({ length: count }, random);
  },
  choose({ probs, temperature, topP, seed, count }) {
    const random = sampling.seededRandom(seed);
    return Array.from({ length: count }, () => sampling.chooseToken(probs, { temperature, topP }, random));
  },
  topK: ({ numbers, k }) => sampling.topK(numbers, k),
  drawn: ({ probs, temperature, topP }) => [...sessions.drawProbabilities(probs, { temperature, topP })],
  session({ prompt = null, count = 0, ...settings }) {
    const session = new sessions.Session(run);
    if (prompt !== null) {
      session.setPrompt(prompt);
    }
    session.setSampling(settings);
    for (let i = 0; i < count; i++) {
      session.step();
    }
    const { text, context, added, unknown, problem, pieces } = session;
    return { text, context, added, unknown, problem, used: pieces.filter(({ used }) => used).length };
  },
  text: ({ name, values }) => values.map((value) => texts[name](...[value].flat())),
  nearest: ({ token, known }) => texts.nearest(token, known),
  components: ({ numbers, size }) => vectors.principalComponents(Float64Array.from(numbers), size),
  cosines: ({ numbers, size, chosen, k }) => vectors.nearestByCosine(Float64Array.from(numbers), size, chosen, k),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { ask, ...request } = JSON.parse(line);
  let answer;
  try {
    answer = { answer: await answers[ask](request) };
  } catch (error) {
    answer = { error: error.message, kind: error.name };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
