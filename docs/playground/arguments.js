// arguments.js - The arguments of a command: a line of them cut as a shell cuts it, and joined again.

/** Cut a line into words, at spaces outside of quotes. */
export function cut(line) {
  const words = line.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? [];
  return words.map((word) => word.replace(/"([^"]*)"|'([^']*)'/g, "$1$2"));
}

/** Join words to a line that a shell cuts in the same places. */
export function join(words) {
  return words.map((word) => (/^[\w./,:=+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`)).join(" ");
}

/**
 * Part arguments into those with known flags and the others.
 *
 * @param {string[]} words
 * @param {string[]} flags
 * @returns {[Map<string, string>, string[]]} The values by flag, and the other words as they stood.
 */
export function part(words, flags) {
  const values = new Map();
  const others = [];
  const waiting = [...words];
  while (waiting.length) {
    const word = waiting.shift();
    const [flag, ...value] = word.split("=");
    if (flags.includes(flag) && value.length) {
      values.set(flag, value.join("="));
    } else if (flags.includes(word) && waiting.length) {
      values.set(word, waiting.shift());
    } else {
      others.push(word);
    }
  }
  return [values, others];
}
