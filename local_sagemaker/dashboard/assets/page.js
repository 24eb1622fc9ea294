// The page of the local SageMaker. Everything that a job wrote is put in as text, never as HTML.
//
// follow() waits for changes of any job and shows the list; a job that is chosen (by the address's #kind/name) is shown by
// show(), and its log and charts are read on while it runs.

const API = "/_local/page/jobs";
const MOST_LINES = 5000;
const ENDED = ["Completed", "Failed", "Stopped"];
const state = { jobs: [], chosen: "", shown: null };

// ------------------------------------------------------------------------------------------------- small helpers
const byId = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function drawn(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error ?? answer.statusText);
  return content;
}

const pathOf = (job) => `${API}/${job.kind}/${encodeURIComponent(job.key)}`;
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
const badge = (status, text = status) => element("span", { class: `badge ${status}` }, text);

function span(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < 3; unit += 1) bytes /= 1000;
  return `${unit ? bytes.toFixed(bytes < 10 ? 1 : 0) : bytes} ${units[unit]}`;
}

function figure(value) {
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(2).replace(/\.?0+e/, "e");
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

const number = (name, value) => element("span", {}, `${name} `, element("b", {}, figure(value)));

// ------------------------------------------------------------------------------------------------------- the list
function line(job) {
  const now = Date.now() / 1000;
  const shown = job.status === "InProgress" ? job.secondary : job.status;
  const issues = job.issues ? element("span", { class: "IssuesFound" }, `${job.issues} rule${job.issues > 1 ? "s" : ""} fired`) : null;
  return element("li", {}, element("a", { href: `#${job.kind}/${job.key}`, "aria-current": keyOf(job) === state.chosen ? "true" : null },
    element("span", { class: "name" }, job.name),
    element("span", { class: "line" }, badge(job.status, shown), issues, element("span", {}, span((job.ended ?? now) - job.created)))));
}

const keyOf = (job) => `${job.kind}/${job.key}`;

function list() {
  byId("jobs").replaceChildren(...state.jobs.map(line));
  byId("none").hidden = state.jobs.length > 0;
  const running = state.jobs.filter((job) => !ENDED.includes(job.status)).length;
  document.title = running ? `(${running}) Local SageMaker` : "Local SageMaker";
}

async function follow() {
  let last = -1;
  for (;;) {
    try {
      const answer = await ask(`${API}?after=${last}`);
      const before = new Map(state.jobs.map((job) => [keyOf(job), JSON.stringify(job)]));
      [last, state.jobs] = [answer.last, answer.jobs];
      byId("connection").textContent = "";
      byId("connection").classList.remove("lost");
      list();
      const chosen = state.jobs.find((job) => keyOf(job) === state.chosen);
      if (chosen && JSON.stringify(chosen) !== before.get(state.chosen)) await refresh();
      await sleep(0.3);
    } catch (error) {
      byId("connection").textContent = "the server does not answer";
      byId("connection").classList.add("lost");
      last = -1;
      await sleep(2);
    }
  }
}

// ------------------------------------------------------------------------------------------------------ one job
class Shown {
  constructor(key) {
    [this.kind, this.key] = [key.slice(0, key.indexOf("/")), key.slice(key.indexOf("/") + 1)];
    this.positions = {};
    this.hosts = new Set();
    this.parts = Object.fromEntries(["head", "charts", "rules", "results", "log", "facts"].map((part) => [part, element("section", { id: part, hidden: true })]));
    this.log = element("pre", { class: "log", tabindex: "0", "aria-label": "Log" });
    this.parts.log.append(element("h3", {}, "Log"), this.log);
    byId("job").replaceChildren(...Object.values(this.parts));
  }

  put(part, ...children) {
    this.parts[part].replaceChildren(...children);
    this.parts[part].hidden = children.length === 0;
  }

  async refresh() {
    const job = await ask(pathOf(this));
    if (state.shown !== this) return;
    this.ended = ENDED.includes(job.status);
    if (this.kind === "tuning") {
      this.put("head", ...tuningHead(job));
      this.put("charts", ...trialsPlot(job));
      this.put("results", ...trialsTable(job));
      return;
    }
    this.put("head", ...head(job, this));
    this.put("rules", ...rules(job));
    if (!this.parts.facts.childElementCount || this.ended) this.put("facts", ...facts(job));
    await this.readOn();
    if (this.ended) this.put("results", ...results(await ask(`${pathOf(this)}/results`), this));
  }

  async readOn() {
    const charts = await ask(`${pathOf(this)}/metrics`);
    if (state.shown !== this) return;
    this.put("charts", ...(Object.keys(charts).length ? [element("h3", {}, "Metrics"), ...plots(charts)] : []));
    await this.readLog();
  }

  async readLog() {
    if (this.reading) return;
    this.reading = true;
    try {
      const answer = await ask(`${pathOf(this)}/log?at=${encodeURIComponent(JSON.stringify(this.positions))}`);
      const atEnd = this.log.scrollTop + this.log.clientHeight >= this.log.scrollHeight - 30;
      this.positions = answer.positions;
      for (const [, host] of answer.lines) this.hosts.add(host);
      if (answer.skipped) this.log.append(element("i", {}, "... earlier lines: launcher logs\n"));
      for (const [, host, text] of answer.lines) this.log.append(this.hosts.size > 1 ? element("i", {}, `${host}  `) : "", `${text}\n`);
      while (this.log.childNodes.length > 2 * MOST_LINES) this.log.firstChild.remove();
      this.parts.log.hidden = !this.log.childNodes.length;
      if (atEnd) this.log.scrollTop = this.log.scrollHeight;
    } finally {
      this.reading = false;
    }
  }
}

function act(label, path, body, shown) {
  const note = element("span", { role: "status" });
  const button = element("button", { type: "button", onclick: async () => {
    if (!button.classList.contains("sure")) {
      button.classList.add("sure");
      button.textContent = `Really ${label.toLowerCase()}?`;
      setTimeout(() => { button.classList.remove("sure"); button.textContent = label; }, 4000);
      return;
    }
    button.disabled = true;
    try {
      await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
      await shown.refresh();
    } catch (error) {
      note.textContent = error.message;
      button.disabled = false;
    }
  } }, label);
  return [button, note];
}

// The buttons stay as they are while a job changes: one may be waiting for its second click.
function buttonsOf(job, shown) {
  const offered = `${job.can_interrupt} ${job.can_stop}`;
  if (shown.offered !== offered) {
    const buttons = [];
    if (job.can_interrupt) buttons.push(...act("Interrupt", `/_local/jobs/training/${encodeURIComponent(job.key)}/interrupt`, {}, shown));
    if (job.can_stop) buttons.push(...act("Stop", `${pathOf(job)}/stop`, {}, shown));
    [shown.offered, shown.buttons] = [offered, element("div", { class: "buttons" }, ...buttons)];
  }
  return shown.buttons;
}

// One phase may have several transitions, as Downloading has for the data and for the image.
function phasesOf(job, now) {
  const phases = [];
  for (const { status, message, start, end } of job.transitions.filter((transition) => !ENDED.includes(transition.status))) {
    const seconds = (end ?? now ?? start) - start;
    if (phases.at(-1)?.status !== status) phases.push({ status, seconds: 0, messages: [] });
    phases.at(-1).seconds += seconds;
    phases.at(-1).messages.push(message);
  }
  return phases;
}

function head(job, shown) {
  const now = Date.now() / 1000;
  const timeline = element("div", { class: "timeline", "aria-hidden": "true" });
  const phases = element("ol", { class: "phases" });
  for (const phase of phasesOf(job, shown.ended ? null : now)) {
    const bar = element("span", { class: phase.status, title: `${phase.status}: ${span(phase.seconds)}` });
    bar.style.flexGrow = String(Math.max(phase.seconds, 0.01));
    timeline.append(bar);
    phases.append(element("li", { title: phase.messages.join("; ") }, `${phase.status} ${span(phase.seconds)}`));
  }
  return [
    element("div", { class: "top" }, element("a", { class: "back", href: "#" }, "‹ all jobs"), element("h2", {}, job.name),
      badge(job.status, job.status === "InProgress" ? job.secondary : job.status), buttonsOf(job, shown)),
    ...(job.failure ? [element("p", { class: "failure" }, job.failure)] : []),
    ...(job.exit_message ? [element("p", { class: "failure" }, job.exit_message)] : []),
    timeline, phases,
  ];
}

function rules(job) {
  if (!job.rules.length) return [];
  const rows = job.rules.map((rule) => element("tr", {}, element("td", {}, rule.name), element("td", {}, badge(rule.status)), element("td", {}, rule.details ?? "")));
  return [element("h3", {}, "Rules"), element("table", {}, element("tbody", {}, ...rows))];
}

function facts(job) {
  const table = (rows) => element("table", {}, element("tbody", {}, ...Object.entries(rows).map(([name, value]) => element("tr", {}, element("th", {}, name), element("td", {}, String(value))))));
  const settings = Object.keys(job.hyperparameters).length ? [element("h3", {}, "Hyperparameters"), table(job.hyperparameters)] : [];
  return [
    element("div", { class: "results" }, element("div", {}, element("h3", {}, "Job"), table(job.facts)), element("div", {}, ...settings)),
    element("details", {}, element("summary", {}, "Describe's answer"), element("pre", { class: "log" }, JSON.stringify(job.description, null, 1))),
  ];
}

// --------------------------------------------------------------------------------------------------- tuning jobs
function tuningHead(job) {
  const done = job.trials.filter((trial) => ENDED.includes(trial.status)).length;
  return [
    element("div", { class: "top" }, element("a", { class: "back", href: "#" }, "‹ all jobs"), element("h2", {}, job.name), badge(job.status)),
    ...(job.failure ? [element("p", { class: "failure" }, job.failure)] : []),
    element("p", { class: "single" }, element("span", {}, `${job.strategy}: ${job.objective.type} ${job.objective.name}`),
      element("span", {}, `${done} of ${job.of ?? job.trials.length} training jobs have ended`)),
  ];
}

// Objective against training job, in the order in which they began; a line joins the best ones until then.
function trialsPlot(job) {
  const known = job.trials.map((trial, index) => ({ ...trial, at: index + 1 })).filter((trial) => trial.objective !== null);
  if (!known.length) return [];
  const values = known.map((trial) => trial.objective);
  const count = Math.max(2, job.trials.length);
  const frame = axes(`${job.objective.name} of each training job`, Math.min(...values), Math.max(...values), "1", String(count));
  const x = (at) => frame.x((at - 1) / (count - 1));
  const isBetter = (value, than) => (job.objective.type === "Maximize" ? value > than : value < than);
  let best = values[0];
  const line = known.map((trial) => { if (isBetter(trial.objective, best)) best = trial.objective; return `${x(trial.at).toFixed(1)},${frame.y(best).toFixed(1)}`; });
  frame.svg.append(drawn("polyline", { class: "s5", points: line.join(" ") }));
  for (const trial of known) {
    const dot = drawn("circle", { class: trial.best ? "s2 best" : "s0", cx: x(trial.at), cy: frame.y(trial.objective), r: trial.best ? 6 : 3.4 });
    dot.append(drawn("title", {}, `${trial.name}: ${figure(trial.objective)}`));
    frame.svg.append(dot);
  }
  const legend = [element("b", {}, job.objective.name), element("span", { class: "s2" }, `best ${figure(best)}`), element("span", { class: "s5" }, "best until then")];
  return [element("figure", { class: "trials" }, element("figcaption", {}, ...legend), frame.svg)];
}

function trialsTable(job) {
  if (!job.trials.length) return [];
  const names = [...new Set(job.trials.flatMap((trial) => Object.keys(trial.values)))];
  const columns = ["training job", "status", job.objective.name, ...names];
  const sign = job.objective.type === "Maximize" ? -1 : 1;
  const rank = (trial) => (trial.objective === null ? Infinity : sign * trial.objective);
  const rows = [...job.trials].sort((one, other) => (rank(one) === rank(other) ? 0 : rank(one) - rank(other))).map((trial) => element("tr", { class: trial.best ? "best" : null },
    element("td", {}, element("a", { href: `#training/${trial.key}` }, trial.name)), element("td", {}, badge(trial.status)),
    element("td", { class: "number" }, trial.objective === null ? "" : figure(trial.objective)),
    ...names.map((name) => element("td", { class: "number" }, shortened(trial.values[name] ?? "")))));
  return [element("h3", {}, "Training jobs"), element("div", { class: "wide" }, element("table", { id: "trials" },
    element("thead", {}, element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name)))), element("tbody", {}, ...rows)))];
}

