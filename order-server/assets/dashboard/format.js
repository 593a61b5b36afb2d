// Numbers, times and elements. Text goes in as text: nothing here reads markup.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
// The database counts so far, and no further.
const COUNTED = 100_000;

export const count = (number) => (number == null ? "–" : whole.format(number));
export const counted = (number) => (number >= COUNTED ? `${count(COUNTED)}+` : count(number));
export const rate = (number) => `${number < 10 ? tenths.format(number) : whole.format(number)}/s`;

// One thing, or several.
export const things = (number, one, many = `${one}s`) => `${counted(number)} ${number === 1 ? one : many}`;

// An amount as the API gives it, digit by digit, with the code of its currency.
export function money(amount, currency) {
  const [units, decimals] = String(amount).split(".");
  const grouped = units.replace(/\B(?=(\d{3})+$)/g, ",");
  return `${decimals === undefined ? grouped : `${grouped}.${decimals}`} ${currency}`;
}

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

export const between = (from, until) => (new Date(until) - new Date(from)) / 1000;

// The part of an id that differs between neighbours.
export const short = (id) => `…${id.slice(-8)}`;

export const isId = (text) => /^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$/i.test(text);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value != null) made.setAttribute(attribute, value);
  }
  made.append(...children);
  return made;
}

// Local time as text. Of today, the clock alone.
export function when(text) {
  const at = new Date(text);
  return (at.toDateString() === new Date().toDateString() ? clock : full).format(at);
}

// The same as an element; its title says it in UTC.
export function time(text) {
  if (!text) return element("span", {}, "–");
  const title = `${new Date(text).toISOString().replace("T", " ").replace("Z", "")} UTC`;
  return element("time", { datetime: text, title }, when(text));
}

const SPOKEN = { in_flight: "in flight" };
export const state = (name) => element("span", { class: "state", "data-state": name }, SPOKEN[name] ?? name);

export const orderLink = (id) => element("a",
  { class: "id", href: `#/orders/${id}`, title: id, "aria-label": `Order ${short(id)}` }, short(id));

export const productLink = ({ id, name, sku }) => element("a",
  { href: `#/products/${id}`, title: sku ? `${sku}, ${id}` : id }, name);

export function stock(pieces) {
  return element("span", pieces === 0 ? { class: "low" } : {}, pieces === 0 ? "sold out" : count(pieces));
}

export const fact = (name, ...value) => element("div", {}, element("dt", {}, name), element("dd", {}, ...value));

// Writes only what changed, so that nothing is selected or read out anew.
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
