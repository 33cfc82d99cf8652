// floor.js - The loss that a model cannot get below, where one is known that says something.

const LEAST = 0.00005; // a smaller one would be shown as 0
const WORLD = /^(world:.*|040_story_world\.txt)$/u;
export const WORLD_ENTROPY = 0.33; // nats per word of the story world; the tests compute it

/**
 * Return the floor of a run: its name, its value, and what it means; null if there is none to show.
 *
 * WHY not the loss floor of a network: its context is so long that hardly any comes twice, so a table of such contexts
 * would know its text by heart, and have a floor near 0.
 *
 * @param {import("./run.js").Run} run
 * @returns {{name: string, value: number, says: string} | null}
 */
export function floorOf({ meta, lossFloor }) {
  if (!Object.hasOwn(meta, "architecture")) {
    const says = "The floor is the lowest loss that any table with this context can have on the training text.";
    return lossFloor >= LEAST ? { name: "loss floor", value: lossFloor, says } : null;
  }
  if (meta.tokenizer.kind === "word" && WORLD.test(meta.corpus.filename)) {
    const says = "The true entropy is the loss of a reader who knows the language of these stories. On new ones, no model can get below it.";
    return { name: "true entropy", value: WORLD_ENTROPY, says };
  }
  return null;
}
