// Charts, workers and rungs.

import { drawHistory, drawLines } from "./charts.js";
import { byId, count, duration, node, say, score, share } from "./dom.js";
import { endedOf, lookOf } from "./states.js";
import { trialButton } from "./top.js";

export function drawCharts(overview, open) {
  drawScores(overview);
  drawCurves(overview, open);
}

function drawScores(overview) {
  const brown = overview.dots.some((dot) => dot.stopped) ? ", brown if it was stopped early" : "";
  const legend = overview.steps.length ? `one dot per trial${brown}; the line is the best so far` : "";
  const tell = (found) => say(byId("history-readout"), found ? `trial ${found.trial}: ${score(found.score)}` : legend);
  drawHistory(byId("history"), { ...overview, ended: endedOf(overview) }, tell);
  tell(null);
}

function drawCurves(overview, open) {
  const lines = overview.curves.map((curve) => ({
    name: curve.trial,
    points: curve.points,
    mark: curve.state === "RUNNING",
    class: curve.best ? "completed first" : lookOf(curve.state),
  }));
  const running = lines.filter((line) => line.mark).length, best = lines.length - running;
  const whose = [
    best && `the best trials (${count(best)}, the best one bold)`, running && `running trials (${count(running)})`,
  ];
  const legend = lines.length ? `${overview.objective} of ${whose.filter(Boolean).join(" and ")}` : "";
  let near = null;
  const tell = (found) => {
    near = found;
    const said = found && `trial ${found.line.name}, epoch ${found.epoch}: ${score(found.value)}`;
    say(byId("curves-readout"), said ?? legend);
  };
  drawLines(byId("curves"), lines, {
    empty: "No epoch has been reported yet.",
    direction: overview.direction,
    label: `${overview.objective} by epoch of ${lines.length} trials; the table below has their numbers`,
  }, tell);
  tell(null);
  byId("curves").onclick = () => near && open(near.line.name);
}

export function drawWorkers(overview, open) {
  const total = Object.values(overview.worker_counts).reduce((sum, each) => sum + each, 0);
  const none = overview.ended === null ? "No worker has joined yet." : "All workers have left.";
  const more = total > overview.workers.length ? ` The first ${overview.workers.length} are shown.` : "";
  const some = `${count(overview.worker_counts.training)} of ${count(total)} are training.${more}`;
  say(byId("workers-note"), total ? some : none);
  byId("workers").hidden = !total;
  say(byId("speed"), `${overview.unit}/s`);
  byId("workers").tBodies[0].replaceChildren(...overview.workers.map((worker) => drawWorker(worker, open)));
}

function drawWorker(worker, open) {
  const bar = node("progress", { max: 1, value: worker.progress, "aria-label": "of the epoch" });
  const epoch = share(worker.epoch, worker.epochs);
  const again = worker.attempt > 1 ? ` attempt ${worker.attempt}` : "";
  const ago = worker.silent_s < 3 ? "now" : `${duration(worker.silent_s)} ago`;
  return node("tr", {},
    node("td", { title: worker.name }, worker.name),
    node("td", { class: worker.state }, worker.state),
    node("td", {}, ...(worker.trial ? [trialButton(worker.trial, open), again] : ["–"])),
    node("td", {}, ...(worker.trial ? [bar, epoch] : ["–"])),
    node("td", {}, worker.device || "–"),
    node("td", { class: "number" }, worker.images_per_s ? count(Math.round(worker.images_per_s)) : "–"),
    node("td", { class: "number" }, worker.heard ? ago : "not by this chief"),
  );
}

export function drawRungs(overview) {
  const none = !overview.rungs.length;
  byId("rungs-section").hidden = none;
  byId("rungs-section").parentElement.classList.toggle("alone", none);
  const until = overview.promotes ? "A trial is paused at a rung as long as" : "A trial is stopped at a rung if";
  say(byId("rungs-note"), `${until} its ${overview.objective} is worse than in the last column.`);
  say(byId("rungs-left"), overview.promotes ? "paused" : "stopped");
  byId("rungs").tBodies[0].replaceChildren(...overview.rungs.map((rung) => node("tr", {},
    node("td", {}, String(rung.rung)),
    ...[count(rung.epoch), count(rung.reached), count(overview.promotes ? rung.paused + rung.stopped : rung.stopped),
      rung.cut !== null ? score(rung.cut) : rung.all_continue ? "any" : "none yet"]
      .map((text) => node("td", { class: "number" }, text)))));
}
