// Polls the chief, and shows a notice if it does not answer.

import { byId, clock, say } from "./dom.js";
import { drawCharts, drawRungs, drawWorkers } from "./parts.js";
import { drawTop } from "./top.js";
import { closeBeside, showTrial } from "./trial.js";
import { Query, drawFilters, drawTrials, turnPages } from "./trials.js";

const EVERY_MS = 2000, OVER_EVERY_MS = 10000, AWAY_EVERY_MS = 3000, PATIENCE_MS = 10000;

const shown = { overview: null, page: null, versions: {}, heard: null };
let timer = null, asking = false, again = false;

const query = new Query(() => { draw(); ask(); });

/** The chief answers, but shows nothing. The message says why: it is starting, or the page needs another token. */
class NotYet extends Error {}

/** The chief refuses the query. */
class BadQuestion extends Error {}

async function get(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if ([401, 503].includes(response.status)) throw new NotYet(await response.text());
  if (response.status === 400) throw new BadQuestion(await response.text());
  if (!response.ok) throw new Error(`${path} was answered with status ${response.status}`);
  return { data: await response.json(), version: response.headers.get("ETag") };
}

async function ask() {
  clearTimeout(timer);
  if (asking) { again = true; return; }
  asking = true;
  let wait = EVERY_MS;
  try {
    do {
      again = false;
      const [overview, page] = await Promise.all([get("overview.json"), get(query.path)]);
      if (shown.overview && shown.overview.version !== overview.data.version) location.reload();
      Object.assign(shown, { overview: overview.data, page: page.data, heard: Date.now() });
    } while (again);
    query.offset = shown.page.offset;  // there may be fewer trials than the offset
    document.body.classList.remove("stale");
    notice(shown.overview);
    draw();
    if (["done", "failed"].includes(shown.overview.evaluation)) wait = OVER_EVERY_MS;
  } catch (error) {
    wait = AWAY_EVERY_MS;
    if (error instanceof BadQuestion) {
      query.reset();
      wait = 0;
    } else away(error);
  }
  asking = false;
  if (!document.hidden) timer = setTimeout(ask, wait);
}

function draw() {
  const { overview, page } = shown;
  if (!overview) return;
  byId("main").removeAttribute("aria-busy");
  query.direction = overview.direction;
  drawTop(overview, open);
  drawFilters(query, overview);
  drawTrials(query, page, overview.objective, open);
  drawWorkers(overview, open);
  drawRungs(overview);
  const curves = JSON.stringify([overview.dots, overview.steps, overview.curves]);
  if (curves !== shown.versions.curves) {
    shown.versions.curves = curves;
    drawCharts(overview, open);
  }
}

function notice(overview) {
  const place = overview.evaluation_at;
  const best = overview.best ? `the best is trial ${overview.best.trial}. ` : "no trial can be evaluated. ";
  const then = {
    waiting: `The evaluation will follow. Its files will be in ${place}`,
    running: `The best model is being evaluated. Its files will be in ${place}`,
    done: `The best model has been evaluated. The report and other files are in ${place}`,
    failed: "The evaluation failed. Run cifake-tune status for the reason.",
  }[overview.evaluation];
  tell(overview.ended === null ? overview.problem : `The search has finished: ${best}${overview.best ? then : overview.reason}`);
  say(byId("connection"), `as of ${clock(shown.heard, true)}`);
}

function away(error) {
  const { overview, heard } = shown;
  const over = overview && overview.ended !== null;
  document.body.classList.toggle("stale", !over);
  say(byId("connection"), heard ? `as of ${clock(heard, true)}` : "");
  if (error instanceof NotYet) tell(`${error.message.trim()}.`);
  else if (over) {
    const place = overview.evaluation_at;
    tell(`The search has finished, and its chief has exited. The evaluation's files are, or will be, in ${place}`);
  } else {
    const since = heard ? ` since ${clock(heard, true)}` : "";
    tell(`The chief has not answered${since}. Either it is being replaced, or the search has ended (run cifake-tune `
      + "status to find out). The page shows the chief's last answer and keeps trying.");
  }
}

function tell(text) {
  say(byId("notice"), text);
  byId("notice").hidden = !text;
}

async function open(trial) {
  try {
    showTrial((await get(`trial.json?${new URLSearchParams({ trial })}`)).data);
  } catch (error) {
    away(error);
  }
}

turnPages(query);
closeBeside();
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : ask()));
addEventListener("online", ask);
let resized = null;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => shown.overview && drawCharts(shown.overview, open), 150);
});
ask();
