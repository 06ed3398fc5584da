// One page of the table of trials, sorted and filtered by the chief.

import { arrange, byId, count, duration, node, say, score, share, shown } from "./dom.js";
import { STATES, lookOf, trialsOf } from "./states.js";
import { trialButton } from "./top.js";

const PAGE = 50;
/** Sort keys whose largest values come first at the first click. */
const FIRST_DOWN = new Set(["epochs", "rung", "seconds"]);

const RUNG = { key: "rung", name: "rung", number: true, text: (trial) => String(trial.rung ?? "") };

/** The query for trials. It is kept in the page's address, so that a reloaded page shows the same trials. */
export class Query {
  constructor(changed) {
    this.changed = changed;
    const given = new URLSearchParams(location.hash.slice(1));
    this.state = given.get("state") || "";
    this.sort = given.get("sort") || "interest";
    this.down = given.get("down") === "true";
    this.offset = Math.max(0, Number.parseInt(given.get("offset") || "0", 10) || 0);
  }

  /** Return to the default query, because an address written by hand may be invalid. */
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
  const filters = [{ state: "", word: "all" }, ...STATES];
  if (!target.children.length) {
    target.append(...filters.map(({ state }) =>
      node("button", { type: "button", onclick: () => query.set({ state, offset: 0 }) })));
  }
  filters.forEach(({ state, word }, index) => {
    const button = target.children[index];
    const number = state ? overview.counts[state] : trialsOf(overview);
    say(button, `${word} ${count(number)}`);
    button.setAttribute("aria-pressed", String(query.state === state));
    button.hidden = Boolean(state) && !number && query.state !== state;
  });
}

export function turnPages(query) {
  byId("previous").onclick = () => query.set({ offset: Math.max(0, query.offset - PAGE) });
  byId("next").onclick = () => query.set({ offset: query.offset + PAGE });
}

export function drawTrials(query, page, objective, open) {
  const columns = columnsOf(page, objective);
  drawHead(query, columns);
  const body = byId("table").tBodies[0];
  const rows = new Map([...body.rows].map((row) => [row.dataset.trial, row]));
  arrange(body, page.rows.map((trial) => drawRow(rows.get(trial.trial), trial, columns, open)));
  const last = page.offset + page.rows.length;
  say(byId("range"), page.matching ? `${count(page.offset + 1)}–${count(last)} of ${count(page.matching)}` : "none");
  byId("previous").disabled = page.offset === 0;
  byId("next").disabled = last >= page.matching;
}

/** The columns beside a trial's number. `key` is the chief's sort key, or null if it cannot sort by the column. */
function columnsOf(page, objective) {
  return [
    { key: "state", name: "state", text: (trial) => trial.state.toLowerCase(), look: (trial) => lookOf(trial.state) },
    { key: "epochs", name: "epochs", number: true,
      text: (trial) => (trial.epochs ? share(trial.epochs, trial.epochs_planned) : "") },
    { key: "score", name: objective, number: true, text: (trial) => (trial.score === null ? "" : score(trial.score)) },
    ...(page.rows.some((trial) => trial.rung !== null) ? [RUNG] : []),
    { key: "seconds", name: "took", number: true,
      text: (trial) => (trial.seconds === null ? "" : duration(trial.seconds)) },
    ...page.columns.map((name) => hyperparameter(name, page.rows)),
    { key: null, name: "worker", text: (trial) => trial.worker ?? "" },
    { key: null, name: "about", text: about, look: () => "wide" },
  ];
}

function hyperparameter(name, rows) {
  const value = ({ hyperparameters }) => (Object.hasOwn(hyperparameters, name) ? hyperparameters[name] : "");
  return {
    key: `hp:${name}`,
    name,
    number: rows.some((trial) => typeof value(trial) === "number"),
    text: (trial) => shown(value(trial)),
  };
}

function about(trial) {
  const attempt = trial.attempts > 1 ? `attempt ${trial.attempts}` : "";
  const repeats = trial.repeats ? `repeats ${trial.repeats}` : "";
  return [trial.best ? "the best" : "", repeats, attempt, trial.reason].filter(Boolean).join(" · ");
}

function drawHead(query, columns) {
  const head = byId("table").tHead.rows[0];
  const known = new Map([...head.cells].map((cell) => [cell.dataset.key, cell]));
  arrange(head, [{ key: "trial", name: "trial" }, ...columns].map(({ key, name, number }) => {
    const id = key ?? `-${name}`;
    const cell = known.get(id) ?? node("th", { scope: "col" }, key ? sortButton(query, key, name) : name);
    cell.dataset.key = id;
    cell.className = number ? "number" : "";
    if (key && query.sort === key) cell.setAttribute("aria-sort", query.down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
    return cell;
  }));
}

function sortButton(query, key, name) {
  return node("button", { type: "button", title: name, onclick: () => sortBy(query, key) }, name);
}

/** Sort in one order, at the next click in the other, and then by interest again. */
function sortBy(query, key) {
  const first = FIRST_DOWN.has(key) || (key === "score" && query.direction !== "min");
  if (query.sort !== key) query.set({ sort: key, down: first, offset: 0 });
  else if (query.down === first) query.set({ down: !first, offset: 0 });
  else query.set({ sort: "interest", down: false, offset: 0 });
}

function drawRow(row, trial, columns, open) {
  const made = row ?? node("tr", {}, node("td", {}, trialButton(trial.trial, open)));
  made.dataset.trial = trial.trial;
  made.className = trial.best ? "best" : "";
  while (made.cells.length > columns.length + 1) made.cells[made.cells.length - 1].remove();
  while (made.cells.length < columns.length + 1) made.append(node("td"));
  columns.forEach(({ text, look, number }, index) => {
    const cell = made.cells[index + 1], said = text(trial);
    say(cell, said);
    if (cell.title !== said) cell.title = said;
    cell.className = look ? look(trial) : number ? "number" : "";
  });
  return made;
}