const shortened = (text) => (/^-?\d+\.\d{4,}|e-/.test(text) && Number.isFinite(Number(text)) ? figure(Number(text)) : text);

// ------------------------------------------------------------------------------------------------------ results
function results(found, job) {
  const link = (uri, more = "") => `${pathOf(job)}/file?uri=${encodeURIComponent(uri)}${more}`;
  const parts = [];
  if (found.evaluation) parts.push(element("div", {}, element("h3", {}, "Evaluation"), scores(found.evaluation), matrix(found.evaluation.confusion_matrix)));
  if (found.files) parts.push(element("div", {}, element("h3", {}, "Files"), ...found.files.map((place) => files(place, link))));
  const report = found.report ? [element("details", { class: "report", ontoggle: (event) => {
    const details = event.target;
    if (details.open && !details.querySelector("iframe")) details.append(element("iframe", { src: link(found.report, "&view=1"), title: "Profiler report", sandbox: "allow-scripts" }));
  } }, element("summary", {}, "Profiler report"))] : [];
  return parts.length || report.length ? [element("div", { class: "results" }, ...parts), ...report] : [];
}

function scores(evaluation) {
  const rows = Object.entries(evaluation.metrics ?? {}).filter(([, metric]) => typeof metric?.value === "number");
  return element("p", { class: "single" }, ...rows.map(([name, metric]) => number(name.replaceAll("_", " "), metric.value)));
}

