// The parts of the page, each drawn from what the chief says.

import { drawHistory, drawLines } from "./charts.js";
import { byId, clock, count, duration, node, percent, say, score, shown } from "./dom.js";

const STATES = ["COMPLETED", "STOPPED", "FAILED", "RUNNING", "QUEUED"];
const WORDS = { COMPLETED: "completed", STOPPED: "stopped early", FAILED: "failed", RUNNING: "running", QUEUED: "queued" };
const SEARCH = { running: ["running", "running"], finished: ["finished", "completed"], given_up: ["given up", "failed"] };

export function ended(overview) {
  return overview.counts.COMPLETED + overview.counts.STOPPED + overview.counts.FAILED;
}

export function drawTop(overview, open) {
  const done = ended(overview), total = overview.max_trials;
  say(byId("study"), overview.study);
  const [word, look] = SEARCH[overview.search];
  byId("search").className = `chip ${look}`;
  say(byId("search"), word);
  const chief = overview.chiefs > 1 ? `, chief number ${overview.chiefs}` : "";
  say(byId("about"), `${overview.algorithm} search for the ${overview.direction === "max" ? "highest" : "lowest"} ${overview.objective}${chief}`);
  document.title = `${done}${total === null ? "" : `/${total}`} trials · ${score(overview.best?.score)} · ${overview.study}`;
  drawBar(overview, Math.max(total ?? 0, Object.values(overview.counts).reduce((sum, each) => sum + each, 0)));
  drawTiles(overview, done);
  drawBest(overview.best, open);
  byId("places").replaceChildren(
    "Evaluation: ", node("code", {}, overview.evaluation_at), " · bucket: ", node("code", {}, overview.bucket),
    ` · cifake-tune ${overview.version}`,
  );
}

function drawBar(overview, total) {
  const parts = STATES.filter((state) => overview.counts[state]);
  byId("bar").replaceChildren(...parts.filter((state) => state !== "QUEUED").map((state) => {
    const part = node("i", { class: WORDS[state].split(" ")[0] });
    part.style.width = `${(100 * overview.counts[state]) / total}%`;
    return part;
  }));
  const said = parts.map((state) => `${count(overview.counts[state])} ${WORDS[state]}`);
  byId("bar").setAttribute("aria-label", `Of ${count(total)} trials: ${said.join(", ") || "none yet"}`);
  byId("counts").replaceChildren(...parts.map((state) => node("li", { class: WORDS[state].split(" ")[0] },
    node("b", {}, count(overview.counts[state])), ` ${WORDS[state]}`)));
}

function drawBest(best, open) {
  byId("best").hidden = !best;
  if (!best) return;
  const values = Object.entries(best.hyperparameters).flatMap(([name, value]) => [" · ", node("bdi", {}, name), " ", node("bdi", {}, shown(value))]);
  byId("best").replaceChildren("The best is trial ", trialButton(best.trial, open), ...values);
}

function drawTiles(overview, done) {
  const best = overview.best, total = overview.max_trials;
  const elapsed = overview.started === null ? null : (overview.ended ?? overview.at) - overview.started;
  const workers = overview.worker_counts;
  const silent = workers.silent ? `, ${count(workers.silent)} silent` : "";
  const tiles = [
    [`best ${overview.objective}`, score(best?.score), best ? `trial ${best.trial}` : "no trial has ended yet"],
    ["trials", total === null ? count(done) : `${count(done)} / ${count(total)}`, total ? `${Math.floor((100 * done) / total)} % have ended` : "have ended"],
    overview.search === "running"
      ? ["time left", duration(overview.left_s),
        overview.left_s === null ? "not known yet" : `until about ${clock(Date.now() + 1000 * overview.left_s)}`]
      : ["ended", overview.ended === null ? "–" : clock(1000 * overview.ended), overview.reason],
    [overview.search === "running" ? "running for" : "ran for", duration(elapsed), overview.started === null ? "no trial has begun" : `since ${clock(1000 * overview.started)}`],
    ["epochs trained", count(overview.epochs_trained), overview.epochs_saved ? `${count(overview.epochs_saved)} saved by early stopping` : ""],
    ["workers", count(workers.training + workers.idle + workers.silent),
      overview.images_per_s ? `${count(Math.round(overview.images_per_s))} images/s${silent}` : `none is training${silent}`],
  ];
  if (overview.result) {
    const { accuracy, accuracy_interval_95: [low, high], images } = overview.result;
    tiles.push(["test accuracy", percent(accuracy), `95 % interval ${percent(low)} to ${percent(high)}, ${count(images)} images`]);
  }
  byId("tiles").replaceChildren(...tiles.map(([name, value, more]) => node("div", {},
    node("dt", {}, name), node("dd", {}, value, more ? node("small", {}, more) : null))));
}

