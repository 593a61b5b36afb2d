// The tables. A row stays the same element as long as what it tells of is there: focus,
// selection and buttons outlive each poll.

import { count, element, short, span, state, time, write, money } from "./format.js";

// The database counts so far, and no further.
const COUNTED = 100_000;
const counted = (number) => (number >= COUNTED ? `${count(COUNTED)}+` : count(number));

// Fills `table` with a row for each of `items`, each cell written by one of `cells`.
function fill(table, items, keyOf, cells) {
  const body = table.tBodies[0];
  const before = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  items.forEach((item, index) => {
    const row = before.get(keyOf(item)) ?? made(keyOf(item), cells);
    before.delete(keyOf(item));
    cells.forEach((cell, column) => update(row.cells[column], cell, item));
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
  for (const row of before.values()) row.remove();
  const empty = document.querySelector(`[data-empty="${table.id}"]`);
  if (empty) empty.hidden = items.length > 0;
}

function made(key, cells) {
  const row = element("tr", { "data-key": key });
  for (const { kind } of cells) row.append(element("td", { class: kind }));
  return row;
}

function update(td, { text, node, same }, item) {
  if (text) {
    write(td, text(item));
    return;
  }
  const now = JSON.stringify(same(item));
  if (td.dataset.same === now) return;
  td.dataset.same = now;
  const had = td.contains(document.activeElement);
  td.replaceChildren(node(item));
  if (had) td.querySelector("button")?.focus();
}

const plain = (text, kind) => ({ text, kind });
const rich = (node, same, kind) => ({ node, same, kind });

function orderButton(id, open) {
  const button = element("button", { type: "button", class: "link", title: id, "aria-label": `Order ${short(id)}` }, short(id));
  button.addEventListener("click", () => open(id));
  return button;
}

// A button that only an operator may press; others are told why not.
function operatorButton(label, name, mayOperate, press) {
  const button = element("button", { type: "button", "aria-label": name }, label);
  if (!mayOperate) {
    button.disabled = true;
    button.title = "A key with the scope operate is needed";
  }
  button.addEventListener("click", press);
  return button;
}

export function queues(topics, mayOperate, { pause, resume }) {
  const toggle = ({ topic, paused }) => (paused
    ? operatorButton("Resume", `Resume ${topic}`, mayOperate, () => resume(topic))
    : operatorButton("Pause", `Pause ${topic}`, mayOperate, () => pause(topic)));
  fill(document.getElementById("queues"), topics, (one) => one.topic, [
    plain((one) => one.topic),
    plain((one) => counted(one.waiting), "number"),
    plain((one) => counted(one.in_flight), "number wide"),
    plain((one) => counted(one.delayed), "number wide"),
    rich((one) => element("span", one.dead ? { class: "low" } : {}, counted(one.dead)), (one) => one.dead, "number wide"),
    plain((one) => (one.waiting ? span(one.oldest_age_seconds) : "–"), "number"),
    rich((one) => state(one.paused ? "paused" : "running"), (one) => one.paused),
    rich(toggle, (one) => [one.paused, mayOperate]),
  ]);
}

export function workers(list) {
  fill(document.getElementById("workers"), list, (one) => one.id, [
    rich((one) => element("span", { title: `${one.id}, version ${one.version}` }, `${one.host}:${one.pid}`), (one) => one.id),
    rich((one) => state(one.state), (one) => one.state),
    plain((one) => count(one.decided), "number"),
    plain((one) => count(one.processed), "number"),
    plain((one) => count(one.in_flight), "number wide"),
    rich((one) => time(one.heartbeat_at), (one) => one.heartbeat_at, "wide"),
  ]);
}

export function dead(items, mayOperate, { redrive, open }) {
  fill(document.getElementById("dead"), items, (one) => `${one.topic} ${one.order_id}`, [
    rich((one) => orderButton(one.order_id, open), (one) => one.order_id),
    plain((one) => one.topic, "wide"),
    plain((one) => one.reason, "reason"),
    plain((one) => count(one.attempts), "number wide"),
    rich((one) => time(one.dead_at), (one) => one.dead_at, "wide"),
    rich((one) => operatorButton("Redrive", `Redrive order ${short(one.order_id)}`, mayOperate, () => redrive(one)),
      () => mayOperate),
  ]);
}

export function orders(items, open) {
  const pieces = (order) => order.lines.reduce((sum, line) => sum + line.quantity, 0);
  fill(document.getElementById("orders"), items, (one) => one.id, [
    rich((one) => orderButton(one.id, open), (one) => one.id),
    rich((one) => state(one.status), (one) => one.status),
    plain((one) => count(pieces(one)), "number wide"),
    plain((one) => money(one.total_price, one.currency), "number"),
    rich((one) => time(one.created_at), (one) => one.created_at),
  ]);
}

export function hot(products) {
  fill(document.getElementById("hot"), products, (one) => one.id, [
    rich((one) => element("span", { title: one.sku ? `${one.sku}, ${one.id}` : one.id }, one.name), (one) => one.name, "reason"),
    plain((one) => count(one.wanted), "number"),
    rich((one) => element("span", one.stock === 0 ? { class: "low" } : {}, one.stock === 0 ? "sold out" : count(one.stock)),
      (one) => one.stock, "number"),
    plain((one) => money(one.price, one.currency), "number wide"),
  ]);
}
