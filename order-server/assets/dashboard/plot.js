// A plot over time, drawn as SVG. Pointer or arrow keys move along it; what it shows at that moment
// stands in the legend.

import { span } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 184;
const MARGIN = { top: 8, right: 6, bottom: 22, left: 58 };
const DAY = 86_400;
const dated = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

function shape(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

// The least of 1, 2 or 5 times a power of ten that holds `value`.
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999999);
}

export class Plot {
  // `series` is a list of { name, label }; `format` writes a value.
  constructor(host, { label, series, format, least }) {
    this.series = series;
    this.format = format;
    this.least = least;
    this.width = 600;
    this.chosen = null;
    this.svg = shape("svg", {
      role: "slider", tabindex: "0", "aria-label": `${label}; arrow keys move along the time`,
      "aria-valuemin": "-300", "aria-valuemax": "-1", "aria-valuenow": "-1", "aria-valuetext": "no figures yet",
    });
    this.legend = document.createElement("div");
    this.legend.className = "legend";
    this.values = new Map(series.map((one) => [one.name, this.entry(one)]));
    this.when = document.createElement("span");
    this.when.className = "when";
    this.legend.append(this.when);
    host.replaceChildren(this.legend, this.svg);
    this.listen(host);
  }

  entry({ name, label }) {
    const swatch = shape("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" },
      shape("line", { x1: 0, x2: 26, y1: 5, y2: 5, class: `series ${name}` }));
    const value = document.createElement("b");
    const item = document.createElement("span");
    item.append(swatch, `${label} `, value);
    this.legend.append(item);
    return value;
  }

  listen(host) {
    new ResizeObserver(([entry]) => {
      if (entry.contentRect.width === 0) return;
      this.width = Math.max(240, entry.contentRect.width);
      this.draw();
    }).observe(host);
    this.svg.addEventListener("pointermove", (event) => {
      const { left, width } = this.svg.getBoundingClientRect();
      const x = ((event.clientX - left) / width) * this.width - MARGIN.left;
      this.choose(Math.round((x / this.inner()) * (this.length() - 1)));
    });
    this.svg.addEventListener("pointerleave", () => this.choose(null));
    this.svg.addEventListener("blur", () => this.choose(null));
    this.svg.addEventListener("keydown", (event) => {
      const last = this.length() - 1;
      const at = this.chosen ?? last;
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, PageUp: at - 30, PageDown: at + 30, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.choose(to);
    });
  }

  inner() {
    return this.width - MARGIN.left - MARGIN.right;
  }

  length() {
    return this.data ? this.data.length : 0;
  }

  choose(index) {
    this.chosen = index === null ? null : Math.max(0, Math.min(this.length() - 1, index));
    this.draw();
  }

  // `data` is { from: Date, step: seconds, length, columns: { name: [value or null] } }.
  show(data) {
    if (this.data?.step !== data.step) this.chosen = null;
    this.data = data;
    this.draw();
  }

  draw() {
    if (!this.data) return;
    const values = this.series.flatMap(({ name }) => this.data.columns[name]);
    this.top = ceiling(Math.max(this.least, ...values.map((value) => value ?? 0)));
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.setAttribute("aria-valuemin", String(-this.length()));
    this.svg.replaceChildren(...this.frame(), ...this.series.flatMap((one) => this.line(one)), ...this.cursor());
    this.tell();
  }

  x(index) {
    return MARGIN.left + (index / Math.max(1, this.length() - 1)) * this.inner();
  }

  y(value) {
    return MARGIN.top + (1 - value / this.top) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  }

  frame() {
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const y = this.y(share * this.top);
      parts.push(shape("line", { class: "grid", x1: MARGIN.left, x2: this.width - MARGIN.right, y1: y, y2: y }));
      parts.push(shape("text", { x: MARGIN.left - 6, y: y + 4, "text-anchor": "end" }, this.format(share * this.top)));
    }
    const pieces = this.width < 420 ? 2 : 5;
    for (let piece = 0; piece <= pieces; piece += 1) {
      const anchor = piece === 0 ? "end" : piece === pieces ? "start" : "middle";
      const back = (piece / pieces) * (this.length() - 1);
      const label = piece === 0 ? "now" : `−${this.ago((piece / pieces) * this.length() * this.data.step)}`;
      parts.push(shape("text", { x: this.x(this.length() - 1 - back), y: HEIGHT - 5, "text-anchor": anchor }, label));
    }
    return parts;
  }

  // How long ago something was, on the axis.
  ago(seconds) {
    if (seconds >= 2 * DAY) return `${Math.round(seconds / DAY)} d`;
    if (seconds >= 7200) return `${Math.round(seconds / 360) / 10} h`;
    if (seconds >= 60) return `${Math.round(seconds / 6) / 10} min`;
    return span(seconds);
  }

  // Gaps stay gaps; a value between two gaps is a dot.
  line({ name }) {
    const column = this.data.columns[name];
    let path = "";
    const dots = [];
    column.forEach((value, index) => {
      if (value == null) return;
      const at = `${this.x(index).toFixed(1)},${this.y(value).toFixed(1)}`;
      path += column[index - 1] == null ? `M${at}` : `L${at}`;
      if (column[index - 1] == null && column[index + 1] == null) {
        const [cx, cy] = at.split(",");
        dots.push(shape("circle", { class: `dot ${name}`, cx, cy, r: 2.2 }));
      }
    });
    return [shape("path", { class: `series ${name}`, d: path || "M0,0" }), ...dots];
  }

  cursor() {
    if (this.chosen === null) return [];
    const x = this.x(this.chosen);
    return [shape("line", { class: "cursor", x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom })];
  }

  tell() {
    const index = this.chosen ?? this.length() - 1;
    const { from, step } = this.data;
    const at = new Date(from.getTime() + index * step * 1000);
    const said = [];
    for (const { name, label } of this.series) {
      const value = this.data.columns[name][index];
      const text = value == null ? "–" : this.format(value);
      this.values.get(name).textContent = text;
      said.push(`${label} ${text}`);
    }
    const when = (step < 900 ? clock : dated).format(at);
    this.when.textContent = this.chosen !== null ? when : step === 1 ? "last second" : "latest";
    this.svg.setAttribute("aria-valuenow", String(index - this.length()));
    this.svg.setAttribute("aria-valuetext", `${when}: ${said.join(", ")}`);
  }
}
