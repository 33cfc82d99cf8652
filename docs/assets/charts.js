// charts.js - Draws the charts of a page with Observable Plot, each from the table of its values that stands below it.
//
// builder/chart.py writes the figures: data-chart says how a table is to be drawn. Without this script, or where a page
// is opened as a file by a browser that runs none, the table remains.
//
// WHY a plain script and no module: a browser loads no modules for a page that is opened as a file.

(() => {
  const COLOURS = 6; // --chart-1 and so on, in site.css
  const NARROW = 480;

  const numberOf = (text) => (text === "" ? NaN : Number(text));
  const GREY = "var(--md-default-fg-color--light)";
  const range = (names) => names.map((_, i) => `var(--chart-${(i % COLOURS) + 1})`);
  const shown = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });

  /** Read a figure's table: its header and its rows. */
  function read(figure) {
    const cells = (row) => [...row.cells].map((cell) => cell.textContent);
    return { columns: cells(figure.querySelector("thead tr")), rows: [...figure.querySelectorAll("tbody tr")].map(cells) };
  }

  /** Make a record of each value of a wide table: {x, series, y}; empty cells are left out. */
  function long({ columns, rows }, place) {
    const records = rows.flatMap(([x, ...values]) =>
      values.map((value, i) => ({ x: place(x), series: columns[i + 1], y: numberOf(value) })),
    );
    return records.filter(({ y }) => !Number.isNaN(y));
  }

  /** Return a colour for each name: a dashed line has that of the line it belongs to, or grey. */
  function coloured(names, dashed = {}) {
    const full = names.filter((name) => !(name in dashed));
    const colours = range(full);
    const of = (name) => (name in dashed ? (colours[full.indexOf(dashed[name])] ?? GREY) : colours[full.indexOf(name)]);
    return { domain: names, range: names.map(of) };
  }

  const DRAW = {
    lines(table, how, width) {
      const names = table.columns.slice(1);
      const data = long(table, numberOf);
      const of = (dashed) => data.filter(({ series }) => series in how.dashed === dashed);
      const line = (dashed) =>
        Plot.line(of(dashed), { x: "x", y: "y", stroke: "series", strokeWidth: 2, strokeDasharray: dashed ? "3 4" : null });
      const few = table.rows.length <= 12;
      const places = few ? { ticks: table.rows.map(([x]) => numberOf(x)), tickFormat: "d" } : { ticks: width / 80 };
      return {
        x: { label: how.across, ...places },
        y: { label: how.up, grid: true, type: how.logarithmic ? "log" : "linear", nice: true, ticks: 5 },
        color: coloured(names, how.dashed),
        marks: [
          line(false),
          line(true),
          few ? Plot.dot(of(false), { x: "x", y: "y", fill: "series", r: 4 }) : null,
          how.values
            ? Plot.text(data, { x: "x", y: "y", text: (d) => shown(d.y), fill: "series", dy: -11, fontWeight: 600 })
            : null,
          Plot.tip(data, Plot.pointer({ x: "x", y: "y", stroke: "series" })),
        ],
      };
    },

    bars(table, how, width) {
      const names = table.columns.slice(1);
      const data = long(table, String);
      const value = { y: "y", x: "series", fx: "x", fill: "series" };
      return {
        x: { axis: null, domain: names, padding: 0.05 },
        fx: { label: how.across, domain: table.rows.map(([x]) => x), padding: 0.15, tickRotate: crowded(table, width) ? -45 : 0 },
        y: { label: how.up, grid: true, zero: !how.logarithmic, type: how.logarithmic ? "log" : "linear", ticks: 5 },
        color: coloured(names),
        marginBottom: crowded(table, width) ? 80 : 34,
        marks: [
          Plot.barY(data, value),
          how.values ? Plot.text(data, { ...value, text: (d) => shown(d.y), dy: -7, fontSize: 10 }) : null,
          how.logarithmic ? null : Plot.ruleY([0]),
          Plot.tip(data, Plot.pointerX({ x: "series", fx: "x", y: "y", stroke: "series" })),
        ],
      };
    },

    points({ columns, rows }, how) {
      const points = rows.map(([label, x, y, group = ""]) => ({ label, x: numberOf(x), y: numberOf(y), group }));
      const groups = [...new Set(points.map(({ group }) => group))];
      return {
        aspectRatio: 1, // distances are what is looked at
        x: { label: how.across, inset: 14, ticks: 5 },
        y: { label: how.up, inset: 14, ticks: 5 },
        color: coloured(groups),
        marks: [
          Plot.text(points, { x: "x", y: "y", text: "label", fill: "group", fontSize: 14, fontWeight: 700 }),
          Plot.tip(points, Plot.pointer({ x: "x", y: "y", title: ({ label, x, y }) => `${label}: ${shown(x)}, ${shown(y)}` })),
        ],
      };
    },

    cells(table, how, width) {
      const data = long(table, String);
      const rows = table.rows.map(([name]) => name);
      const few = table.columns.length <= 14 && width > NARROW;
      return {
        aspectRatio: few ? null : 1,
        x: { label: how.across, domain: table.columns.slice(1), tickSize: 0 },
        y: { label: how.up, domain: rows, tickSize: 0 },
        opacity: { domain: [0, Math.max(...data.map(({ y }) => y))], range: [0, 1] },
        marginLeft: 22 + 8 * Math.min(Math.max(...rows.map((name) => name.length)), 12),
        marks: [
          Plot.cell(data, { x: "series", y: "x", fill: "var(--chart-1)", fillOpacity: "y", inset: 0.5 }),
          how.values ? Plot.text(data, { x: "series", y: "x", text: (d) => shown(d.y), fontSize: 11 }) : null,
          Plot.tip(data, Plot.pointer({ x: "series", y: "x", title: ({ x, series, y }) => `${x}, ${series}: ${shown(y)}` })),
        ],
      };
    },
  };

  /** Whether the names below the bars would run into each other. */
  function crowded({ rows }, width) {
    return rows.reduce((sum, [name]) => sum + name.length * 7 + 12, 0) > width - 50;
  }

  /** Name the colours, where there are several; a dashed line that belongs to another one needs no name. */
  function legend({ domain, range }, { dashed }) {
    const named = domain.map((name, i) => [name, range[i]]).filter(([name]) => !dashed[name]);
    const color = { domain: named.map(([name]) => name), range: named.map(([, colour]) => colour) };
    return named.length > 1 ? [Plot.legend({ color, style: { fontSize: "12px" } })] : [];
  }

  function draw(figure, table, how, width) {
    const options = DRAW[how.kind](table, how, width);
    const room = { width, marginLeft: 52, marginBottom: 44, style: { fontSize: "12px" } };
    const picture = Plot.plot({ ...room, ...options, x: { labelAnchor: "center", labelArrow: "none", ...options.x } });
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
      if (place.clientWidth !== drawn && place.clientWidth > 0) {
        drawn = place.clientWidth;
        place.replaceChildren(...draw(figure, table, how, Math.min(drawn, 640)));
      }
    }).observe(place);
  }
})();
