// A plot of seconds, drawn as SVG. Pointer or arrow keys move along it; what it shows at that
// second stands in the legend.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 184;
const MARGIN = { top: 8, right: 6, bottom: 22, left: 52 };

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
    this.label = label;
    this.width = 600;
    this.chosen = null;
    this.svg = shape("svg", {
      role: "slider", tabindex: "0", "aria-label": `${label}; arrow keys move along the last five minutes`,
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

  // `data` is { from: Date, length, columns: { name: [value or null] } }.
  show(data) {
    this.data = data;
    this.draw();
  }

  draw() {
    if (!this.data) return;
    const values = this.series.flatMap(({ name }) => this.data.columns[name]);
    this.top = ceiling(Math.max(this.least, ...values.map((value) => value ?? 0)));
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.replaceChildren(...this.frame(), ...this.series.flatMap((one) => this.line(one)), ...this.cursor());
    this.tell();
  }

  x(index) {
    return MARGIN.left + (index / (this.length() - 1)) * this.inner();
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
    const minutes = this.length() / 60;
    const step = this.width < 420 && minutes > 2 ? minutes : 1;
    for (let minute = 0; minute <= minutes; minute += step) {
      const anchor = minute === 0 ? "end" : minute === minutes ? "start" : "middle";
      const x = this.x(Math.max(0, this.length() - 1 - minute * 60));
      parts.push(shape("text", { x, y: HEIGHT - 5, "text-anchor": anchor }, minute === 0 ? "now" : `−${minute} min`));
    }
    return parts;
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
    const at = new Date(this.data.from.getTime() + index * 1000);
    const said = [];
    for (const { name, label } of this.series) {
      const value = this.data.columns[name][index];
      const text = value == null ? "–" : this.format(value);
      this.values.get(name).textContent = text;
      said.push(`${label} ${text}`);
    }
    const clock = at.toLocaleTimeString();
    this.when.textContent = this.chosen === null ? "last second" : clock;
    this.svg.setAttribute("aria-valuenow", String(index - this.length()));
    this.svg.setAttribute("aria-valuetext", `${clock}: ${said.join(", ")}`);
  }
}
