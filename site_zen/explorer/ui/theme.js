// theme.js - Light or dark: what was chosen here before, or what the system prefers.
//
// A page that shows this one in a frame passes its own theme on: ?theme=dark.
//
// WHY a plain script in the head and not a module: it runs before anything is drawn, so nothing flashes.
// WHY try: a browser may forbid local storage, and the page works without it.

(() => {
  const KEY = "toy-gpt-theme";
  const darkPreferred = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  const asked = new URLSearchParams(location.search).get("theme");

  function remembered() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  }

  function apply() {
    const theme = asked ?? remembered() ?? (darkPreferred.matches ? "dark" : "light");
    use(theme === "dark" ? "dark" : "light");
  }

  function use(theme) {
    root.dataset.theme = theme;
    document.getElementById("theme")?.setAttribute("aria-pressed", String(theme === "dark"));
    document.dispatchEvent(new CustomEvent("themechange")); // canvases are redrawn
  }

  function toggle() {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // The choice lasts until the page is closed.
    }
    use(theme);
  }

  apply();
  darkPreferred.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", toggle);
    use(root.dataset.theme);
  });
})();
