// The page: its sections, in their order, from the figures that stand in it.
"use strict";

const figures = JSON.parse(document.getElementById("figures").textContent);
const main = document.getElementById("main");
const contents = document.getElementById("contents");
const times = figures.intervals.map((text) => moment(text, figures.unit));

function section(id, title, lead) {
  const made = element("section", { "aria-labelledby": id }, element("h2", { id }, title), lead ? element("p", { class: "lead" }, ...words(lead)) : null);
  main.append(made);
  contents.append(element("a", { href: `#${id}` }, title));
  return made;
}

function card(parent, ...children) {
  const made = element("div", { class: "card" }, ...children);
  parent.append(made);
  return made;
}

/** A row of choices; `chosen` is called with the one that the reader picks. */
function choices(name, legend, values, initial, chosen) {
  const labels = values.map((value) => {
    const input = element("input", { type: "radio", name, value, checked: value === initial });
    input.addEventListener("change", () => chosen(value));
    return element("label", {}, input, value === "gpu" ? "GPU" : value);
  });
  return element("fieldset", {}, element("legend", {}, legend), ...labels);
}

function tiles() {
  const all = figures.all, stored = figures.stored;
  const cost = stored && stored.costs.find((one) => one.price.applies);
  const entries = [
    ["Starts", count(all.starts), `since ${moment(figures.since, "day")}`],
    ["Failed", count(all.failed), share(all.failed, all.starts), all.failed ? "bad" : ""],
    ["Median", seconds(all.p50), "half of all starts are faster"],
    ["p95", seconds(all.p95), "one of twenty takes longer"],
    ["Longest", seconds(all.max), ""],
    ["Over the network", bytes(figures.bytes.wire), "from the store"],
    stored && ["In the store", bytes(stored.stored), cost ? `${dollars(cost.storage)} a month` : `${count(stored.count)} versions`],
  ].filter(Boolean);
  const cells = entries.map(([name, value, note, look = ""]) =>
    element("div", {}, element("dt", {}, name), element("dd", { class: look }, value, element("small", {}, note))));
  main.append(element("dl", { class: "tiles" }, ...cells));
}

function fixFirst() {
  const made = section("fix", "Fix this first", "What these starts say, by the seconds that it would have saved in all of them.");
  if (!figures.advice.length) {
    card(made, element("p", {}, "Nothing stands out: no rule found several starts that others of this fleet outdo."));
    return;
  }
  const items = figures.advice.map((one) => element(
    "li", {},
    element("h3", {}, ...words(one.title)), element("p", {}, ...words(one.text)),
    element("p", { class: "basis" }, `${count(one.starts)} starts. Counted: `, ...words(one.basis), "."),
    one.seconds === null ? null
      : element("div", { class: "saves" }, seconds(one.seconds), element("small", {}, one.at_most ? "at most" : "would be saved")),
  ));
  const rest = items.splice(5);
  card(made, element("ol", { class: "advice" }, ...items), rest.length
    ? element("details", {}, element("summary", {}, `${rest.length} more`), element("ol", { class: "advice", start: 6 }, ...rest)) : null);
}

