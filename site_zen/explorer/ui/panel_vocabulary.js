// panel_vocabulary.js - The tokens that a model knows, and how often each one occurs in the training text.

import { element, labeled, searchBox } from "./dom.js";
import { recordTable } from "./record_table.js";
import { countText, percentText, plural, visible } from "../core/text.js";

/** @type {(run: import("../core/run.js").Run) => HTMLElement} */
export function vocabularyPanel({ vocabulary: { tokens, frequency } }) {
  const total = frequency.reduce((sum, count) => sum + count, 0);
  const records = tokens.map((token, id) => ({ id, token, shown: visible(token), count: frequency[id] }));
  const count = (record) => record.count;
  const columns = [
    { name: "token", value: ({ token }) => token, show: ({ shown }) => element("code", shown) },
    { name: "id", value: ({ id }) => id },
    { name: "frequency", value: count, show: (record) => countText(record.count) },
    { name: "share", value: count, show: (record) => (total ? percentText(record.count / total) : "") },
  ];
  const caption = `Vocabulary: ${plural(records.length, "token")}, seen ${plural(total, "time")}`;
  const table = recordTable(caption, columns, records, 1);
  const box = searchBox((text) => {
    const wanted = text.toLowerCase();
    const found = records.filter(({ token, shown }) => `${token} ${shown}`.toLowerCase().includes(wanted));
    table.show(found);
    return found.length > 0;
  });
  return element("div", labeled("Search for a token", box), table.node);
}
