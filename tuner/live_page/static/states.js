// The states of a trial, in the order in which the page shows them.

export const STATES = [
  { state: "RUNNING", word: "running", look: "running" },
  { state: "PAUSED", word: "paused", look: "paused" },
  { state: "COMPLETED", word: "completed", look: "completed" },
  { state: "STOPPED", word: "stopped early", look: "stopped" },
  { state: "FAILED", word: "failed", look: "failed" },
  { state: "QUEUED", word: "queued", look: "queued" },
];

/** The CSS class of an element that shows a trial in this state. */
export function lookOf(state) {
  return STATES.find((each) => each.state === state)?.look ?? "";
}

/** The number of trials. */
export function trialsOf(overview) {
  return Object.values(overview.counts).reduce((sum, each) => sum + each, 0);
}

/** The number of trials that have ended. */
export function endedOf(overview) {
  return overview.counts.COMPLETED + overview.counts.STOPPED + overview.counts.FAILED;
}
