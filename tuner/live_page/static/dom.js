// Creates nodes and formats values. Data from the chief is always inserted as text, never as markup.

/** Create a node. `on…` properties are listeners, `class` and names with a dash are attributes. Strings become text. */
export function node(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Set a node's text if it differs, so that a selection in it survives. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Replace `parent`'s children if they differ. The focused element keeps the focus. */
export function arrange(parent, children) {
  const same = (child, index) => parent.children[index] === child;
  if (parent.children.length === children.length && children.every(same)) return;
  const focused = document.activeElement;
  parent.replaceChildren(...children);
  if (focused && focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

export function count(value) {
  return value.toLocaleString("en");
}

/** Format a score or a metric with four decimals, as the command line does. */
export function score(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return value.toExponential(3);
  return size >= 1000 ? value.toLocaleString("en", { maximumFractionDigits: 1 }) : value.toFixed(4);
}

/** Format the epochs of a trial, of those that are planned. `planned` is null if a script trains more than is known. */
export function share(epochs, planned) {
  return planned ? `${epochs} / ${planned}` : String(epochs);
}

/** Format an interval, rounded outwards so that it contains the computed one. */
export function interval([low, high]) {
  return `${(Math.floor(low * 1e4) / 100).toFixed(2)}-${(Math.ceil(high * 1e4) / 100).toFixed(2)} %`;
}

export function percent(share) {
  return `${(100 * share).toFixed(2)} %`;
}

/** Format a hyperparameter's value. */
export function shown(value) {
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  const plain = size >= 1e-3 && size < 1e6;
  return plain ? String(Number(value.toPrecision(4))) : value.toExponential().replace(/(\.\d{3})\d+/, "$1");
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${String(whole % 60).padStart(2, "0")} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(hours / 24)} days ${hours % 24} h`;
}

/** Format a time of day, with the date unless it is today. `at` is in milliseconds. */
export function clock(at, seconds = false) {
  const date = new Date(at);
  const parts = { hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined };
  const time = date.toLocaleTimeString("en-GB", parts);
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" })} ${time}`;
}
