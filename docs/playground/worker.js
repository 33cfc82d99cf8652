// worker.js - Runs Python, and in it the package, beside the page, so that the page stays alive while a model learns.
//
// It is told {load}, {train: {line, corpus, text}} and {stop: true}; it tells {loading}, {ready}, {progress}, {record},
// {stopping}, {done}, {problem} and {failed}.

let training = null; // the Python module training.py
let stopAsked = false;

/**
 * Count the bytes of what is fetched from now on, against what is expected.
 *
 * @returns {Promise<never>} Fails with a sentence as soon as something cannot be fetched. (WHY: Python's loader would not
 *     say what it lacks, or not come back.)
 */
function countFetched(expected) {
  let giveUp;
  const lost = new Promise((_, reject) => (giveUp = reject));
  const total = Object.values(expected).reduce((sum, bytes) => sum + bytes, 0);
  const plainFetch = self.fetch;
  let fetched = 0;
  self.fetch = async (...request) => {
    const name = String(request[0]?.url ?? request[0]).split("/").at(-1);
    let response;
    try {
      response = await plainFetch(...request);
    } catch (error) {
      giveUp(new Error(`${name} cannot be fetched`));
      throw error;
    }
    if (!response.ok) {
      giveUp(new Error(`${name} is missing (${response.status})`));
    }
    if (!response.ok || !(name in expected)) {
      return response;
    }
    const count = new TransformStream({
      transform(chunk, controller) {
        fetched += chunk.byteLength;
        postMessage({ loading: { fetched: Math.min(fetched, total), total } });
        controller.enqueue(chunk);
      },
    });
    // WHY the type here: a server that calls WebAssembly by another name would make the browser compile it twice.
    const type = name.endsWith(".wasm") ? "application/wasm" : (response.headers.get("Content-Type") ?? "");
    return new Response(response.body.pipeThrough(count), { headers: { "Content-Type": type } });
  };
  return lost;
}

async function load({ runtime, wheel, expected }) {
  await Promise.race([countFetched(expected), start(runtime, wheel)]);
}

async function start(runtime, wheel) {
  const { loadPyodide } = await import(new URL("pyodide.mjs", runtime).href);
  const python = await loadPyodide({ indexURL: runtime });
  const [package_, module] = await Promise.all([fetched(wheel), fetched("training.py")]);
  python.unpackArchive(package_, "wheel");
  python.FS.writeFile("training.py", new Uint8Array(module));
  training = python.pyimport("training");
  postMessage({ ready: python.runPython("import platform; platform.python_version()") });
}

async function fetched(address) {
  return (await fetch(address)).arrayBuffer();
}

const page = {
  progress: (fraction, status) => postMessage({ progress: { fraction, status } }),
  record: (record) => postMessage({ record: JSON.parse(record) }),
  stopped: () => stopAsked,
};

// WHY a turn of the event loop: {stop} can be heard only then. Python halts in its middle meanwhile, where the browser
// can do that (JSPI); elsewhere the page ends this worker.
const CAN_HALT = "Suspending" in WebAssembly;
const turn = () => new Promise((resolve) => setTimeout(resolve));

async function train({ line, corpus, text }) {
  stopAsked = false;
  const { train: learn } = training;
  const order = [line, corpus, text, page, turn];
  const outcome = CAN_HALT ? await learn.callPromising(...order) : learn(...order);
  const { problem, ...made } = outcome.toJs({ dict_converter: Object.fromEntries });
  outcome.destroy();
  postMessage(problem === undefined ? { done: made } : { problem });
}

self.onmessage = async ({ data }) => {
  try {
    if (data.stop) {
      stopAsked = true;
      postMessage({ stopping: true });
    } else if (data.load) {
      await load(data.load);
    } else {
      await train(data.train);
    }
  } catch (error) {
    // The last line of what Python says is the error itself.
    postMessage({ failed: String(error.message ?? error).trim().split("\n").at(-1) });
  }
};
