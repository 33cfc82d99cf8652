// worker.js - Runs Python and the package outside the page's thread, so that the page stays responsive.
//
// It gets {load}, {train: {line, corpus, text}} and {stop: true}; it sends {loading}, {ready}, {progress}, {record},
// {stopping}, {done}, {problem} and {failed}.

let training = null; // the Python module training.py
let stopAsked = false;

/**
 * Count the bytes that are fetched from now on, and report them as a part of the expected ones.
 *
 * @returns {Promise<never>} Fails with a sentence as soon as something cannot be fetched. (WHY: Python's loader would not
 *     say what is missing, or would never return.)
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
    // WHY set here: with another type from the server, the browser would compile WebAssembly twice.
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

// WHY a turn of the event loop: {stop} arrives only then. Python waits meanwhile, if the browser can suspend it (JSPI);
// otherwise the page ends this worker.
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
    // The last line of Python's message is the error itself.
    postMessage({ failed: String(error.message ?? error).trim().split("\n").at(-1) });
  }
};
