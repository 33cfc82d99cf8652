// corpus.js - The text to learn: one of the project's, a file, or what is written here.

import { element, fill, labelled, selectOf } from "../explorer/dom.js";
import { plural } from "../explorer/text.js";

const OWN_TEXT = "my_text.txt";

/** Fetch one of the project's texts. */
async function fetched(name) {
  const response = await fetch(`corpus/${encodeURIComponent(name)}`);
  if (!response.ok) {
    throw new Error(`the text ${name} is missing (${response.status})`);
  }
  return response.text();
}

/**
 * Make the part of the form.
 *
 * @param {string[]} names - The project's texts.
 * @param {string | undefined} wanted - The one to begin with.
 * @param {() => void} onChange - Called when another text was chosen or written.
 * @returns {Promise<{node: HTMLElement, name: () => string, text: () => string}>}
 * @throws {Error} The text cannot be fetched.
 */
export async function corpusPart(names, wanted, onChange) {
  const area = element("textarea", { rows: 7, spellcheck: "false" });
  const size = element("p.note");
  const file = element("input", { type: "file", accept: ".txt,.md,text/plain" });
  const first = names.includes(wanted) ? wanted : names[0];
  const use = (name, text) => {
    select.value = name;
    if (text !== area.value) {
      area.value = text;
    }
    fill(size, `${plural(text.length, "character")}, ${plural(text.trimEnd().split("\n").length, "line")}`);
  };
  const change = (name, text) => {
    use(name, text);
    onChange();
  };
  const choices = [...names, OWN_TEXT].map((name) => [name, name]);
  const select = selectOf(choices, first, async (name) => change(name, name === OWN_TEXT ? area.value : await fetched(name)));
  area.addEventListener("input", () => change(OWN_TEXT, area.value));
  file.addEventListener("change", async () => change(OWN_TEXT, await file.files[0].text()));
  use(first, await fetched(first));
  const node = element(
    "div",
    element("div.fields", labelled("Text", select), labelled("Or a file of yours", file)),
    labelled("What is learned; you can change it", area, "field.wide"),
    size,
  );
  return { node, name: () => select.value, text: () => area.value };
}
