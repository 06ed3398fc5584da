// The table of trials: a page of it, as the chief sorts and filters it; and one trial in a dialog.

import { drawLines } from "./charts.js";
import { arrange, byId, clock, count, duration, node, say, score, shown } from "./dom.js";

const PAGE = 50;
const STATES = [["", "all"], ["RUNNING", "running"], ["COMPLETED", "completed"], ["STOPPED", "stopped early"], ["FAILED", "failed"], ["QUEUED", "queued"]];
const LOOKS = { RUNNING: "running", COMPLETED: "completed", STOPPED: "stopped", FAILED: "failed", QUEUED: "queued" };
const FIRST_DOWN = new Set(["epochs", "rung", "seconds"]);

/** What is asked for; it lives in the address, so that a page that is loaded again shows the same. */
export class Query {
  constructor(changed) {
    this.changed = changed;
    const given = new URLSearchParams(location.hash.slice(1));
    this.state = given.get("state") || "";
    this.sort = given.get("sort") || "interest";
    this.down = given.get("down") === "true";
    this.offset = Math.max(0, Number.parseInt(given.get("offset") || "0", 10) || 0);
  }

  /** Ask for what is asked for at first: an address may have been written by hand. */
  reset() {
    this.set({ state: "", sort: "interest", down: false, offset: 0 });
  }

  set(values) {
    Object.assign(this, values);
    history.replaceState(null, "", `#${this.parameters()}`);
    this.changed();
  }

  parameters() {
    const given = new URLSearchParams({ sort: this.sort, down: this.down, offset: this.offset });
    if (this.state) given.set("state", this.state);
    return given;
  }

  get path() {
    return `trials.json?${this.parameters()}&limit=${PAGE}`;
  }
}

export function drawFilters(query, overview) {
  const target = byId("filters");
  if (!target.children.length) {
    target.append(...STATES.map(([state]) => node("button", { type: "button", onclick: () => query.set({ state, offset: 0 }) })));
  }
  const total = Object.values(overview.counts).reduce((sum, each) => sum + each, 0);
  STATES.forEach(([state, word], index) => {
    const button = target.children[index];
    const number = state ? overview.counts[state] : total;
    say(button, `${word} ${count(number)}`);
    button.setAttribute("aria-pressed", String(query.state === state));
    button.hidden = Boolean(state) && !number && query.state !== state;
  });
}

export function drawTrials(query, page, objective, open) {
  const columns = [
    ["trial", "trial", ""], ["state", "state", ""], ["epochs", "epochs", "number"], ["score", objective, "number"],
    ["rung", "rung", "number"], ["seconds", "took", "number"],
    ...page.columns.map((name) => [`hp:${name}`, name, page.rows.some((row) => Object.hasOwn(row.hyperparameters, name) && typeof row.hyperparameters[name] === "number") ? "number" : ""]),
    [null, "worker", ""], [null, "about", ""],
  ];
  drawHead(query, columns);
  const body = byId("table").tBodies[0];
  const rows = new Map([...body.rows].map((row) => [row.dataset.trial, row]));
  arrange(body, page.rows.map((trial) => drawRow(rows.get(trial.trial), trial, page.columns, columns, open)));
  const last = page.offset + page.rows.length;
  say(byId("range"), page.matching ? `${count(page.offset + 1)}–${count(last)} of ${count(page.matching)}` : "none");
  byId("previous").disabled = page.offset === 0;
  byId("next").disabled = last >= page.matching;
}

export function turnPages(query) {
  byId("previous").onclick = () => query.set({ offset: Math.max(0, query.offset - PAGE) });
  byId("next").onclick = () => query.set({ offset: query.offset + PAGE });
}

