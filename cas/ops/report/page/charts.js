// Charts: each stands in a figure with its caption, and its numbers as a table. Chart.js draws them.
"use strict";

const drawn = [];

Chart.defaults.animation = false;
Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
Chart.defaults.maintainAspectRatio = false;
Chart.defaults.plugins.legend.position = "bottom";
Chart.defaults.plugins.legend.align = "start";
Object.assign(Chart.defaults.plugins.legend.labels, { boxWidth: 10, boxHeight: 10, usePointStyle: true, pointStyle: "rectRounded", padding: 14 });
Object.assign(Chart.defaults.plugins.tooltip, { padding: 10, cornerRadius: 8, boxPadding: 5 });

/**
 * Put a chart into the page. `describe` returns {config, table: {head, rows}, height, label}, and is called again when
 * the colours change or the reader chooses something else: then call the function that is returned.
 */
function chart(parent, id, title, note, describe) {
  const canvas = element("canvas", { id, role: "img" });
  const plot = element("div", { class: "plot" }, canvas);
  const numbers = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}: numbers` });
  const details = element("details", {}, element("summary", {}, "Numbers"), numbers);
  const caption = element("figcaption", {}, element("h3", {}, title), note ? element("p", {}, note) : null);
  parent.append(element("figure", {}, caption, plot, details));
  let current = null;
  const draw = () => {
    const palette = colours();
    Object.assign(Chart.defaults, { color: palette.soft, borderColor: palette.line });
    Object.assign(Chart.defaults.plugins.tooltip, { backgroundColor: palette.ink, titleColor: palette.card, bodyColor: palette.card });
    const { config, table: numbersOf, height, label } = describe(palette);
    plot.style.height = `${height}px`;
    if (current) current.destroy();
    current = new Chart(canvas, config);
    canvas.setAttribute("aria-label", `${title}. ${label}`);
    numbers.replaceChildren(table(numbersOf.head, numbersOf.rows));
  };
  draw();
  drawn.push(draw);
  return draw;
}

/** A table; cells are texts, or elements. Columns after the first whose cells are numbers with units align right. */
function table(head, rows, { text = [0], code = [] } = {}) {
  const kind = (column) => (code.includes(column) ? "code" : text.includes(column) ? "text" : "number");
  return element(
    "table", {},
    element("thead", {}, element("tr", {}, ...head.map((name, at) => element("th", { class: kind(at), scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell, at) => element("td", { class: kind(at) }, cell))))),
  );
}

function axis(palette, format, more = {}) {
  return { beginAtZero: true, grid: { color: palette.line }, border: { display: false }, ticks: { callback: (value) => format(value), maxTicksLimit: 7 }, ...more };
}

function names(more = {}) {
  return { grid: { display: false }, border: { display: false }, ticks: { autoSkip: true, maxRotation: 0, ...more } };
}

/** Labels of a horizontal axis that are cut where they would leave no room for bars. */
function short(limit) {
  return { autoSkip: false, callback(value) { return cut(this.getLabelForValue(value), limit()); } };
}

function cut(text, limit) {
  return text.length <= limit ? text : `${text.slice(0, Math.ceil(limit * 0.6))}…${text.slice(-Math.floor(limit * 0.4) + 1)}`;
}

function labelLimit() {
  return innerWidth < 600 ? 17 : 34;
}

function tooltip(format, more = {}) {
  return { callbacks: { label: (item) => `${item.dataset.label}: ${format(item)}` }, ...more };
}

/** Lines over time: one for each of `series` ({name, values}). */
function lines(palette, labels, series, format, more = {}) {
  return {
    type: "line",
    data: {
      labels,
      datasets: series.map(({ name, values }, at) => ({
        label: name, data: values, spanGaps: true, borderWidth: 2, tension: 0.25, pointRadius: values.length > 45 ? 0 : 2, pointHitRadius: 12,
        borderColor: palette.series[at % palette.series.length], backgroundColor: palette.series[at % palette.series.length], ...more,
      })),
    },
    options: {
      interaction: { mode: "index", intersect: false },
      scales: { x: names(), y: axis(palette, format) },
      plugins: { tooltip: tooltip((item) => format(item.parsed.y)), legend: { display: series.length > 1 } },
    },
  };
}

/** Stacked bars: `parts` are {name, colour, values}; horizontal ones have a row for each label. */
function stacked(palette, labels, parts, format, { horizontal = true } = {}) {
  const values = axis(palette, format, { stacked: true });
  const rows = { ...names(horizontal ? short(labelLimit) : {}), stacked: true };
  return {
    type: "bar",
    data: {
      labels,
      datasets: parts.map((part) => ({
        label: part.name, data: part.values, backgroundColor: part.colour, borderColor: palette.card,
        borderWidth: horizontal ? { right: 1 } : { top: 1 }, maxBarThickness: horizontal ? 22 : 40, borderSkipped: false,
      })),
    },
    options: {
      indexAxis: horizontal ? "y" : "x",
      interaction: { mode: "index", axis: horizontal ? "y" : "x", intersect: false },
      scales: horizontal ? { x: values, y: rows } : { x: rows, y: values },
      plugins: { tooltip: tooltip((item) => format(item.parsed[horizontal ? "x" : "y"]), { filter: (item) => item.raw > 0 }) },
    },
  };
}

/** Bars that lie on each other, the longest behind: `layers` are {name, colour, values}, the shortest first. */
function layered(palette, labels, layers, format) {
  const config = stacked(palette, labels, layers, format);
  config.data.datasets.forEach((dataset, at) => Object.assign(dataset, { grouped: false, borderWidth: 0, order: at, barPercentage: 0.8, borderRadius: 3 }));
  config.options.scales.x.stacked = config.options.scales.y.stacked = false;
  return config;
}

/** Bars that begin and end somewhere: `rows` are {name, begun, ended, colour}. */
function waterfall(palette, rows, format) {
  const config = stacked(palette, rows.map((row) => row.name), [{ name: "seconds", values: rows.map((row) => [row.begun, row.ended]), colour: rows.map((row) => row.colour) }], format);
  Object.assign(config.data.datasets[0], { borderWidth: 0, borderRadius: 3, minBarLength: 2 });
  Object.assign(config.options.plugins, {
    legend: { display: false },
    tooltip: { callbacks: { label: (item) => `${format(item.raw[1] - item.raw[0])}, from ${format(item.raw[0])} to ${format(item.raw[1])}` } },
  });
  return config;
}

function redraw() {
  for (const draw of drawn) draw();
}

dark.addEventListener("change", redraw);
printed.addEventListener("change", redraw);
for (const [event, paper] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(event, () => { isOnPaper = paper; redraw(); });
}
