// Numbers, times and elements. Text goes in as text: nothing here reads markup.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const count = (number) => (number == null ? "–" : whole.format(number));
export const rate = (number) => (number < 10 ? tenths.format(number) : whole.format(number));

// An amount as the API gives it, with the code of its currency.
export const money = (amount, currency) => `${amount} ${currency}`;

// A length of time, in the unit that suits it.
export function span(seconds) {
  if (seconds == null) return "–";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${tenths.format(seconds * 1e3)} ms`;
  if (seconds < 120) return `${seconds < 10 ? tenths.format(seconds) : whole.format(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${whole.format(Math.floor(seconds / 86_400))} d`;
}

// The part of an id that differs between neighbours.
export const short = (id) => `…${id.slice(-8)}`;

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value != null) made.setAttribute(attribute, value);
  }
  made.append(...children);
  return made;
}

// Local time; its title says it in UTC. Of today, the clock alone.
export function time(text) {
  if (!text) return element("span", {}, "–");
  const at = new Date(text);
  const today = at.toDateString() === new Date().toDateString();
  const title = `${at.toISOString().replace("T", " ").replace("Z", "")} UTC`;
  return element("time", { datetime: text, title }, (today ? clock : full).format(at));
}

export const state = (name) => element("span", { class: "state", "data-state": name }, name);

// Writes only what changed, so that nothing is selected or read out anew.
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
