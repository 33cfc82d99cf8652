// slides.js - Turns the slides of a lesson with the arrow keys, and writes each as large as its slide allows.
//
// Without this script the slides are a long page.

(() => {
  const LARGEST = 1.7;
  const SMALLEST = 0.6;
  const slides = [...document.querySelectorAll(".slide")];
  const STEPS = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 };

  /** Return the number of the slide that fills most of the window, from 0 on. */
  function current() {
    return slides.findIndex((slide) => slide.getBoundingClientRect().bottom > innerHeight / 2);
  }

  function show(number) {
    const slide = slides[Math.min(Math.max(number, 0), slides.length - 1)];
    slide.scrollIntoView();
    history.replaceState(null, "", `#${slide.id}`);
  }

  function turn(event) {
    // WHY: in a table that scrolls, and on a button or a slider, the keys have a meaning already.
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("a, button, input, summary, textarea, [tabindex]")) {
      return;
    }
    const number = { Home: 0, End: slides.length - 1 }[event.key] ?? current() + (STEPS[event.key] ?? NaN);
    if (!Number.isNaN(number)) {
      event.preventDefault();
      show(number);
    }
  }

  function fit() {
    for (const slide of slides) {
      for (let size = LARGEST; size >= SMALLEST; size -= 0.1) {
        slide.style.fontSize = `${size}rem`;
        if (slide.scrollHeight <= slide.clientHeight) {
          break;
        }
      }
    }
  }

  addEventListener("keydown", turn);
  addEventListener("resize", fit);
  addEventListener("load", () => setTimeout(fit)); // the charts are drawn first
})();
