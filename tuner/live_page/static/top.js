// The top of the page: the progress of the study, and the best trial so far.

import { byId, clock, count, duration, interval, node, percent, say, score, shown } from "./dom.js";
import { STATES, endedOf, trialsOf } from "./states.js";

const SEARCH = {
  running: { word: "running", look: "running" },
  paused: { word: "paused", look: "paused" },
  finished: { word: "finished", look: "completed" },
  given_up: { word: "given up", look: "failed" },
};
const FAULT = { word: "ended with a fault", look: "failed" };
/** Order of the states in the bar: trials that have ended come first. */
const IN_BAR = ["COMPLETED", "STOPPED", "FAILED", "RUNNING", "PAUSED"];

export function drawTop(overview, open) {
  const search = overview.fault ? FAULT : SEARCH[overview.search];
  say(byId("study"), overview.study);
  say(byId("search"), search.word);
  byId("search").className = `chip ${search.look}`;
  const aim = overview.direction === "max" ? "highest" : "lowest";
  const chief = overview.chiefs > 1 ? `, chief number ${overview.chiefs}` : "";
  say(byId("about"), `${overview.algorithm} search for the ${aim} ${overview.objective}${chief}`);
  const planned = overview.max_trials === null ? "" : `/${overview.max_trials + overview.repetitions}`;
  document.title = `${endedOf(overview)}${planned} trials · ${score(overview.best?.score)} · ${overview.study}`;
  drawBar(overview);
  byId("tiles").replaceChildren(...tiles(overview).filter(Boolean).map(drawTile));
  drawBest(overview.best, open);
  byId("places").replaceChildren(
    "Evaluation: ", node("code", {}, overview.evaluation_at), " · bucket: ", node("code", {}, overview.bucket),
    ` · cifake-tune ${overview.version}`,
  );
}

function drawBar(overview) {
  const total = Math.max((overview.max_trials ?? 0) + overview.repetitions, trialsOf(overview));
  const there = STATES.filter(({ state }) => overview.counts[state]);
  byId("bar").replaceChildren(...IN_BAR.flatMap((state) => there.filter((each) => each.state === state)).map((each) => {
    const part = node("i", { class: each.look });
    part.style.width = `${(100 * overview.counts[each.state]) / total}%`;
    return part;
  }));
  const said = there.map(({ state, word }) => `${count(overview.counts[state])} ${word}`);
  byId("bar").setAttribute("aria-label", `Of ${count(total)} trials: ${said.join(", ") || "none yet"}`);
  byId("counts").replaceChildren(...there.map(({ state, word, look }) => node("li", { class: look },
    node("b", {}, count(overview.counts[state])), ` ${word}`)));
}

function drawTile([name, value, more]) {
  return node("div", {}, node("dt", {}, name), node("dd", {}, value, more ? node("small", {}, more) : null));
}

/** The name, value and note of each tile. */
function tiles(overview) {
  const { best, result } = overview;
  return [
    [`best ${overview.objective}`, score(best?.score),
      best ? `trial ${best.trial}` : `no trial has ${endedOf(overview) ? "a score" : "ended yet"}`],
    trialsTile(overview),
    overview.ended === null ? leftTile(overview) : endTile(overview),
    elapsedTile(overview),
    ...overview.budgets.map((budget) => [budget.budget, budget.text, "budget of the search"]),
    overview.confirmation && ["repetitions", count(overview.repetitions), overview.confirmation],
    workTile(overview.work),
    ["epochs trained", count(overview.epochs_trained),
      overview.epochs_saved ? `${count(overview.epochs_saved)} saved by early stopping` : ""],
    workersTile(overview),
    result && (result.results ? ownResultTile(result.results) : ["test accuracy", percent(result.accuracy),
      `95 % interval ${interval(result.accuracy_interval_95)}, ${count(result.images)} images`]),
  ];
}

/** The numbers of a space with its own data or evaluation. */
function ownResultTile(results) {
  const [[name, value], ...others] = Object.entries(results);
  return [`test ${name}`, score(value), others.map(([other, number]) => `${other} ${score(number)}`).join(", ")];
}

function trialsTile(overview) {
  const done = endedOf(overview), total = overview.max_trials + overview.repetitions;
  if (overview.max_trials === null) return ["trials", count(done), "have ended"];
  return ["trials", `${count(done)} / ${count(total)}`, `${Math.floor((100 * done) / total)} % have ended`];
}

function leftTile({ remaining_s: seconds, ending, paused_since: since }) {
  if (ending) return ["time left", "ending", `ended by ${ending}; running trials stop after their epoch`];
  if (since !== null) return ["time left", "paused", `since ${clock(1000 * since)}; cifake-tune resume continues it`];
  if (seconds === null) return ["time left", "–", "not known yet"];
  return ["time left", duration(seconds), `until about ${clock(Date.now() + 1000 * seconds)}`];
}

function endTile(overview) {
  return ["ended", overview.ended === null ? "–" : clock(1000 * overview.ended), overview.reason];
}

/** The time of all workers: its total with the cost, and its parts. */
function workTile(work) {
  if (!work) return null;
  return ["worker-hours", work.total, work.outcomes];
}

function elapsedTile({ started, ended, at }) {
  const name = ended === null ? "running for" : "ran for";
  if (started === null) return [name, "–", "no trial has begun"];
  return [name, duration((ended ?? at) - started), `since ${clock(1000 * started)}`];
}

function workersTile({ worker_counts: { training, idle, silent }, images_per_s, unit }) {
  const speed = images_per_s ? `${count(Math.round(images_per_s))} ${unit}/s` : "none is training";
  return ["workers", count(training + idle + silent), silent ? `${speed}, ${count(silent)} silent` : speed];
}

function drawBest(best, open) {
  byId("best").hidden = !best;
  if (!best) return;
  const values = Object.entries(best.hyperparameters).flatMap(([name, value]) =>
    [" · ", node("bdi", {}, name), " ", node("bdi", {}, shown(value))]);
  byId("best").replaceChildren("The best is trial ", trialButton(best.trial, open), ...values);
}

export function trialButton(trial, open) {
  return node("button", { type: "button", onclick: () => open(trial) }, trial);
}
