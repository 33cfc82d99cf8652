// trainer.js - The page's side of the worker that trains: start, listen, stop.
//
// Concepts:
//     runtime: Python compiled to WebAssembly (Pyodide), about 13 MB that are fetched before the first training run.

const PATIENCE = 4000; // milliseconds to wait for a worker after "stop" before it is ended

export class Trainer {
  /**
   * @param {object} about - playground.json.
   * @param {(kind: string, content: any) => void} tell - Called with each message of worker.js, and with ("stopped",
   *     null) if the worker had to be ended.
   */
  constructor(about, tell) {
    this.about = about;
    this.tell = tell;
    this.worker = null;
    this.isReady = false;
  }

  /** Train, once the runtime is loaded. */
  train(order) {
    this.order = order;
    if (this.worker === null) {
      this.#start();
    } else {
      this.worker.postMessage({ train: order });
    }
  }

  #start() {
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => Object.entries(data).forEach(([kind, content]) => this.#heard(kind, content));
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.#heard("failed", event.message || "the worker could not be started");
    };
    const { runtime, runtimeBytes, wheel } = this.about;
    const here = (address) => new URL(address, document.baseURI).href;
    this.worker.postMessage({ load: { runtime: here(runtime), wheel: here(wheel), expected: runtimeBytes } });
  }

  #heard(kind, content) {
    if (["stopping", "done", "problem", "failed"].includes(kind)) {
      clearTimeout(this.impatient);
    }
    if (kind === "ready") {
      this.isReady = true;
      this.worker.postMessage({ train: this.order });
    }
    if (kind === "failed") {
      this.#end(); // WHY: a worker that failed may be in a bad state
    }
    this.tell(kind, content);
  }

  /** Stop training and keep what has been learned so far; end the worker if it does not react. */
  stop() {
    const giveUp = () => {
      this.#end();
      this.tell("stopped", null);
    };
    if (!this.isReady) {
      giveUp();
      return;
    }
    this.worker.postMessage({ stop: true });
    this.impatient = setTimeout(giveUp, PATIENCE);
  }

  #end() {
    this.worker.terminate();
    this.worker = null;
    this.isReady = false;
  }
}
