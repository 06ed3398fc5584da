// A dialog with all details of one trial.

import { drawLines } from "./charts.js";
import { byId, clock, duration, node, say, score, share } from "./dom.js";

/** Show a trial. The charts are drawn last because they take their size from the open dialog. */
export function showTrial(trial) {
  const dialog = byId("trial"), charts = node("div", { class: "metrics" });
  say(byId("trial-title"), `Trial ${trial.row.trial}${trial.row.best ? ", the best so far" : ""}`);
  byId("trial-body").replaceChildren(
    list(facts(trial)),
    node("h3", {}, "Hyperparameters"),
    list(Object.entries(trial.hyperparameters).map(([name, value]) => [name, String(value)])),
    ...(Object.keys(trial.curves).length ? [node("h3", {}, "Metrics by epoch"), charts] : []),
    ...(trial.reason ? [node("h3", {}, why(trial.row.state)), node("pre", {}, trial.reason)] : []),
  );
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  drawMetrics(charts, trial.curves);
}

/** Also close the dialog on a click beside it. */
export function closeBeside() {
  const dialog = byId("trial");
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}

function facts({ row, outcomes, ended, best_epoch }) {
  const lost = Object.entries(outcomes).map(([outcome, times]) => `${times} ${outcome.replaceAll("_", " ")}`);
  const best = best_epoch ? `, best epoch ${best_epoch}` : "";
  return [
    ["state", row.state.toLowerCase()],
    ["epochs", share(row.epochs, row.epochs_planned) + best],
    ["score", row.score === null ? null : score(row.score)],
    ["attempts", `${row.attempts}${lost.length ? ` (${lost.join(", ")})` : ""}`],
    ["repeats", row.repeats && `trial ${row.repeats}, with another seed`],
    ["worker", row.worker],
    ["began", row.started === null ? null : clock(1000 * row.started, true)],
    ["ended", ended === null ? null : `${clock(1000 * ended, true)}, after ${duration(row.seconds)}`],
    ["log", `cifake-tune logs ${row.trial}`],
  ].filter(([, value]) => value !== null);
}

function why(state) {
  return state === "RUNNING" || state === "QUEUED" ? "How its last attempt ended" : "Why it ended";
}

function list(entries) {
  const pairs = entries.flatMap(([name, value]) => [node("dt", {}, name), node("dd", {}, value)]);
  return node("dl", { class: "facts" }, ...pairs);
}

/** Draw a chart for each metric. It includes the same metric of the validation images. */
function drawMetrics(target, curves) {
  const pairs = Map.groupBy(Object.keys(curves), (name) => name.replace(/^val_/, ""));
  const charts = [...pairs].map(([name, both]) => {
    const chart = node("div", { class: "chart" }), readout = node("p", { class: "readout quiet" });
    const words = both.length > 1 ? `${name}: training dashed, validation solid` : both[0];
    target.append(node("div", {}, node("h4", {}, words), chart, readout));
    return { chart, readout, words, both };
  });
  for (const { chart, readout, words, both } of charts) {  // drawn when all charts have their place
    const first = (each) => each.startsWith("val_") || both.length === 1;
    const lines = both.map((each) => ({
      name: each, points: curves[each], class: first(each) ? "completed first" : "running second",
    }));
    drawLines(chart, lines, { empty: "No number was reported.", label: `${words}, by epoch` }, (found) =>
      say(readout, found ? `${found.line.name}, epoch ${found.epoch}: ${score(found.value)}` : ""));
  }
}
