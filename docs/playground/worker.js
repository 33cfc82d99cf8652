// worker.js - Runs Python and the package outside the page's thread, so that the page stays responsive.
//
// It gets {load}, {measure: {line, corpus, text}}, {train: the same}, and while it trains {stop: true}, {pause: true or
// false}, {step: true} and {rate: factor}. It sends {loading}, {ready}, {pace}, {progress}, {record}, {sample}, {learned},
// {stopping}, {done}, {problem} and {failed}.

let training = null; // the Python module training.py
const asked = { stop: false, pause: false, rate: 1 };
let goOn = null; // ends a pause, for a step or for good

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
  const version = python.runPython("import platform; platform.python_version()");
  postMessage({ ready: { version, canHalt: CAN_HALT } });
}

async function fetched(address) {
  return (await fetch(address)).arrayBuffer();
}

const page = {
  progress: (fraction, status) => postMessage({ progress: { fraction, status } }),
  record: (record) => postMessage({ record: JSON.parse(record) }),
  sample: (step, text) => postMessage({ sample: { step, text } }),
  learned: (files) => postMessage({ learned: files }),
  stopped: () => asked.stop,
  paused: () => asked.pause,
  rate: () => asked.rate,
  turn: () => new Promise((resolve) => (asked.pause ? (goOn = resolve) : setTimeout(resolve))),
};

function converted(outcome) {
  return outcome.toJs({ dict_converter: Object.fromEntries });
}

// WHY a turn of the event loop: {stop} arrives only then. Python waits meanwhile, if the browser can suspend it (JSPI);
// otherwise the page ends this worker.
const CAN_HALT = "Suspending" in WebAssembly;

async function call(name, { line, corpus, text }) {
  Object.assign(asked, { stop: false, pause: false, rate: 1 });
  const learn = training[name];
  const order = [line, corpus, text, page];
  const outcome = CAN_HALT ? await learn.callPromising(...order) : learn(...order);
  const made = converted(outcome);
  outcome.destroy();
  return made;
}

async function train(order) {
  const { problem, ...made } = await call("train", order);
  postMessage(problem === undefined ? { done: made } : { problem });
}

/** Take over what the visitor asks for while something is trained. */
function hear({ stop = asked.stop, pause = asked.pause, step = false, rate = asked.rate }) {
  Object.assign(asked, { stop, pause: pause && !stop, rate });
  if (step || !asked.pause) {
    goOn?.(); // WHY also for a step: a pause waits again after it
    goOn = null;
  }
}

let newest = 0; // the number of the last message that asks for work
let stopped = 0; // the one that was stopped, perhaps before its turn came
let turn = Promise.resolve(); // WHY one after the other: Python cannot be entered a second time while it waits
self.onmessage = ({ data }) => {
  if (!("load" in data || "measure" in data || "train" in data)) {
    hear(data);
    if (data.stop) {
      stopped = newest;
      postMessage({ stopping: true });
    }
    return;
  }
  newest += 1;
  const number = newest;
  turn = turn.then(async () => {
    try {
      if (data.load) {
        await load(data.load);
      } else if (data.measure) {
        if (number < newest) {
          return; // something else is wanted by now
        }
        postMessage({ pace: { order: data.measure, ...(await call("measure", data.measure)) } });
      } else if (number === stopped) {
        postMessage({ problem: "Stopped before there was anything to save." });
      } else {
        await train(data.train);
      }
    } catch (error) {
      // The last line of Python's message is the error itself.
      postMessage({ failed: String(error.message ?? error).trim().split("\n").at(-1) });
    }
  });
};