function howLong() {
  const made = section("starts", "How long starts take", "Seconds until the model could be used, of the starts that succeeded. Warm starts found every byte in place; failed ones are counted beside.");
  let dimension = "version", figure = "p50";
  const kept = [];
  const again = () => kept.forEach((draw) => draw());
  card(made, element("div", { class: "bar" },
    choices("by", "By", Object.keys(figures.groups), dimension, (value) => { dimension = value; again(); }),
    choices("figure", "Show", ["p50", "p95", "max"], figure, (value) => { figure = value; again(); })));
  const groups = (most) => figures.groups[dimension].slice(0, most);
  kept.push(chart(card(made), "over-time", "Over time", `Each point is one ${figures.unit} (UTC).`, (palette) => {
    const series = groups(6).map((group) => ({ name: group.name, values: group.over_time.map((one) => one && one[figure]) }));
    return {
      config: lines(palette, times, series, seconds), height: 300,
      label: `${figure} by ${dimension} in ${times.length} ${figures.unit}s.`,
      table: { head: [figures.unit, ...series.map((one) => one.name)], rows: times.map((time, at) => [time, ...series.map((one) => seconds(one.values[at]))]) },
    };
  }));
  const pair = element("div", { class: "grid" });
  made.append(pair);
  kept.push(chart(card(pair), "spread", "Median, 95th percentile, longest", "The twelve groups with the most starts.", (palette) => {
    const some = groups(12);
    const layer = (name, key, colour) => ({ name, colour, values: some.map((group) => group[key]) });
    const layers = [layer("median", "p50", palette.series[0]), layer("p95", "p95", fade(palette.series[0], 0.5)), layer("longest", "max", fade(palette.series[0], 0.2))];
    return {
      config: layered(palette, some.map((group) => group.name), layers, seconds), height: 130 + 34 * some.length,
      label: some.slice(0, 3).map((group) => `${group.name}: median ${seconds(group.p50)}, p95 ${seconds(group.p95)}`).join("; "),
      table: {
        head: [dimension, "starts", "failed", "median", "p95", "longest", "in all"],
        rows: figures.groups[dimension].map((group) => [group.name, count(group.starts), count(group.failed), seconds(group.p50), seconds(group.p95), seconds(group.max), seconds(group.seconds)]),
      },
    };
  }));
  kept.push(chart(card(pair), "phases", "Where the time goes", "Mean seconds of each phase. A second counts once, for the phase that began last.", (palette) => {
    const some = groups(12);
    const found = phaseNames(some);
    const parts = found.map((name) => ({ name, colour: colourOf(name, PHASES, found), values: some.map((group) => own(group.phases, name)) }));
    return {
      config: stacked(palette, some.map((group) => group.name), parts, seconds), height: 130 + 34 * some.length,
      label: some.slice(0, 2).map((group) => `${group.name}: ${found.filter((name) => own(group.phases, name)).map((name) => `${name} ${seconds(own(group.phases, name))}`).join(", ")}`).join("; "),
      table: { head: [dimension, ...found], rows: some.map((group) => [group.name, ...found.map((name) => seconds(own(group.phases, name)))]) },
    };
  }));
  chart(card(made), "counts", "How many", `Starts in each ${figures.unit}.`, (palette) => {
    const counted = figures.all.over_time;
    const parts = [
      { name: "succeeded", colour: palette.good, values: counted.map((one) => (one ? one.starts - one.failed : 0)) },
      { name: "failed", colour: palette.bad, values: counted.map((one) => (one ? one.failed : 0)) },
    ];
    return {
      config: stacked(palette, times, parts, count, { horizontal: false }), height: 190, label: `${count(figures.all.starts)} starts, ${count(figures.all.failed)} failed.`,
      table: { head: [figures.unit, "succeeded", "failed"], rows: times.map((time, at) => [time, count(parts[0].values[at]), count(parts[1].values[at])]) },
    };
  });
}

/** The phases of some groups, in the order in which they begin; what has no name comes last. */
function phaseNames(groups) {
  const found = [...new Set(groups.flatMap((group) => Object.keys(group.phases)))];
  return [...found.filter((name) => name !== "no name"), ...found.filter((name) => name === "no name")];
}

function whereBytes() {
  const from = figures.bytes;
  const made = section("bytes", "Where bytes came from", "Bytes of files by their source; those that were present had been verified before. The network carries compressed ones.");
  const found = SOURCES.filter((name) => from.sources[name]);
  const parts = (some) => found.map((name) => ({ name, colour: colourOf(name, SOURCES), values: some.map((each) => each[name] || 0) }));
  const pair = element("div", { class: "grid" });
  made.append(pair);
  chart(card(pair), "sources", "Over time", `In each ${figures.unit}.`, (palette) => ({
    config: stacked(palette, times, parts(from.over_time), bytes, { horizontal: false }), height: 270,
    label: found.map((name) => `${name} ${bytes(from.sources[name])}`).join(", "),
    table: { head: [figures.unit, ...found], rows: times.map((time, at) => [time, ...found.map((name) => bytes(from.over_time[at][name] || 0))]) },
  }));
  const versions = Object.keys(from.by_version).sort((one, other) => total(from.by_version[other]) - total(from.by_version[one])).slice(0, 10);
  chart(card(pair), "sources-by-version", "By version", "The ten that moved the most.", (palette) => ({
    config: stacked(palette, versions, parts(versions.map((version) => from.by_version[version])), bytes), height: Math.max(190, 90 + 34 * versions.length),
    label: versions.slice(0, 3).map((version) => `${version}: ${bytes(total(from.by_version[version]))}`).join("; "),
    table: { head: ["version", ...found], rows: versions.map((version) => [version, ...found.map((name) => bytes(from.by_version[version][name] || 0))]) },
  }));
  card(made, element("h3", {}, "Twice, and again"), table(["what", "how many", "bytes"], [
    ["Chunks that were asked for once more, as they were far behind the others", count(from.second_requests), bytes(from.twice)],
    ["… of which the second request was the faster one", count(from.won), ""],
    ["Starts that fetched what their machine had fetched before", count(from.again_starts), bytes(from.again)],
  ]));
}

