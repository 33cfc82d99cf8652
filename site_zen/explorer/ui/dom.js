// dom.js - Elements of the page, made in one expression.
//
// REQ: text enters the page as text only, never as HTML, whatever a token looks like.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element: `element("p.note", "3 tokens")`, `element("input", { type: "number", min: 1 })`.
 *
 * @param {string} name - The tag and, after dots, its classes.
 * @param {...(object | Node | string | number | null)} parts - Attributes by name, if any, then children. An attribute
 *     such as "onclick" takes a function; true is an attribute without a value, false and null leave it out. A child
 *     that is null is left out.
 * @returns {HTMLElement}
 */
export function element(name, ...parts) {
  return furnish(document.createElement(name.split(".")[0]), name, parts);
}

/** Make an SVG element; otherwise like element(). */
export function svg(name, ...parts) {
  return furnish(document.createElementNS(SVG, name.split(".")[0]), name, parts);
}

function furnish(node, name, parts) {
  const [first] = parts;
  const named = first !== null && typeof first === "object" && !(first instanceof Node);
  node.classList.add(...name.split(".").slice(1));
  for (const [key, value] of Object.entries(named ? first : {})) {
    if (typeof value === "function") {
      node.addEventListener(key.slice(2), value);
    } else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(key, value === true ? "" : String(value));
    }
  }
  fill(node, ...(named ? parts.slice(1) : parts));
  return node;
}

/** Replace the children of a node. */
export function fill(node, ...children) {
  node.replaceChildren(...children.filter((child) => child !== null && child !== undefined).map(asNode));
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

let lastId = 0;

/** Return an id that no other element of the page has. */
export function newId() {
  lastId += 1;
  return `e${lastId}`;
}

/** Return a function that calls another one once it has not been called for a while. */
export function debounced(act, milliseconds = 150) {
  let waiting;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(act, milliseconds);
  };
}

/** Label a control; `kind` is the class of the label. */
export function labeled(text, control, kind = "field") {
  return element(`label.${kind}`, element("span.label", text), control);
}

/** Make a search box that searches while you type; `find` says whether there is a match. */
export function searchBox(find) {
  const box = element("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  const search = () => box.setAttribute("aria-invalid", String(find(box.value) === false));
  box.addEventListener("input", debounced(search));
  return box;
}

/** Make a list of choices; `choices` are [value, text] pairs. */
export function selectOf(choices, chosen, onChoice) {
  const options = choices.map(([value, text]) => element("option", { value, selected: value === chosen }, text));
  return element("select", { onchange: (event) => onChoice(event.target.value) }, ...options);
}

/** Make a box that scrolls if its content is too large, by the keyboard too. */
export function scrollBox(label, ...children) {
  const box = element("div.scroll", { role: "group", "aria-label": label }, ...children);
  const observer = new ResizeObserver(() => {
    // WHY: if the Tab key stopped at every table, even at those that do not scroll, it would take many presses.
    const large = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
    box.toggleAttribute("tabindex", large);
    if (large) {
      box.tabIndex = 0;
    }
  });
  [box, ...box.children].forEach((part) => observer.observe(part));
  return box;
}
