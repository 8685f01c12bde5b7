// How the page looks and how it writes numbers: colours for light and dark, elements, units.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const printed = matchMedia("print");
let isOnPaper = false;

/** The colours of charts, on paper always those for light. */
function colours() {
  const isDark = dark.matches && !printed.matches && !isOnPaper;
  return {
    ink: isDark ? "#e6eaf0" : "#1b2330",
    soft: isDark ? "#9aa6b5" : "#5b6675",
    line: isDark ? "#2b3442" : "#e3e7ec",
    card: isDark ? "#181e27" : "#ffffff",
    series: isDark
      ? ["#6cb0ff", "#f5a35c", "#5fd0a5", "#d69be8", "#f2d16b", "#7fdbe8", "#ff9b9b", "#b6c0cc"]
      : ["#0b62c4", "#d4670b", "#0f8a5f", "#8b45a8", "#b08900", "#1590a3", "#c23b3b", "#66707d"],
    good: isDark ? "#5fd0a5" : "#0f8a5f",
    bad: isDark ? "#ff8a80" : "#c23b3b",
    none: isDark ? "#4a5566" : "#c6ccd5",
  };
}

const PHASES = ["fetch", "load", "imports", "warm-up", "container", "python", "link", "copy"];
const SOURCES = ["store", "CDN", "mirror", "hub", "this machine", "present"];

/** One colour for each name, the same in every chart: `known` names have fixed ones, `others` follow in their order. */
function colourOf(name, known, others = []) {
  const { series, none } = colours();
  if (name === "no name" || name === "present") return none;
  const order = [...known, ...others.filter((other) => !known.includes(other))];
  const at = Math.max(0, order.indexOf(name));
  return at < series.length ? series[at] : fade(series[at % series.length], 0.55);
}

/** A colour of the form #rrggbb with an opacity. */
function fade(colour, opacity) {
  return colour + Math.round(opacity * 255).toString(16).padStart(2, "0");
}

/** Make an element. What receipts say becomes text, never HTML. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** What stands under a name that a receipt says, 0 for nothing: every object has a `constructor`, too. */
function own(figures, name) {
  return Object.hasOwn(figures, name) ? figures[name] : 0;
}

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 7200) return `${(value / 3600).toFixed(1)} h`;
  if (value >= 120) return `${(value / 60).toFixed(1)} min`;
  return `${value.toFixed(value < 10 ? 2 : 1)} s`;
}

function bytes(value) {
  if (value === null || value === undefined) return "–";
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 1000) return `${value.toFixed(unit === "B" ? 0 : 1)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(2)} TB`;
}

function count(value) {
  return value.toLocaleString("en");
}

function dollars(value) {
  return value === null ? "–" : `$${value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
}

function share(part, whole) {
  return whole ? `${((100 * part) / whole).toFixed(1)} %` : "–";
}

/** A moment in UTC as people read it; `unit` hour or day shortens it. */
function moment(text, unit) {
  if (unit === "day") return text.slice(0, 10);
  return `${text.slice(0, 10)} ${text.slice(11, 16)}`;
}

/** Text whose parts between backquotes are code. */
function words(text) {
  return text.split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part));
}
