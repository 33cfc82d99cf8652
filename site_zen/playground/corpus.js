// corpus.js - The text to train on: one of the project's, a file, or what you type.

import { element, fill, labeled, selectOf } from "../explorer/ui/dom.js";
import { plural } from "../explorer/core/text.js";

const OWN_TEXT = "my_text.txt";

/** Fetch one of the project's texts. */
async function fetched(name) {
  let response;
  try {
    response = await fetch(`corpus/${encodeURIComponent(name)}`);
  } catch (error) {
    throw new Error(`the text ${name} cannot be fetched: ${error.message}`);
  }
  if (!response.ok) {
    throw new Error(`the text ${name} is missing (${response.status})`);
  }
  return response.text();
}

/**
 * Make the part of the form.
 *
 * @param {string[]} names - The project's texts.
 * @param {string | undefined} wanted - The one to start with.
 * @param {() => void} onChange - Called when the text has changed.
 * @param {(problem: string) => void} onProblem - Called with a sentence if there is no such text.
 * @returns {Promise<{node: HTMLElement, name: () => string, text: () => string}>}
 * @throws {Error} The first text cannot be fetched.
 */
export async function corpusPart(names, wanted, onChange, onProblem) {
  const area = element("textarea", { rows: 7, spellcheck: "false" });
  const size = element("p.note");
  const file = element("input", { type: "file", accept: ".txt,.md,text/plain" });
  const first = names.includes(wanted) ? wanted : names[0];
  let now = first; // what is in the box, even while another one is being fetched
  const use = (name, text) => {
    now = select.value = name;
    if (text !== area.value) {
      area.value = text;
    }
    fill(size, `${plural(text.length, "character")}, ${plural(text.trimEnd().split("\n").length, "line")}`);
  };
  const change = (name, text) => {
    use(name, text);
    onChange();
  };
  const choose = async (name, read) => {
    try {
      const text = await read();
      if (select.value === name) {
        change(name, text); // otherwise another one was chosen meanwhile
      }
    } catch (error) {
      select.value = now;
      onProblem(error.message);
    }
  };
  const choices = [...names, OWN_TEXT].map((name) => [name, name]);
  const select = selectOf(choices, first, (name) => choose(name, () => (name === OWN_TEXT ? area.value : fetched(name))));
  area.addEventListener("input", () => change(OWN_TEXT, area.value));
  file.addEventListener("change", () => {
    if (file.files.length > 0) {
      select.value = OWN_TEXT;
      choose(OWN_TEXT, () => file.files[0].text());
    }
  });
  use(first, await fetched(first));
  if (wanted !== undefined && wanted !== first) {
    onProblem(`There is no text called ${wanted}; this is ${first}.`);
  }
  const node = element(
    "div",
    element("div.fields", labeled("Text", select), labeled("Or your own file", file)),
    labeled("The text to train on; you can edit it", area, "field.wide"),
    size,
  );
  return { node, name: () => select.value, text: () => area.value };
}
