// run.mjs - Runs the tests in Python compiled to WebAssembly (Pyodide), where the playground runs the package.
//
// Run it: node tests/pyodide/run.mjs [arguments of pytest]. Its exit code is that of pytest. Pyodide is the one that
// docs/builder/npm.py installs, or the one in the folder that PYODIDE names. suite.py says what is left out, and why.

import { execFileSync } from "node:child_process";
import { readFileSync, writeSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker, isMainThread, workerData } from "node:worker_threads";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const PACKAGES = path.join(REPOSITORY, ".cache", "pyodide-packages");
// REQ: the tests write nothing into the repository: no compiled files, no examples to remember.
const ENVIRONMENT = {
  HOME: "/home/pyodide",
  PYTHONDONTWRITEBYTECODE: "1",
  HYPOTHESIS_STORAGE_DIRECTORY: "/tmp/hypothesis",
  // WHY: for every option of every command line, Python's argparse asks about colours and languages again. Answered at
  // once, that saves a third of the time of the tests that run commands.
  PYTHON_COLORS: "0",
  LANGUAGE: "C",
};
// WHY so much: a hundred thousand brackets in a file are refused, and tests say so; but Python in WebAssembly does not
// see the end of its stack come, and dies of them where the stack is small. OBS: in a browser it is (about 1 MB).
const STACK_MEGABYTES = 64;
const BROKEN = 70; // exit code: the tests could not be run

/** Run a program in the repository; return what it prints. */
function output(program, ...args) {
  const env = { ...process.env, PYTHONPATH: "docs" };
  return execFileSync(program, args, { cwd: REPOSITORY, env, stdio: ["ignore", "pipe", "inherit"] }).toString().trim();
}

/** Return the folder of Pyodide. */
function findPyodide() {
  if (process.env.PYODIDE) {
    return path.resolve(process.env.PYODIDE);
  }
  const ask = "from builder.npm import packages; print(packages() / 'pyodide')";
  return output("uv", "run", "--quiet", "--no-sync", "python", "-c", ask);
}

/** Install what the tests need, for the Python in Pyodide. */
function installPackages(pyodide) {
  const { info } = JSON.parse(readFileSync(path.join(pyodide, "pyodide-lock.json"), "utf8"));
  // WHY this platform: nothing is compiled for it, so the newest versions in pure Python are chosen.
  const where = ["--target", PACKAGES, "--python-version", info.python, "--python-platform", "wasm32-pyodide2025"];
  output("uv", "pip", "install", "--quiet", "--group", "tests", "--only-binary", ":all:", ...where);
}

/** Load Python and run the tests in it; return the exit code of pytest. */
async function runTests({ pyodide, args }) {
  const { loadPyodide } = await import(pathToFileURL(path.join(pyodide, "pyodide.mjs")).href);
  const python = await loadPyodide({ env: ENVIRONMENT });
  // WHY: left alone, Pyodide asks for the file numbers of Node's streams, which exist in its main thread only.
  python.setStdin({ stdin: () => null });
  python.setStdout({ write: (bytes) => writeSync(1, bytes) });
  python.setStderr({ write: (bytes) => writeSync(2, bytes) });
  python.mountNodeFS("/repository", REPOSITORY);
  python.mountNodeFS("/packages", PACKAGES);
  python.globals.set("arguments", python.toPy(args));
  return python.runPython(`
    import os, sys
    os.chdir("/repository")
    sys.path[:0] = ["/packages", "/repository/src", "/repository/tests/pyodide"]
    from suite import run
    run(arguments)
  `);
}

if (isMainThread) {
  const pyodide = findPyodide();
  installPackages(pyodide);
  const thread = new Worker(new URL(import.meta.url), {
    workerData: { pyodide, args: process.argv.slice(2) },
    resourceLimits: { stackSizeMb: STACK_MEGABYTES },
  });
  thread.on("error", (error) => console.error(`run.mjs: ${error.message}`));
  thread.on("exit", (code) => {
    process.exitCode = code;
  });
} else {
  let code = BROKEN;
  try {
    code = await runTests(workerData);
  } catch (error) {
    // WHY not the error itself: Node would print the line it came from, a megabyte of Pyodide.
    writeSync(2, `run.mjs: ${error.message}\n`);
  }
  process.exit(code);
}