function total(sources) {
  return Object.values(sources).reduce((sum, value) => sum + value, 0);
}

function failures() {
  if (!figures.failures.length) return;
  const made = section("failures", "What failed", "Starts that ended with an error, by its class and message.");
  chart(card(made), "causes", "By cause", "How many starts.", (palette) => {
    const some = figures.failures.slice(0, 12);
    const labels = some.map((cause) => `${cause.class} (${cause.deployments.join(", ")})`);
    const config = stacked(palette, labels, [{ name: "starts", colour: palette.bad, values: some.map((cause) => cause.starts) }], count);
    config.options.plugins.legend = { display: false };
    return {
      config, height: 50 + 34 * some.length, label: some.map((cause) => `${cause.class}: ${count(cause.starts)}`).join("; "),
      table: { head: ["cause", "starts"], rows: some.map((cause) => [cause.class, count(cause.starts)]) },
    };
  });
  const rows = figures.failures.map((cause) => [cause.class, cause.message, count(cause.starts), seconds(cause.seconds), moment(cause.last), cause.deployments.join(", "), cause.hosts.join(", ")]);
  card(made, element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Causes" },
    table(["class", "newest message", "starts", "seconds lost", "last", "deployments", "machines"], rows, { text: [0, 1, 5, 6] })));
}

