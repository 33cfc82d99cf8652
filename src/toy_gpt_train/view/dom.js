// dom.js - Elements of the page, made in one expression.
//
// REQ: text enters the page as text only. There is no way here to have it read as HTML, whatever a token looks like.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element: `element("p.note", "3 tokens")`, `element("input", { type: "number", min: 1 })`.
 *
 * @param {string} name - The tag and, after points, its classes.
 * @param {...(object | Node | string | number | null)} parts - Attributes by name, if there are any, then children. As
 *     an attribute a function under "onclick" and the like listens, true stands for one without a value, false and
 *     null for none. As a child text is text, and null is left out.
 * @returns {HTMLElement}
 */
export function element(name, ...parts) {
  return furnish(document.createElement(name.split(".")[0]), name, parts);
}

/** Make an element of a drawing; otherwise like element(). */
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

/** Put children in the place of those that a node has. */
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

/** Return a function that calls another one when it has not been called for a while. */
export function debounced(act, milliseconds = 150) {
  let waiting;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(act, milliseconds);
  };
}

/** Put a label's text to a control; `kind` is a class of the label. */
export function labelled(text, control, kind = "field") {
  return element(`label.${kind}`, element("span.label", text), control);
}

/** Make a box for text that is searched for while it is written; `find` says whether there is such a thing. */
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

/** Make a box that scrolls where its content is too large, by the keyboard too. */
export function scrollBox(label, ...children) {
  const box = element("div.scroll", { role: "group", "aria-label": label }, ...children);
  const observer = new ResizeObserver(() => {
    // WHY: a stop for the Tab key at every table, also where there is nothing to scroll, would be a long way round.
    const large = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
    box.toggleAttribute("tabindex", large);
    if (large) {
      box.tabIndex = 0;
    }
  });
  [box, ...box.children].forEach((part) => observer.observe(part));
  return box;
}