function matrix(confusion) {
  const counts = confusion?.counts;
  if (!Array.isArray(counts) || !counts.every((row) => Array.isArray(row) && row.every(Number.isFinite))) return null;
  const rows = counts.map((row, truth) => {
    const total = Math.max(1, row.reduce((sum, count) => sum + count, 0));
    return element("tr", {}, element("th", { scope: "row" }, String(truth + 1)), ...row.map((count, predicted) => {
      const cell = element("td", { class: truth === predicted ? "number right" : "number", title: `${Math.round((100 * count) / total)} % of the row` }, String(count));
      cell.style.setProperty("--share", String(count / total));
      return cell;
    }));
  });
  const top = element("tr", {}, element("th", {}), ...counts.map((_, predicted) => element("th", { scope: "col" }, String(predicted + 1))));
  return element("table", { class: "matrix", id: "matrix" }, element("caption", {}, `${confusion.rows ?? "true"} by row, ${confusion.columns ?? "predicted"} by column`), element("tbody", {}, top, ...rows));
}

function files(place, link) {
  const entry = (file) => element("li", {}, element("a", { href: link(`s3://${place.uri.slice(5).split("/")[0]}/${file.key}`), download: "" }, file.name), ` ${size(file.bytes)}`);
  if (place.count === 1) return element("ul", { class: "files" }, element("li", {}, `${place.label}: `, ...entry(place.files[0]).childNodes));
  const more = place.count > place.files.length ? [element("li", { class: "hint" }, `and ${place.count - place.files.length} more at ${place.uri}`)] : [];
  return element("details", {}, element("summary", {}, `${place.label}: ${place.count} files, ${size(place.bytes)}`), element("ul", { class: "files" }, ...place.files.map(entry), ...more));
}