export function drawCharts(overview, open) {
  const tellScore = (found) => say(byId("history-readout"), found ? `trial ${found.trial}: ${score(found.score)}`
    : overview.steps.length ? `a dot a trial${overview.dots.some((dot) => dot.stopped) ? ", brown where it was stopped early" : ""}; the line is the best so far` : "");
  drawHistory(byId("history"), { ...overview, ended: ended(overview) }, tellScore);
  tellScore(null);
  const lines = overview.curves.map((curve) => ({
    name: curve.trial,
    points: curve.points,
    mark: curve.state === "RUNNING",
    class: curve.best ? "completed first" : curve.state.toLowerCase(),
  }));
  const running = lines.filter((line) => line.mark).length, best = lines.length - running;
  const whose = [best && `the best ${count(best)}, the very best bold`, running && `${count(running)} that run`].filter(Boolean).join("; ");
  let near = null;
  const tellLine = (found) => {
    near = found;
    say(byId("curves-readout"), found ? `trial ${found.line.name}, epoch ${found.epoch}: ${score(found.value)}`
      : lines.length ? `${overview.objective} of ${whose}` : "");
  };
  drawLines(byId("curves"), lines, {
    empty: "No epoch has been reported yet.", direction: overview.direction,
    label: `${overview.objective} by epoch of ${lines.length} trials; the table below has their numbers`,
  }, tellLine);
  tellLine(null);
  byId("curves").onclick = () => near && open(near.line.name);
}

export function drawWorkers(overview, open) {
  const total = Object.values(overview.worker_counts).reduce((sum, each) => sum + each, 0);
  const more = total > overview.workers.length ? ` The first ${overview.workers.length} are shown.` : "";
  say(byId("workers-note"), total ? `${count(overview.worker_counts.training)} of ${count(total)} train.${more}`
    : overview.search === "running" ? "No worker has joined yet." : "The workers have gone.");
  byId("workers").hidden = !total;
  byId("workers").tBodies[0].replaceChildren(...overview.workers.map((worker) => node("tr", {},
    node("td", { title: worker.name }, worker.name),
    node("td", { class: worker.state }, worker.state),
    node("td", {}, worker.trial ? trialButton(worker.trial, open) : "–", worker.attempt > 1 ? ` attempt ${worker.attempt}` : ""),
    node("td", {}, ...(worker.trial ? [node("progress", { max: 1, value: worker.progress, "aria-label": "of the epoch" }),
      `${worker.epoch}${worker.epochs ? ` / ${worker.epochs}` : ""}`] : ["–"])),
    node("td", { class: "number" }, worker.images_per_s ? count(Math.round(worker.images_per_s)) : "–"),
    node("td", { class: "number" }, worker.silent_s < 3 ? "now" : `${duration(worker.silent_s)} ago`),
  )));
}

export function drawRungs(overview) {
  const none = !overview.rungs.length;
  byId("rungs-section").hidden = none;
  byId("rungs-section").parentElement.classList.toggle("alone", none);
  say(byId("rungs-note"), `A trial that reaches a rung with a worse ${overview.objective} is stopped.`);
  byId("rungs").tBodies[0].replaceChildren(...overview.rungs.map((rung) => node("tr", {},
    node("td", {}, String(rung.rung)), node("td", { class: "number" }, count(rung.epoch)),
    node("td", { class: "number" }, count(rung.reached)), node("td", { class: "number" }, count(rung.stopped)),
    node("td", { class: "number" }, rung.cut === null ? "anything" : score(rung.cut)))));
}

function trialButton(trial, open) {
  return node("button", { type: "button", onclick: () => open(trial) }, trial);
}
