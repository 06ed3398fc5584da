// Charts as SVG: scores in the order in which trials ended, and lines by epoch. Each series is one path.

import { node, score } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const RIGHT = 14, TOP = 10, BOTTOM = 34;
const CHARACTER = 7.2;
const FAR = 1e200;  // differences of larger values may be infinite

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** At least two round values that divide a range into about `wanted` parts; their step is 1, 2 or 5 times 10^n. */
export function ticks(low, high, wanted, whole = false) {
  const raw = ((high - low) || Math.abs(high) || 1) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw * 0.999);
  if (whole) step = Math.max(1, Math.round(step));
  const first = Math.ceil(low / step - 1e-9) * step;
  const values = Array.from({ length: 2 * Math.ceil(wanted) + 2 }, (_, index) => first + index * step)
    .filter((value, index, all) => value <= high + step * 1e-9 && value !== all[index - 1]);
  const enough = values.length > 1 || wanted > 10 || (whole && step === 1);
  return enough ? { values, step } : ticks(low, high, wanted + 1, whole);
}

function label(value, step) {
  if (Math.abs(value) >= 1e5 || (value !== 0 && step < 1e-5)) return value.toExponential(1);
  return value.toFixed(Math.min(6, Math.max(0, -Math.floor(Math.log10(step || 1) + 1e-9))));
}

/** Draw axes, and return their SVG and the functions that map data to coordinates. */
function axes(target, [left, right], [low, high], titles) {
  const width = Math.max(160, target.clientWidth), height = Math.max(100, target.clientHeight);
  if (right <= left) right = left + 1;
  [low, high] = [Math.max(low, -FAR), Math.min(high, FAR)];
  if (high <= low) [low, high] = [low - (Math.abs(low) * 0.05 || 0.5), high + (Math.abs(high) * 0.05 || 0.5)];
  const { values: up, step } = ticks(low, high, height < 200 ? 3 : 5);
  const start = 16 + CHARACTER * Math.max(0, ...up.map((value) => label(value, step).length));
  const x = (value) => start + ((value - left) / (right - left)) * (width - start - RIGHT);
  const within = (value) => Math.min(high, Math.max(low, value));
  const y = (value) => height - BOTTOM - ((within(value) - low) / (high - low)) * (height - TOP - BOTTOM);
  const frame = svg("svg", { role: "img", "aria-label": titles.label, viewBox: `0 0 ${width} ${height}` });
  const across = ticks(left, right, Math.max(2, width / 90), true).values;
  for (const value of up) {
    frame.append(svg("line", { class: "grid", x1: start, x2: width - RIGHT, y1: y(value), y2: y(value) }));
    const text = svg("text", { x: start - 8, y: y(value) + 4, "text-anchor": "end" });
    text.textContent = label(value, step);
    frame.append(text);
  }
  for (const value of across) {
    const text = svg("text", { x: x(value), y: height - BOTTOM + 16, "text-anchor": "middle" });
    text.textContent = value.toLocaleString("en");
    frame.append(text);
  }
  const title = svg("text", { x: width - RIGHT, y: height - 3, "text-anchor": "end" });
  title.textContent = titles.x;
  frame.append(title);
  return { frame, x, y, low, high };
}

/** A single point: a line without length, which is drawn as a dot. */
function point({ x, y }, across, up) {
  return `M${x(across).toFixed(1)} ${y(up).toFixed(1)}h0`;
}

function path(points, plot) {
  let text = "", drawing = false;
  for (const [across, up] of points) {
    if (up === null) drawing = false;
    else {
      text += drawing ? `L${plot.x(across).toFixed(1)} ${plot.y(up).toFixed(1)}` : point(plot, across, up);
      drawing = true;
    }
  }
  return text;
}

function empty(target, text) {
  target.classList.remove("live");
  target.replaceChildren(node("p", { class: "empty" }, text));
}

/** The range to show, without the worst few of many values, which would flatten the rest. */
function focus(values, direction) {
  const sorted = [...values].sort((a, b) => a - b);
  const cut = sorted.length > 20 ? Math.floor(sorted.length * 0.08) : 0;
  const [low, high] = direction === "max" ? [sorted[cut], sorted.at(-1)] : [sorted[0], sorted.at(-1 - cut)];
  const room = (high - low) * 0.06;
  return [low - room, high + room];
}