// ------------------------------------------------------------------------------------------------------- charts
function plots(charts) {
  const groups = new Map();
  for (const [name, points] of Object.entries(charts)) {
    const quantity = name.includes(":") ? name.slice(name.lastIndexOf(":") + 1) : name;
    groups.set(quantity, [...(groups.get(quantity) ?? []), [name, points]]);
  }
  // A value that comes once is no line.
  const isLine = ([, series]) => series.some(([, values]) => values.length > 1);
  const single = [...groups].filter((group) => !isLine(group)).flatMap(([, series]) => series);
  const numbers = single.map(([name, values]) => number(name, values[0][1]));
  return [
    element("div", { class: "charts" }, ...[...groups].filter(isLine).map(([quantity, series]) => plot(quantity, series))),
    ...(numbers.length ? [element("p", { class: "single" }, ...numbers)] : []),
  ];
}

function plot(quantity, series) {
  const points = series.flatMap(([, values]) => values);
  const start = Math.min(...points.map(([time]) => time));
  const length = Math.max(1, ...points.map(([time]) => time - start));
  const values = points.map(([, value]) => value);
  const { svg, y, x: across } = axes(`${quantity} over time`, Math.min(...values), Math.max(...values), "0 s", span(length));
  const x = (time) => across((time - start) / length);
  const legend = [element("b", {}, quantity)];
  series.forEach(([name, values], index) => {
    const colour = `s${index % 6}`;
    if (values.length > 1) svg.append(drawn("polyline", { class: colour, points: values.map(([time, value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }));
    if (values.length <= 40) for (const [time, value] of values) svg.append(drawn("circle", { class: colour, cx: x(time), cy: y(value), r: 2.6 }));
    legend.push(element("span", { class: colour }, `${series.length > 1 || name !== quantity ? name : "last"} ${figure(values.at(-1)[1])}`));
  });
  return element("figure", {}, element("figcaption", {}, ...legend), svg);
}

// An empty chart: `x` takes a share of its width, `y` a value.
function axes(label, least, most, first, last) {
  const [width, height, left, bottom] = [420, 190, 44, 22];
  const [low, high, step] = scale(least, most);
  const x = (share) => left + share * (width - left - 6);
  const y = (value) => 8 + (1 - (value - low) / (high - low)) * (height - bottom - 8);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (let value = low; value <= high + step / 2; value += step) {
    svg.append(drawn("line", { class: "grid", x1: left, x2: width - 6, y1: y(value), y2: y(value) }));
    svg.append(drawn("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, figure(Math.abs(value) < step / 1e6 ? 0 : value)));
  }
  svg.append(drawn("text", { x: left, y: height - 4 }, first), drawn("text", { x: width - 6, y: height - 4, "text-anchor": "end" }, last));
  return { svg, x, y };
}

function scale(least, most) {
  if (least === most) [least, most] = [least - Math.abs(least || 1) / 2, most + Math.abs(most || 1) / 2];
  const raw = (most - least) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw);
  return [Math.floor(least / step) * step, Math.ceil(most / step) * step, step];
}

// ------------------------------------------------------------------------------------------------------- begin
async function refresh() {
  try {
    await state.shown?.refresh();
  } catch (error) {
    if (!(error instanceof TypeError)) byId("job").replaceChildren(element("p", { class: "hint" }, error.message));
  }
}

async function choose() {
  state.chosen = decodeURIComponent(location.hash.slice(1));
  document.body.classList.toggle("chosen", state.chosen !== "");
  state.shown = state.chosen ? new Shown(state.chosen) : null;
  if (!state.shown) byId("job").replaceChildren(element("p", { class: "hint" }, "Choose a job."));
  list();
  await refresh();
}

async function tick() {
  for (;;) {
    await sleep(1);
    list();
    if (state.shown && !state.shown.ended && !document.hidden) await refresh();
  }
}

// The address had the token, which the cookie stands for from now on.
if (location.search) history.replaceState(null, "", location.pathname + location.hash);
byId("endpoint").textContent = `AWS_ENDPOINT_URL=${location.origin}`;
addEventListener("hashchange", choose);
choose();
follow();
tick();