function drawHead(query, columns) {
  const head = byId("table").tHead.rows[0];
  const known = new Map([...head.cells].map((cell) => [cell.dataset.key, cell]));
  arrange(head, columns.map(([key, name, look]) => {
    const id = key ?? `-${name}`;
    const cell = known.get(id) ?? node("th", { scope: "col" }, key ? node("button", { type: "button", title: name, onclick: () => sortBy(query, key) }, name) : name);
    cell.dataset.key = id;
    cell.className = look;
    if (key && query.sort === key) cell.setAttribute("aria-sort", query.down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
    return cell;
  }));
}

/** Up, down, and back to the order of interest. */
function sortBy(query, key) {
  const first = FIRST_DOWN.has(key) || (key === "score" && query.direction !== "min");
  if (query.sort !== key) query.set({ sort: key, down: first, offset: 0 });
  else if (query.down === first) query.set({ down: !first, offset: 0 });
  else query.set({ sort: "interest", down: false, offset: 0 });
}

function drawRow(row, trial, names, columns, open) {
  const made = row ?? node("tr", {}, node("td", {}, node("button", { type: "button", onclick: () => open(trial.trial) }, trial.trial)));
  made.dataset.trial = trial.trial;
  made.className = trial.best ? "best" : "";
  const attempts = trial.attempts > 1 ? `attempt ${trial.attempts}` : "";
  const cells = [
    trial.state.toLowerCase(), trial.epochs ? `${trial.epochs} / ${trial.epochs_planned}` : "", trial.score === null ? "" : score(trial.score),
    trial.rung === null ? "" : String(trial.rung), trial.seconds === null ? "" : duration(trial.seconds),
    ...names.map((name) => (Object.hasOwn(trial.hyperparameters, name) ? shown(trial.hyperparameters[name]) : "")),
    trial.worker ?? "", [trial.best ? "the best" : "", attempts, trial.reason].filter(Boolean).join(" · "),
  ];
  while (made.cells.length > cells.length + 1) made.cells[made.cells.length - 1].remove();
  while (made.cells.length < cells.length + 1) made.append(node("td"));
  cells.forEach((text, index) => {
    const cell = made.cells[index + 1];
    say(cell, text);
    if (cell.title !== text) cell.title = text;
    cell.className = index === 0 ? LOOKS[trial.state] : index === cells.length - 1 ? "wide" : columns[index + 1][2];
  });
  return made;
}

/** Fill the dialog with a trial. */
export function drawTrial({ row, hyperparameters, outcomes, ended, best_epoch, reason, curves }) {
  say(byId("trial-title"), `Trial ${row.trial}${row.best ? ", the best so far" : ""}`);
  const lost = Object.entries(outcomes).map(([outcome, times]) => `${times} ${outcome.replaceAll("_", " ")}`).join(", ");
  const facts = [
    ["state", row.state.toLowerCase()],
    ["epochs", `${row.epochs} of ${row.epochs_planned}${best_epoch ? `, the best is number ${best_epoch}` : ""}`],
    ["score", row.score === null ? null : score(row.score)],
    ["attempts", `${row.attempts}${lost ? ` (${lost})` : ""}`],
    ["worker", row.worker],
    ["began", row.started === null ? null : clock(1000 * row.started, true)],
    ["ended", ended === null ? null : `${clock(1000 * ended, true)}, after ${duration(row.seconds)}`],
    ["what it logged", `cifake-tune logs ${row.trial}`],
  ].filter(([, value]) => value !== null);
  const charts = node("div", { class: "metrics" });
  byId("trial-body").replaceChildren(
    list(facts),
    node("h3", {}, "Hyperparameters"), list(Object.entries(hyperparameters).map(([name, value]) => [name, String(value)])),
    ...(Object.keys(curves).length ? [node("h3", {}, "Metrics by epoch"), charts] : []),
    ...(reason ? [node("h3", {}, row.state === "RUNNING" || row.state === "QUEUED" ? "How its last attempt ended" : "Why it ended"), node("pre", {}, reason)] : []),
  );
  return () => drawMetrics(charts, curves);
}

function list(entries) {
  return node("dl", { class: "facts" }, ...entries.flatMap(([name, value]) => [node("dt", {}, name), node("dd", {}, value)]));
}

/** A chart for each metric, with that of the validation images in the same. */
function drawMetrics(target, curves) {
  const pairs = Map.groupBy(Object.keys(curves), (name) => name.replace(/^val_/, ""));
  const draws = [];
  for (const [name, both] of pairs) {
    const chart = node("div", { class: "chart" }), readout = node("p", { class: "readout quiet" });
    const words = both.length > 1 ? `${name}: training dashed, validation solid` : both[0];
    target.append(node("div", {}, node("h4", {}, words), chart, readout));
    const lines = both.map((each) => ({
      name: each, points: curves[each], class: each.startsWith("val_") || both.length === 1 ? "completed first" : "running second",
    }));
    draws.push(() => drawLines(chart, lines, { empty: "No number was reported.", label: `${words}, by epoch` },
      (found) => say(readout, found ? `${found.line.name}, epoch ${found.epoch}: ${score(found.value)}` : "")));
  }
  draws.forEach((draw) => draw());  // now that all have their place
}
