// theme.js - Light or dark: what was chosen before, here or on the site's other pages, or what the system prefers.
//
// A page that shows this one in a frame passes its own theme on: ?theme=dark.
//
// WHY a plain script in the head and not a module: it runs before anything is drawn, so nothing flashes.
// WHY try: a browser may forbid local storage, and the page works without it.

(() => {
  // REQ: the key and the form are those of the site's pages (Material for MkDocs), so that all of them share one choice.
  const KEY = `${new URL("..", location).pathname}.__palette`;
  const SCHEMES = ["default", "slate"]; // light, dark
  const darkPreferred = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  const asked = new URLSearchParams(location.search).get("theme");

  function remembered() {
    try {
      const scheme = JSON.parse(localStorage.getItem(KEY))?.color?.scheme;
      return SCHEMES.includes(scheme) ? scheme === "slate" : null;
    } catch {
      return null;
    }
  }

  function apply() {
    use(asked === null ? (remembered() ?? darkPreferred.matches) : asked === "dark");
  }

  function use(isDark) {
    root.dataset.theme = isDark ? "dark" : "light";
    document.getElementById("theme")?.setAttribute("aria-pressed", String(isDark));
    document.dispatchEvent(new CustomEvent("themechange")); // canvases are redrawn
  }

  function toggle() {
    const isDark = root.dataset.theme !== "dark";
    const color = {
      media: `(prefers-color-scheme: ${isDark ? "dark" : "light"})`,
      scheme: SCHEMES[Number(isDark)],
      primary: "teal",
      accent: "deep-orange",
    };
    try {
      localStorage.setItem(KEY, JSON.stringify({ index: Number(isDark), color }));
    } catch {
      // The choice lasts until the page is closed.
    }
    use(isDark);
  }

  apply();
  darkPreferred.addEventListener("change", apply);
  addEventListener("storage", apply); // chosen on another open page
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", toggle);
    use(root.dataset.theme === "dark");
  });
})();
