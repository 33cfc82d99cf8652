// worker.js - Runs Python, and in it the package, beside the page, so that the page stays alive while a model learns.
//
// It is told {load: about}, {train: {line, corpus, text}} and {stop: true}; it tells {loading}, {ready}, {progress},
// {record}, {done}, {problem} and {failed}.

let training = null; // the Python module training.py
let stopAsked = false;

/** Count the bytes of what is fetched from now on, against what is expected. */
function countFetched(expected) {
  const total = Object.values(expected).reduce((sum, bytes) => sum + bytes, 0);
  const plainFetch = self.fetch;
  let fetched = 0;
  self.fetch = async (...request) => {
    const response = await plainFetch(...request);
    const name = String(request[0]?.url ?? request[0]).split("/").at(-1);
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
}

async function load({ runtime, wheel, expected }) {
  countFetched(expected);
  const { loadPyodide } = await import(new URL("pyodide.mjs", runtime).href);
  const python = await loadPyodide({ indexURL: runtime });
  const [package_, module] = await Promise.all([fetched(wheel), fetched("training.py")]);
  python.unpackArchive(package_, "wheel");
  python.FS.writeFile("training.py", new Uint8Array(module));
  training = python.pyimport("training");
  postMessage({ ready: python.runPython("import platform; platform.python_version()") });
}

async function fetched(address) {
  const response = await fetch(address);
  if (!response.ok) {
    throw new Error(`${address} is missing (${response.status})`);
  }
  return response.arrayBuffer();
}

const page = {
  progress: (fraction, status) => postMessage({ progress: { fraction, status } }),
  record: (record) => postMessage({ record: JSON.parse(record) }),
  stopped: () => stopAsked,
};

// WHY a turn of the event loop: {stop} can be heard only then. Python halts in its middle meanwhile, where the browser
// can do that (JSPI); elsewhere the page ends this worker.
const turn = () => new Promise((resolve) => setTimeout(resolve));

async function train({ line, corpus, text }) {
  stopAsked = false;
  const outcome = await training.train.callPromising(line, corpus, text, page, turn);
  const { problem, ...made } = outcome.toJs({ dict_converter: Object.fromEntries });
  outcome.destroy();
  postMessage(problem === undefined ? { done: made } : { problem });
}

self.onmessage = async ({ data }) => {
  try {
    if (data.stop) {
      stopAsked = true;
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
