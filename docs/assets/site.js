// site.js - "Train it on this page": puts the playground in the place of the button that leads to it. Tables that scroll,
// by the keyboard too. And the scripts that draw charts, on pages that have one.
//
// Without this script the button is a link to the playground, which opens with the same settings.

(() => {
  const LEAST_HEIGHT = 480;
  const CHART_SCRIPTS = ["d3.min.js", "plot.umd.min.js", "charts.js"]; // each needs those before it
  const here = document.currentScript.src;

  function drawCharts() {
    if (document.querySelector("[data-chart]") === null) {
      return;
    }
    for (const name of CHART_SCRIPTS) {
      const script = document.createElement("script");
      script.async = false; // in this order
      script.src = new URL(name, here).href;
      document.head.append(script);
    }
  }

  /** Let a frame be as tall as what is in it. */
  function fit(frame) {
    const { documentElement, body } = frame.contentDocument;
    const observer = new ResizeObserver(() => {
      frame.style.height = `${Math.max(body.getBoundingClientRect().height, LEAST_HEIGHT)}px`;
    });
    observer.observe(documentElement);
    observer.observe(body);
  }

  function open(event) {
    const link = event.currentTarget;
    // WHY: a new tab stays a new tab, and a page that was opened as a file cannot look into a frame.
    if (event.ctrlKey || event.metaKey || event.shiftKey || location.protocol === "file:") {
      return;
    }
    event.preventDefault();
    const frame = document.createElement("iframe");
    const url = new URL(link.href);
    url.searchParams.set("inside", "lesson");
    url.searchParams.set("theme", document.body.dataset.mdColorScheme === "slate" ? "dark" : "light");
    frame.src = url.href;
    frame.title = `Playground: ${link.closest(".try").querySelector(".command").textContent}`;
    frame.addEventListener("load", () => fit(frame));
    link.parentElement.replaceWith(frame);
    frame.focus();
  }

  /** Let the Tab key come to a table where it is too large for its place. */
  function reachTables() {
    for (const box of document.querySelectorAll(".md-typeset__scrollwrap, .csv")) {
      new ResizeObserver(() => {
        const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
        box.toggleAttribute("tabindex", scrolls);
        if (scrolls) {
          box.tabIndex = 0;
        }
      }).observe(box);
    }
  }

  drawCharts();
  // WHY so late: the theme puts boxes around tables first.
  addEventListener("load", () => setTimeout(reachTables));
  document.querySelectorAll(".try a").forEach((link) => link.addEventListener("click", open));
})();
