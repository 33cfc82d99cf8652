// charts.js - Draws the charts of a page with Observable Plot, each from the table of its values that stands below it.
//
// builder/chart.py writes the figures: data-chart says how a table is to be drawn. Without this script, or where a page
// is opened as a file by a browser that runs none, the table remains.
//
// WHY a plain script and no module: a browser loads no modules for a page that is opened as a file.

(() => {
  const COLOURS = 6; // --chart-1 and so on, in site.css
  const GREY = "var(--md-default-fg-color--light)";
  const LETTER = 7; // the width of one in pixels, about
  const LARGE = 1e7; // numbers from here on are written as 1.2e13
  const FEW = 12; // so many places on a line are marked with dots
  // What is written over lines and bars has a rim in the colour of the page.
  const RIM = { stroke: "var(--md-default-bg-color)", strokeWidth: 4, strokeLinejoin: "round" };
  const DASHES = "4 4";

  const numberOf = (text) => (text === "" ? NaN : Number(text));
  const widest = (texts) => LETTER * Math.max(...texts.map((text) => text.length));

  /** Write a number alone: 1,856 or 0.3253 or 1.2e13. */
  function shown(value) {
    const size = Math.abs(value);
    const text =
      size >= LARGE || (size < 1e-4 && value !== 0)
        ? Number(value.toPrecision(2)).toExponential().replace("e+", "e")
        : value.toLocaleString("en", Number.isInteger(value) ? {} : { maximumSignificantDigits: 4 });
    return text.replaceAll("-", "−");
  }

  /** Return how numbers are written that stand side by side: each to the same digit, the third one of the largest. */
  function alike(values) {
    const numbers = values.map(({ value }) => value);
    const places = Math.max(...numbers.map((number) => String(number).split(".")[1]?.length ?? 0));
    const whole = Math.floor(Math.log10(Math.max(...numbers.map(Math.abs))));
    const digits = Math.min(places, Math.max(2 - whole, 0));
    const form = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    return (value) => (Math.abs(value) < LARGE ? value.toLocaleString("en", form).replace("-", "−") : shown(value));
  }

  /** Read a figure's table: the columns' names, the rows' names, and a record of each value; an empty cell has none. */
  function read(figure) {
    const texts = (row) => [...row.children].map((cell) => cell.textContent);
    const columns = texts(figure.querySelector("thead tr"));
    const rows = [...figure.querySelectorAll("tbody tr")].map(texts);
    const values = rows.flatMap(([name, ...cells], row) =>
      cells.map((cell, i) => ({ row, name, column: i, series: columns[i + 1], value: numberOf(cell) })),
    );
    return {
      rows,
      names: rows.map(([name]) => name),
      series: columns.slice(1),
      values: values.filter(({ value }) => !Number.isNaN(value)),
    };
  }

  /** Return a colour for each name; what is dashed has that of the line it belongs to, or grey. */
  function coloured(names, dashed = {}) {
    const full = names.filter((name) => !(name in dashed));
    const colour = (name) => (full.includes(name) ? `var(--chart-${(full.indexOf(name) % COLOURS) + 1})` : GREY);
    return { domain: names, range: names.map((name) => colour(dashed[name] || name)) };
  }

  /** Return the scale of the values. A logarithmic one goes from one power of ten to another. */
  function measure(values, how) {
    const scale = { label: how.up, grid: true, tickFormat: shown };
    if (!how.logarithmic) {
      return how.limits ? { ...scale, ticks: 5, domain: how.limits } : { ...scale, ticks: 5, nice: true };
    }
    const powers = values.map(({ value }) => Math.log10(value)).filter(Number.isFinite);
    const [low, high] = [Math.ceil(Math.min(...powers)) - 1, Math.ceil(Math.max(...powers))];
    const step = Math.ceil((high - low) / 6);
    const ticks = Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, i) => 10 ** (low + i * step));
    const power = (value) => (value < 1e4 ? shown(value) : value.toExponential().replace("e+", "e"));
    return { ...scale, type: "log", domain: [10 ** low, 10 ** high], ticks, tickFormat: power };
  }

  const DRAW = {
    lines({ names, series, values }, how, width) {
      const places = names.map(numberOf);
      const few = places.length <= FEW;
      const highest = Math.ceil(Math.max(...values.map(({ value }) => value)));
      const points = values.map((point) => ({ ...point, place: places[point.row] }));
      const at = { x: "place", y: "value" };
      const line = { ...at, stroke: "series", strokeWidth: 2 };
      const isDashed = ({ series }) => series in how.dashed;
      const isDots = ({ series }) => how.dots.includes(series);
      const isLine = (point) => !isDashed(point) && !isDots(point);
      // WHY two sides: where lines lie close together, the numbers of the lowest stand below it.
      const isLow = ({ place, value }) =>
        series.length > 1 && points.every((other) => other.place !== place || other.value >= value);
      const written = alike(values);
      const text = { ...at, ...RIM, text: (d) => written(d.value), fill: "series" };
      // Where there is room, each place has its tick.
      const gap = Math.min(...places.slice(1).map((place, i) => Math.abs(place - places[i])));
      const isRoomy = ((width - 90) * gap) / (Math.max(...places) - Math.min(...places)) > widest(names) + LETTER;
      return {
        height: Math.max(0.6 * width, 260),
        marginTop: 30,
        marginLeft: 16 + widest(["0.005", shown(highest)]),
        x: { label: how.across, inset: few ? 14 : 0, tickFormat: shown, ticks: few && isRoomy ? places : width / 90 },
        y: { ...measure(values, how), inset: how.values ? 18 : 0 },
        color: coloured(series, how.dashed),
        marks: [
          Plot.line(points.filter(isLine), line),
          Plot.line(points.filter(isDashed), { ...line, strokeDasharray: DASHES }),
          Plot.dot(points.filter(few ? (point) => !isDashed(point) : isDots), { ...at, fill: "series", r: 3.5 }),
          how.values ? Plot.text(points.filter((point) => !isLow(point)), { ...text, dy: -12 }) : null,
          how.values ? Plot.text(points.filter(isLow), { ...text, dy: 13 }) : null,
          Plot.tip(
            points,
            Plot.pointer({ ...at, title: (d) => `${d.series}\n${how.across} ${shown(d.place)}: ${shown(d.value)}` }),
          ),
        ],
      };
    },

    // WHY they lie: beside a bar there is room for its name and its number, on a narrow screen too.
    bars({ names, series, values }, how) {
      const bars = values.filter((bar) => !(bar.series in how.dashed));
      const isAlone = new Set(bars.map(({ row }) => row)).size === bars.length; // none has to make room for another
      const slots = isAlone ? [0] : [...new Set(bars.map(({ column }) => column))];
      const at = { x: "value", y: isAlone ? () => 0 : "column", fy: "row" };
      const scale = measure(values, how);
      const start = how.logarithmic ? scale.domain[0] : 0;
      const [negative, positive] = [true, false].map((is) => bars.filter(({ value }) => value < 0 === is));
      const written = alike(bars);
      const room = how.values ? widest(bars.map(({ value }) => written(value))) + 4 : 0;
      const text = { ...at, ...RIM, text: (d) => written(d.value), fill: "currentColor" };
      return {
        height: names.length * (slots.length * 17 + 9) + 70,
        marginTop: how.across ? 30 : 6,
        marginLeft: widest(names) + 20,
        x: { ...scale, insetRight: room, insetLeft: negative.length > 0 ? room : 0 },
        y: { axis: null, domain: slots, padding: 0.1 },
        fy: {
          ...{ axis: "left", padding: 0.25, tickFormat: (row) => names[row] },
          ...{ label: how.across, labelAnchor: "top", labelArrow: "none" },
        },
        color: coloured(series, how.dashed),
        marks: [
          Plot.barX(bars, { ...at, x: null, x1: start, x2: "value", fill: "series" }),
          Plot.ruleX([start]),
          Plot.tickX(
            values.filter((bar) => !bars.includes(bar)),
            { x: "value", fy: "row", stroke: "series", strokeWidth: 2, strokeDasharray: DASHES },
          ),
          how.values ? Plot.text(positive, { ...text, dx: 4, textAnchor: "start" }) : null,
          how.values ? Plot.text(negative, { ...text, dx: -4, textAnchor: "end" }) : null,
          // WHY px: with their ends as what is pointed at, a shorter bar beside this one may be nearer.
          Plot.tip(
            bars,
            Plot.pointerY({ ...at, px: () => start, title: (d) => `${d.name}\n${d.series}: ${shown(d.value)}` }),
          ),
        ],
      };
    },

    points({ rows, names }, how) {
      const points = rows.map(([label, x, y, group = ""]) => ({ label, x: numberOf(x), y: numberOf(y), group }));
      const at = { x: "x", y: "y" };
      const axis = { inset: 10 + widest(names) / 2, ticks: 5, tickFormat: shown };
      return {
        aspectRatio: 1, // distances are what is looked at
        x: { ...axis, label: how.across },
        y: { ...axis, label: how.up },
        color: coloured([...new Set(points.map(({ group }) => group))]),
        marks: [
          Plot.text(points, { ...at, ...RIM, text: "label", fill: "group", fontSize: 14, fontWeight: 700 }),
          Plot.tip(points, Plot.pointer({ ...at, title: ({ label, x, y }) => `${label}: ${shown(x)}, ${shown(y)}` })),
        ],
      };
    },

    cells({ names, series, values }, how, width) {
      const [marginLeft, marginRight] = [widest(names) + 34, 10];
      const texts = values.map(({ value }) => value).map(alike(values));
      // Names and numbers are written where there is room for them; small squares are enough for what has none.
      const side = Math.min((width - marginLeft - marginRight) / series.length, how.values ? widest(texts) + 24 : 28);
      const isTight = widest(series) > side;
      const strongest = Math.max(...values.map(({ value }) => Math.abs(value)));
      const [marginTop, marginBottom] = [10, isTight ? 44 + 0.8 * widest(series) : 48];
      const at = { x: "column", y: "row" };
      const band = { padding: 0.05, round: false, tickSize: 0 };
      // WHY by number: a name may come twice.
      const numbered = (labels) => ({ domain: [...labels.keys()], tickFormat: (i) => labels[i] });
      const told = (d) => `${how.up}: ${d.name}\n${how.across}: ${d.series}\n${shown(d.value)}`;
      return {
        width: marginLeft + marginRight + side * series.length,
        height: marginTop + marginBottom + Math.min(Math.max(side, 15), 28) * names.length,
        ...{ marginLeft, marginRight, marginTop, marginBottom },
        x: { ...band, label: how.across, ...numbered(series), tickRotate: isTight ? -55 : 0 },
        y: { ...band, label: how.up, ...numbered(names) },
        opacity: { domain: [0, strongest || 1], range: [0, how.values ? 0.6 : 1] }, // a number stands out from 0.6
        marks: [
          Plot.cell(values, {
            ...at,
            fill: ({ value }) => (value < 0 ? "var(--chart-2)" : "var(--chart-1)"),
            fillOpacity: ({ value }) => Math.abs(value),
            stroke: "var(--md-default-fg-color--lightest)",
          }),
          how.values && widest(texts) < side + LETTER
            ? Plot.text(values, { ...at, text: (_, i) => texts[i], fill: "var(--chart-ink)" })
            : null,
          Plot.tip(values, Plot.pointer({ ...at, title: told })),
        ],
      };
    },
  };

  /** Name the colours where there are several; a dashed line that belongs to another needs no name. */
  function legend({ domain, range }, { dashed, dots }) {
    const keys = document.createElement("div");
    keys.className = "legend";
    domain.forEach((name, i) => {
      if (!dashed[name]) {
        const key = keys.appendChild(document.createElement("span"));
        key.textContent = name;
        key.className = name in dashed ? "dashed" : dots.includes(name) ? "dots" : "";
        key.style.setProperty("--colour", range[i]);
      }
    });
    return keys.childElementCount > 1 ? [keys] : [];
  }

  /** Return the legend and the drawing of a figure, as wide as its place. */
  function draw(figure, table, how, width) {
    const options = DRAW[how.kind](table, how, width);
    const picture = Plot.plot({
      ...{ width, marginLeft: 56, marginBottom: 48, style: { fontSize: "12px" } },
      ...options,
      x: { labelAnchor: "center", labelArrow: "none", ...options.x },
    });
    // WHY: parts of a picture have no names of their own.
    picture.querySelectorAll("[aria-label]").forEach((part) => part.removeAttribute("aria-label"));
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", figure.querySelector("figcaption").textContent);
    return [...(options.color ? legend(options.color, how) : []), picture];
  }

  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    const how = JSON.parse(figure.dataset.chart);
    const table = read(figure);
    const place = document.createElement("div");
    place.className = "drawing";
    figure.querySelector("figcaption").after(place);
    let drawn = 0;
    new ResizeObserver(() => {
      const width = Math.min(place.clientWidth, 640);
      if (width !== drawn && width > 0) {
        drawn = width;
        place.replaceChildren(...draw(figure, table, how, width));
      }
    }).observe(place);
  }
})();
