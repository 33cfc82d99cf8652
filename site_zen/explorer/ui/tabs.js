// tabs.js - Several panels in one place; a panel is made when it is first opened.

import { element, fill, newId } from "./dom.js";

/**
 * Make tabs; the arrow keys, Home and End move between them.
 *
 * @param {string} name - What they are about, for screen readers.
 * @param {[string, () => (Node | Promise<Node>)][]} panels - The title of each, and what makes it.
 * @returns {HTMLElement}
 */
export function tabs(name, panels) {
  const parts = panels.map(([title, make]) => {
    const [tabId, panelId] = [newId(), newId()];
    const tab = element("button", { type: "button", role: "tab", id: tabId, "aria-controls": panelId }, title);
    const panel = element("div", { role: "tabpanel", id: panelId, "aria-labelledby": tabId, class: "panel" });
    return { tab, panel, make, made: false };
  });
  const open = (chosen) => {
    for (const part of parts) {
      const here = part === chosen;
      part.tab.setAttribute("aria-selected", String(here));
      part.tab.tabIndex = here ? 0 : -1;
      part.panel.hidden = !here;
    }
    if (!chosen.made) {
      chosen.made = true;
      show(chosen);
    }
  };
  const show = async ({ panel, make }) => {
    try {
      fill(panel, await make());
    } catch (error) {
      fill(panel, element("p.problem", { role: "alert" }, `This cannot be shown: ${error.message}`));
    }
  };
  parts.forEach((part, i) => {
    part.tab.addEventListener("click", () => open(part));
    part.tab.addEventListener("keydown", (event) => {
      const last = parts.length - 1;
      const to = { ArrowLeft: i > 0 ? i - 1 : last, ArrowRight: i < last ? i + 1 : 0, Home: 0, End: last }[event.key];
      if (to !== undefined) {
        event.preventDefault();
        open(parts[to]);
        parts[to].tab.focus();
      }
    });
  });
  open(parts[0]);
  const list = element("div", { role: "tablist", "aria-label": name, class: "tabs" }, ...parts.map(({ tab }) => tab));
  return element("div", list, ...parts.map(({ panel }) => panel));
}
