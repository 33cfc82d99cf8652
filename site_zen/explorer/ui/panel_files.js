// panel_files.js - The files of a run, and its metadata.

import { element } from "./dom.js";
import { urlOf } from "../core/run.js";
import { visible } from "../core/text.js";

const LONGEST_TOKEN = 20;

/** @type {(run: import("../core/run.js").Run, entry: import("../core/run.js").RunEntry) => HTMLElement} */
export function filesPanel({ meta }, entry) {
  const links = Object.keys(meta.artifacts ?? {})
    .sort()
    .map((name) => linkTo(name, urlOf(entry, name)));
  if (entry.log) {
    links.push(linkTo("train_log.csv", new URL(entry.log, document.baseURI)));
  }
  return element("div",
    element("h3", "Files"),
    element("ul.files", ...links),
    element("h3", "Metadata"),
    // The files are listed above, the parameters in the Weights panel.
    described(Object.entries(meta).filter(([name]) => name !== "artifacts" && name !== "parameters")),
  );
}

function linkTo(name, url) {
  // WHY download: a file made in the page has no name, and would open in place of the page.
  const download = url.protocol === "blob:" ? name : null;
  return element("li", element("a", { href: url.href, download }, name));
}

function described(entries) {
  const parts = entries.flatMap(([name, value]) => [element("dt", name), element("dd", valueOf(value))]);
  return element("dl.meta", ...parts);
}

/** Show tokens side by side, and longer values as a list. */
function listOf(values) {
  if (values.every((one) => typeof one === "string" && one.length <= LONGEST_TOKEN)) {
    return element("span", ...values.flatMap((token) => [element("code", visible(token)), " "]));
  }
  return element("ul", ...values.map((one) => element("li", valueOf(one))));
}

function valueOf(value) {
  if (Array.isArray(value)) {
    return listOf(value);
  }
  if (value !== null && typeof value === "object") {
    return described(Object.entries(value));
  }
  return typeof value === "string" ? value : JSON.stringify(value);
}