/** Draw scores as dots, and the best so far as steps. `tell` gets the score nearest to the pointer, or null. */
export function drawHistory(target, { dots, steps, direction, ended, objective }, tell) {
  if (!dots.length) return empty(target, "No trial has a score yet.");
  const whole = dots.filter((dot) => !dot.stopped);
  // scores of trials that were stopped early would flatten the rest
  const range = focus([...(whole.length > 4 ? whole : dots), ...steps].map((dot) => dot.score), direction);
  const best = steps.at(-1);
  const plot = axes(target, [1, Math.max(2, ended)], range, {
    x: "trials that have ended",
    label: `Best ${objective} so far: ${score(best.score)}, of trial ${best.trial}; ${ended} trials have ended`,
  });
  const seen = dots.filter((dot) => dot.score >= plot.low && dot.score <= plot.high);
  for (const stopped of [true, false]) {
    const marks = seen.filter((dot) => dot.stopped === stopped).map((dot) => point(plot, dot.ended, dot.score));
    plot.frame.append(svg("path", { class: stopped ? "dots stopped" : "dots", d: marks.join("") }));
  }
  const stairs = [];
  for (const step of steps) {
    if (stairs.length) stairs.push([step.ended, stairs.at(-1)[1]]);
    stairs.push([step.ended, step.score]);
  }
  stairs.push([ended, best.score]);
  plot.frame.append(svg("path", { class: "steps", d: path(stairs, plot) }));
  plot.frame.append(svg("circle", { class: "mark completed", cx: plot.x(best.ended), cy: plot.y(best.score), r: 4 }));
  target.replaceChildren(plot.frame);
  follow(target, plot, seen.map((dot) => [dot.ended, dot.score, dot]), tell);
}

/** Draw lines `{name, points, class}`. `tell` gets the `{line, epoch, value}` nearest to the pointer, or null. */
export function drawLines(target, lines, titles, tell) {
  const values = lines.flatMap((line) => line.points.map((point) => point[1])).filter((value) => value !== null);
  if (!values.length) return empty(target, titles.empty);
  const epochs = lines.flatMap((line) => line.points.map((point) => point[0]));
  const range = titles.direction ? focus(values, titles.direction) : [Math.min(...values), Math.max(...values)];
  const across = [Math.min(1, ...epochs), Math.max(2, ...epochs)];
  const plot = axes(target, across, range, { x: "epoch", label: titles.label });
  const places = [];
  for (const line of lines) {
    line.path = svg("path", { class: `line ${line.class}`, d: path(line.points, plot) });
    plot.frame.append(line.path);
    const last = line.points.findLast((point) => point[1] !== null);
    if (last && (line.mark || line.points.length === 1)) {
      plot.frame.append(svg("circle", { class: `mark ${line.class}`, cx: plot.x(last[0]), cy: plot.y(last[1]), r: 3 }));
    }
    for (const [epoch, value] of line.points) if (value !== null) places.push([epoch, value, { line, epoch, value }]);
  }
  target.replaceChildren(plot.frame);
  let near = null;
  follow(target, plot, places, (found) => {
    if (near) near.path.classList.remove("near");
    near = found ? found.line : null;
    if (near) near.path.classList.add("near");
    tell(found);
  });
}

/** Call `tell` with the item nearest to the pointer, and with null when the pointer leaves. */
function follow(target, plot, places, tell) {
  target.classList.add("live");
  const spots = places.map(([across, up, what]) => [plot.x(across), plot.y(up), what]);
  plot.frame.addEventListener("pointermove", (event) => {
    const box = plot.frame.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    let nearest = null, least = Infinity;
    for (const [across, up, what] of spots) {
      const away = (across - left) ** 2 + (up - top) ** 2;
      if (away < least) [nearest, least] = [what, away];
    }
    tell(nearest);
  });
  plot.frame.addEventListener("pointerleave", () => tell(null));
}
