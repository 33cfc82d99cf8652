// column.js - One run on the page: its facts, a text to write with it, and panels that show the model's inside.

import { debounced, element, fill } from "./dom.js";
import { explainPanel } from "./panel_explain.js";
import { nextPanel } from "./panel_next.js";
import { textPanel } from "./panel_text.js";
import { trainingPanel } from "./panel_training.js";
import { vocabularyPanel } from "./panel_vocabulary.js";
import { writePanel } from "./panel_write.js";
import { floorOf } from "../core/floor.js";
import { Session } from "../core/session.js";
import { tabs } from "./tabs.js";
import { countText, numberText, visible } from "../core/text.js";

const TEMPERATURE = 0.8; // to begin with: a greedy network repeats itself
const WAIT = 120; // milliseconds without a new token before a prediction is traced

/**
 * Show a run.
 *
 * @param {import("../core/run.js").Run} run
 * @param {import("../core/run.js").RunEntry} entry - Its entry in the index.
 * @param {(prompt: string) => void} onPrompt - Called when the text to start from has changed.
 * @returns {{node: HTMLElement, session: Session, setPrompt: (text: string) => void, stop: () => void,
 *     renew: (run: import("../core/run.js").Run, entry: import("../core/run.js").RunEntry) => void}} renew() shows what
 *     else has become known of the same run.
 */
export function column(run, entry, onPrompt) {
  const session = new Session(run);
  session.setSampling({ temperature: TEMPERATURE });
  const problem = element("p.problem", { role: "alert" });
  const waiting = element("p.note", { role: "status" });
  let changes = 0;
  // WHY in one place: every error while a model computes is shown on the page.
  const change = async (act) => {
    const before = session.prompt;
    changes += 1;
    const mine = changes;
    try {
      act?.();
      fill(problem);
      if (session.prompt !== before) {
        write.stop();
        onPrompt(session.prompt);
      }
      if (session.end !== null) {
        write.stop(); // a token in the middle was chosen
      }
      if (!session.isLocal) {
        [text, write].forEach((panel) => panel.update());
        fill(waiting, "Python is computing …");
        await session.prepare(why.node.open);
        if (mine !== changes) {
          return; // a later change shows what it needs
        }
        fill(waiting);
      }
      asked.textContent = question(session);
      [text, next, write, why, places].forEach((panel) => panel?.update());
      trace();
    } catch (error) {
      if (mine !== changes) {
        return;
      }
      write.stop();
      fill(waiting);
      fill(problem, `This cannot be shown: ${error.message}`);
    }
  };
  const text = textPanel(session, change);
  const next = nextPanel(session);
  const write = writePanel(session, change);
  const why = explainPanel(session, change);
  const asked = element("h3");
  const traced = element("div");
  let places = null; // the panel, once its code is there
  if (run.model.learned !== undefined) {
    // WHY loaded when needed: only counting models that keep their text have it.
    import("./panel_places.js").then(({ placesPanel }) => {
      places = placesPanel(session);
      fill(traced, places.node);
    });
  }
  const prediction = element("div");
  let tracing = null; // the panel, once its code is there
  const trace = debounced(async () => {
    try {
      await tracing?.then((panel) => panel.update());
    } catch (error) {
      fill(prediction, element("p.problem", { role: "alert" }, `This cannot be shown: ${error.message}`));
    }
  }, WAIT);
  if (run.model.trace) {
    // WHY loaded when it comes into sight: it is large, and the page starts sooner without it.
    const observer = new IntersectionObserver(([{ isIntersecting }]) => {
      if (isIntersecting) {
        observer.disconnect();
        tracing = import("./panel_inside.js").then(({ insidePanel }) => insidePanel(session));
        tracing.then(({ node: panel }) => fill(prediction, panel), () => {});
        trace();
      }
    }, { rootMargin: "0px 0px -25% 0px" });
    observer.observe(prediction);
  }
  const left = element("div.part", element("h3", "Text"), text.node, write.node);
  const right = element("div.part", asked, next.node, why.node, traced);
  const known = element("div");
  const inside = element("div");
  const renew = (newRun, newEntry) => {
    fill(known, facts(newRun));
    fill(inside, insideOf(newRun, newEntry));
  };
  renew(run, entry);
  const parts = [problem, waiting, element("div.parts", left, right), prediction, element("h3", "Inside the model"), inside];
  change();
  const node = element("section.run", { "aria-label": run.name }, element("h2", run.name), known, ...parts);
  return { node, session, setPrompt: text.setPrompt, stop: write.stop, renew };
}

/** Say what is predicted: what comes after the text, or after the token that was chosen in it. */
function question({ end, pieces }) {
  return end === null ? "What comes next?" : `What comes after “${visible(pieces[end - 1].token)}”, token ${end}?`;
}

/** Return the tabs that show the inside of a model. */
function insideOf(run, entry) {
  const isLocal = run.model.prepare === undefined;
  const large = () => element("p.note", "The weights are too large for this page; they stay in their file.");
  return tabs(`Inside ${run.name}`, [
    ["Vocabulary", () => vocabularyPanel(run)],
    // WHY loaded when opened: they are large, and the page starts sooner without them.
    ["Weights", isLocal ? async () => (await import("./panel_weights.js")).weightsPanel(run) : large],
    ["Embeddings", isLocal ? async () => (await import("./panel_embeddings.js")).embeddingsPanel(run) : large],
    ["Training", () => trainingPanel(run)],
    ["Files", async () => (await import("./panel_files.js")).filesPanel(run, entry)],
  ]);
}

/** Return the facts of a run as a list of names and values. */
function facts(run) {
  const { meta, model } = run;
  const floor = floorOf(run);
  const losses = {
    "training loss": meta.metrics.train_loss,
    "held-out loss": meta.metrics.val_loss,
    "held-out loss, learning online": meta.metrics.val_loss_online,
    ...(floor && { [floor.name]: floor.value }),
  };
  const parts = [
    ["model", model.kind],
    ["corpus", meta.corpus.filename],
    ["tokenizer", meta.tokenizer.kind],
    ["vocabulary V", countText(model.vocabSize)],
    ["context N", countText(model.contextSize)],
    ...Object.entries(losses).map(([name, loss]) => [name, typeof loss === "number" ? numberText(loss) : null]),
  ];
  const there = parts.filter(([, value]) => value !== null && value !== undefined);
  const pairs = there.map(([name, value]) => element("div", element("dt", name), element("dd", value)));
  return element("dl.facts", ...pairs);
}
