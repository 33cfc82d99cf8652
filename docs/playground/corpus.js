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
 * @param {() => void} onChange - Called when the text has changed.
 * @param {(problem: string) => void} onProblem - Called with a sentence if there is no such text.
 * @returns {object} `node`; `area`, the box of the text; `own`, the name of a text that is not the project's; `name()`;
 *     `text()`; `choose(name)`; `use(name, text)`, which waits for the text and throws an Error if it cannot be fetched.
 */
export function corpusPart(names, onChange, onProblem) {
  const area = element("textarea", { rows: 6, spellcheck: "false" });
  const size = element("p.note");
  const file = element("input", { type: "file", accept: ".txt,.md,text/plain" });
  let now = names[0]; // what is in the box, even while another one is being fetched
  const show = (name, text) => {
    now = select.value = name;
    if (text !== area.value) {
      area.value = text;
    }
    fill(size, `${plural(text.length, "character")}, ${plural(text.trimEnd().split("\n").length, "line")}`);
  };
  const choose = async (name, read = () => (name === OWN_TEXT ? area.value : fetched(name))) => {
    select.value = name;
    try {
      const text = await read();
      if (select.value === name) {
        show(name, text); // otherwise another one was chosen meanwhile
        onChange();
      }
    } catch (error) {
      select.value = now;
      onProblem(error.message);
    }
  };
  const use = async (wanted, text) => {
    if (text !== undefined) {
      show(OWN_TEXT, text);
      return;
    }
    const name = names.includes(wanted) ? wanted : names[0];
    show(name, name === now && area.value ? area.value : await fetched(name));
    if (wanted !== undefined && wanted !== name) {
      onProblem(`There is no text called ${wanted}; this is ${name}.`);
    }
  };
  const choices = [...names, OWN_TEXT].map((name) => [name, name]);
  const select = selectOf(choices, names[0], (name) => choose(name));
  area.addEventListener("input", () => {
    show(OWN_TEXT, area.value);
    onChange();
  });
  file.addEventListener("change", () => {
    if (file.files.length > 0) {
      choose(OWN_TEXT, () => file.files[0].text());
    }
  });
  const node = element(
    "div",
    element("div.fields", labeled("Text", select), labeled("Or your own file", file)),
    labeled("The text to train on; you can edit it", area, "field.wide"),
    size,
  );
  return { node, area, own: OWN_TEXT, choose, use, name: () => select.value, text: () => area.value };
}
