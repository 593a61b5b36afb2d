// Tables. A row stays the same element as long as what it tells of is there: focus, selection and
// buttons outlive each poll.

import { element, write } from "./format.js";

// Fills `table` with a row for each of `items`, each cell written by one of `cells`.
export function fill(table, items, keyOf, cells) {
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

// As if nothing had been asked yet.
export function clear(table) {
  table.tBodies[0].replaceChildren();
  const empty = document.querySelector(`[data-empty="${table.id}"]`);
  if (empty) empty.hidden = true;
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
  if (had) td.querySelector("button, a, input")?.focus();
}

export const plain = (text, kind) => ({ text, kind });
export const rich = (node, same, kind) => ({ node, same, kind });

export function button(label, name, press) {
  const made = element("button", { type: "button", "aria-label": name }, label);
  made.addEventListener("click", press);
  return made;
}
