// kept.js - Runs that stay in this browser (IndexedDB), and what was typed into the form.
//
// WHY every error is caught by the page: a browser may forbid this, and the page works without it.

const MOST_RUNS = 20;
const NAME = `toy-gpt ${new URL("..", location).pathname}`; // other sites of the same host have their own

let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("runs", { keyPath: "id", autoIncrement: true });
      request.result.createObjectStore("form");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Do something with a store; return the result once it is safe on disk. */
async function within(store, mode, act) {
  const transaction = (await database()).transaction(store, mode);
  const request = act(transaction.objectStore(store));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

/**
 * A run as it is kept.
 *
 * @typedef {{id?: number, line: string, corpus: string, text: string, isOwn: boolean, records: object[],
 *     written: object[], seconds: number, report: string, files: Object<string, Uint8Array>, log: Uint8Array,
 *     zip: Uint8Array}} KeptRun
 */

/** @returns {Promise<KeptRun[]>} The newest first. */
export async function keptRuns() {
  return (await within("runs", "readonly", (store) => store.getAll())).reverse();
}

/** Keep a run, and forget the oldest if there are too many; return its number. */
export async function keep(run) {
  const id = await within("runs", "readwrite", (store) => store.add(run));
  const ids = await within("runs", "readonly", (store) => store.getAllKeys());
  await Promise.all(ids.slice(0, -MOST_RUNS).map(forget));
  return id;
}

/** Forget a run. */
export function forget(id) {
  return within("runs", "readwrite", (store) => store.delete(id));
}

/** Keep what the form says: {line, text}, the text only if it is the visitor's own; or the number of the run shown. */
export function keepForm(name, value) {
  return within("form", "readwrite", (store) => store.put(value, name));
}

/** Return what keepForm() was given; undefined if there is nothing. */
export function keptForm(name) {
  return within("form", "readonly", (store) => store.get(name));
}