function oneStart() {
  if (!figures.starts.length) return;
  const made = section("start", "One start", "When each phase began and ended. `cas receipts show` draws the same in a terminal.");
  const select = element("select", { id: "which" });
  for (const kind of ["slowest", "typical", "newest", "failed"]) {
    const some = figures.starts.filter((start) => start.kinds.includes(kind));
    if (kind === "newest") some.sort((one, other) => (one.at < other.at ? 1 : -1));
    const options = some.map((start) => element("option", { value: start.id },
      `${seconds(start.seconds)} · ${start.version} · ${start.deployment} · ${start.datacenter} · ${moment(start.at)}`));
    if (options.length) select.append(element("optgroup", { label: kind }, ...options));
  }
  const holder = card(made, element("div", { class: "bar" }, element("label", { class: "pick" }, "Start", select)));
  const facts = element("dl", { class: "facts" });
  holder.append(facts);
  const chosen = () => figures.starts.find((start) => start.id === select.value);
  const draw = chart(holder, "waterfall", "Phases", null, (palette) => {
    const start = chosen();
    const known = start.phases.map((phase) => phase.name);
    const rows = start.phases.map((phase) => ({ name: phase.name, begun: phase.begun, ended: phase.begun + phase.seconds, colour: colourOf(phase.name, PHASES, known) }));
    const entries = [["receipt", start.id], ["began", moment(start.at)], ["version", start.version], ["why", start.reason], ["machine", start.host], ["GPU", start.gpu],
      ["bytes", Object.entries(start.sources).map(([name, size]) => `${bytes(size)} ${name}`).join(", ") || "none"], ["no name", seconds(start.unnamed)], ["error", start.error]];
    facts.replaceChildren(...entries.filter(([, value]) => value).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", { class: name === "error" ? "bad" : "" }, value))));
    return {
      config: waterfall(palette, rows, seconds), height: 60 + 30 * Math.max(1, rows.length), label: `${start.version}, ${seconds(start.seconds)}.`,
      table: { head: ["phase", "began", "seconds", "rate"], rows: start.phases.map((phase) => [phase.name, seconds(phase.begun), seconds(phase.seconds),
        phase.name === "fetch" && phase.seconds ? `${bytes(start.wire / phase.seconds)}/s` : ""]) },
    };
  });
  select.addEventListener("change", draw);
}

function store() {
  const held = figures.stored;
  if (!held || !held.stored) return;
  const made = section("store", "What the store holds", "Bytes of chunks in the bucket. A chunk that several versions need is there once.");
  const facts = [["Files of all versions", bytes(held.plain), `${count(held.count)} versions`], ["In the store", bytes(held.stored), `${count(held.chunks)} chunks`],
    ["Saved by sharing", bytes(held.shared), share(held.shared, held.plain)], ["`cas gc` would free", bytes(held.freed), `${count(held.freed_versions)} versions`],
    ["Overwritten, still kept", bytes(held.superseded), "by a bucket that keeps versions"]];
  made.append(element("dl", { class: "tiles" }, ...facts.map(([name, value, note]) => element("div", {}, element("dt", {}, ...words(name)), element("dd", {}, value, element("small", {}, note))))));
  const pair = element("div", { class: "grid spaced" });
  made.append(pair);
  if (held.growth.length) chart(card(pair), "growth", "How it grew", "Bytes at the end of each day, of what is there now.", (palette) => ({
    config: lines(palette, held.growth.map((one) => one.day), [{ name: "stored", values: held.growth.map((one) => one.stored) }], bytes, { fill: true, backgroundColor: fade(palette.series[0], 0.15), stepped: true }),
    height: 280, label: `${bytes(held.growth.at(-1).stored)} now.`,
    table: { head: ["day", "bytes"], rows: held.growth.map((one) => [one.day, bytes(one.stored)]) },
  }));
  const some = held.versions.slice(0, 12);
  if (some.length) chart(card(pair), "versions", "What versions take up", "What only this version needs would go with it.", (palette) => ({
    config: stacked(palette, some.map((one) => one.version), [
      { name: "only this version", colour: palette.series[0], values: some.map((one) => one.own) },
      { name: "shared with others", colour: palette.series[2], values: some.map((one) => one.shared) }], bytes),
    height: Math.max(200, 90 + 30 * some.length), label: some.slice(0, 3).map((one) => `${one.version}: ${bytes(one.own + one.shared)}`).join("; "),
    table: { head: ["version", "named by", "made", "files", "only this", "shared"], rows: held.versions.map((one) => [one.version, one.names || "–", moment(one.created, "day"), bytes(one.plain), bytes(one.own), bytes(one.shared)]) },
  }));
  const listed = table(["price list", "$ a GB a month", "storage a month", "gc saves", "egress a month", "source"],
    held.costs.map(({ price, storage, freed, egress }) => [price.provider, String(price.storage), dollars(storage), dollars(freed), dollars(egress), price.read ? `${price.source}, ${price.read}` : price.source]), { text: [0, 5] });
  held.costs.forEach(({ price }, at) => { if (price.applies) listed.tBodies[0].rows[at].className = "applies"; });
  card(made, element("h3", {}, "What it costs"), element("p", { class: "lead" },
    "First steps of each list, without taxes, requests and free allowances. Egress: if every month of 30 days carried as many bytes to the internet as these starts did."), element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Costs" }, listed));
}

function rivals() {
  if (!figures.benchmark.length) return;
  const made = section("rivals", "Beside other clients", "Wall time of whole processes, as the benchmark measured it: medians. Shorter is better.");
  const links = [...new Set(figures.benchmark.map((one) => one.link))];
  let link = links[0];
  const holder = card(made);
  if (links.length > 1) holder.append(element("div", { class: "bar" }, choices("link", "Connection", links, link, (value) => { link = value; draw(); })));
  const draw = chart(holder, "rivals-by-link", "Seconds by client", null, (palette) => {
    const some = figures.benchmark.filter((one) => one.link === link).sort((one, other) => one.wall_s.median - other.wall_s.median);
    const colour = some.map((one) => (one.case.startsWith("cas") ? palette.series[0] : palette.none));
    const config = stacked(palette, some.map((one) => one.case), [{ name: "median", colour, values: some.map((one) => one.wall_s.median) }], seconds);
    config.options.plugins.legend = { display: false };
    return {
      config, height: 60 + 28 * some.length, label: some.slice(0, 3).map((one) => `${one.case}: ${seconds(one.wall_s.median)}`).join("; "),
      table: { head: ["client", "median", "fastest", "slowest"], rows: some.map((one) => [one.case, seconds(one.wall_s.median), seconds(one.wall_s.min), seconds(one.wall_s.max)]) },
    };
  });
}

document.getElementById("title").textContent = figures.about ? `Every start of ${figures.about}` : "Every start on one page";
document.getElementById("scope").textContent = `${figures.store}, from ${moment(figures.since)} to ${moment(figures.made)} UTC${figures.unread ? `; ${count(figures.unread)} receipts cannot be read` : ""}`;
if (figures.all.starts) {
  tiles();
  fixFirst();
  howLong();
  whereBytes();
  failures();
  oneStart();
} else {
  card(main, element("p", {}, "No start left a receipt in this time. The RunPod worker leaves them, and so do `cas restore --receipt` and CAS_RECEIPT=1."));
}
store();
rivals();
document.getElementById("footer").append(element("h2", {}, "Words"), element("dl", {}, ...[
  ["start", "a restore, or the boot of a worker that it was part of, with a receipt in the store"],
  ["p50, p95", "the smallest number of seconds that 50 or 95 of 100 starts do not exceed"],
  ["no name", "seconds of a start that no phase of its receipt covers"],
  ["cold, warm", "cold starts moved bytes; warm ones found all of them in place"],
].flatMap(([word, meaning]) => [element("dt", {}, word), element("dd", {}, meaning)])));
document.documentElement.dataset.ready = "yes";
