// The page of one product: its stock, its sales over time, its changes, and changing it.

import { may } from "./access.js";
import { act } from "./act.js";
import { get, getOr, patch, post } from "./client.js";
import { asked } from "./dialogs.js";
import { fill, plain, rich } from "./fill.js";
import { count, element, fact, money, stock, time, when } from "./format.js";
import { fillOrders } from "./orders.js";
import { Plot } from "./plot.js";
import { address } from "./router.js";

// The orders and the changes that are read: the newest.
const ORDERS = 100;
const LISTED = 10;
const CHANGES = 50;
const STEPS = 60;
// How far back the plot may go: the least of these that holds the orders that were read.
const SPANS = [300, 3600, 86_400, 30 * 86_400, 365 * 86_400];
const part = (name) => document.getElementById(`product-${name}`);
const sales = new Plot(part("sales"), {
  label: "Pieces sold over time",
  series: [{ name: "sold", label: "Sold" }],
  format: count,
  least: 10,
});
const stocks = new Plot(part("stocks"), {
  label: "Stock over time",
  series: [{ name: "stock", label: "In stock" }],
  format: count,
  least: 10,
});
let shown = null;

export const title = () => (shown ? shown.name : "Product");

export function enter({ id }) {
  shown = null;
  part("body").hidden = true;
  part("id").textContent = id;
}

export function questions({ id }) {
  const path = `/products/${encodeURIComponent(id)}`;
  return [
    ["product", () => get(path), (product) => {
      shown = product;
      draw(product);
      part("body").hidden = false;
    }],
    ["product-orders", () => getOr(`/orders?page_size=${ORDERS}&product_id=${encodeURIComponent(id)}`, { items: [], next_cursor: null }),
      ({ items, next_cursor: more }) => drawOrders(id, items, more)],
    ["product-changes", () => (may("operate") ? getOr(`/audit?page_size=${CHANGES}&subject=${encodeURIComponent(id)}`, { items: [] }) : { items: [] }),
      ({ items }) => drawChanges(items)],
  ];
}

function draw(product) {
  const { name, sku, price, currency, version, created_at: created, updated_at: updated } = product;
  part("title").textContent = name;
  part("facts").replaceChildren(
    fact("In stock", stock(product.stock)),
    fact("Price", money(price, currency)),
    fact("SKU", sku ?? "–"),
    fact("Version", count(version)),
    fact("Created", time(created)),
    fact("Changed", time(updated)),
    ...terms(product),
  );
}

// Most products have none.
function terms({ limit_per_customer: limit, on_sale_from: from, on_sale_until: until }) {
  return [
    limit == null ? null : fact("Limit per customer", count(limit)),
    from == null ? null : fact("On sale from", time(from)),
    until == null ? null : fact("On sale until", time(until)),
  ].filter(Boolean);
}

const piecesOf = (id, order) => order.lines
  .reduce((sum, line) => sum + (line.product_id === id ? line.quantity - line.cancelled_quantity : 0), 0);
const isSold = (order) => ["success", "completed"].includes(order.status);

function drawOrders(id, items, more) {
  fillOrders(part("orders"), items.slice(0, LISTED));
  part("all").href = address("orders", { product_id: id });
  const events = items.filter(isSold).map((order) => ({ at: new Date(order.decided_at).getTime(), pieces: piecesOf(id, order) }));
  const now = Date.now();
  const oldest = Math.min(now, ...events.map(({ at }) => at));
  const span = SPANS.find((seconds) => now - oldest <= seconds * 1000) ?? SPANS.at(-1);
  const step = span / STEPS;
  const from = now - span * 1000;
  const sold = new Array(STEPS).fill(0);
  for (const { at, pieces } of events) {
    const index = Math.min(STEPS - 1, Math.floor((at - from) / (step * 1000)));
    if (index >= 0) sold[index] += pieces;
  }
  sales.show({ from: new Date(from), step, length: STEPS, columns: { sold } });
  part("sales-note").textContent = more
    ? `Of the last ${count(ORDERS)} orders that ask for it.` : "Of all orders that ask for it.";
  drawStock(from, step, sold);
}

// The stock at each moment, back from what it is: what was sold was there before.
function drawStock(from, step, sold) {
  if (!shown) return;
  const column = [];
  let pieces = shown.stock;
  const changes = changed.filter(({ at }) => at >= from);
  for (let index = sold.length - 1; index >= 0; index -= 1) {
    column[index] = pieces;
    const [begin, end] = [from + index * step * 1000, from + (index + 1) * step * 1000];
    const delta = changes.filter(({ at }) => at >= begin && at < end).reduce((sum, one) => sum + one.delta, 0);
    pieces += sold[index] - delta;
  }
  const isKnown = column.every((value) => value >= 0);
  stocks.show({ from: new Date(from), step, length: sold.length, columns: { stock: isKnown ? column : column.map(() => null) } });
  part("stock-note").textContent = may("operate")
    ? "By its sales and changes." : "By its sales alone: changes of the stock are shown to keys with the scope operate.";
}

// Changes of the stock that the log tells of.
let changed = [];

function drawChanges(items) {
  changed = items.map(({ at, before, after }) => ({
    at: new Date(at).getTime(), delta: (after?.stock ?? before?.stock ?? 0) - (before?.stock ?? 0),
  }));
  fill(part("changes"), items, (one) => one.id, [
    rich((one) => time(one.at), (one) => one.at),
    plain((one) => one.action),
    rich((one) => element("span", {}, difference(one)), (one) => [one.before, one.after], "reason"),
    plain((one) => one.client ?? "–", "wide"),
  ]);
}

// What a change may be about, and how its values are written.
const TOLD = {
  name: ["name", String],
  sku: ["SKU", String],
  price: ["price", (price) => (shown ? money(price, shown.currency) : price)],
  stock: ["stock", count],
  limit_per_customer: ["limit per customer", count],
  on_sale_from: ["on sale from", when],
  on_sale_until: ["on sale until", when],
};

const said = (write, value) => (value == null ? "–" : write(value));

function difference({ before, after }) {
  const differs = (name) => name in after && String(before?.[name] ?? null) !== String(after[name]);
  const parts = Object.entries(TOLD).filter(([name]) => after && differs(name)).map(([name, [label, write]]) =>
    `${label} ${before ? `${said(write, before[name])} → ` : ""}${said(write, after[name])}`);
  if (after?.reason) parts.push(`“${after.reason}”`);
  return parts.join(", ") || "–";
}

part("adjust").addEventListener("click", async () => {
  const { id, name } = shown;
  const values = await asked(`Adjust the stock of ${name}`, "Adds pieces; a negative number takes them away.", "Adjust", [
    { name: "delta", label: "Pieces", required: "", type: "number", step: 1 },
    { name: "reason", label: "Reason (optional)", maxlength: 255 },
  ]);
  if (!values) return;
  const body = { delta: Number(values.delta), ...(values.reason ? { reason: values.reason } : {}) };
  await act(() => post(`/products/${id}/stock`, body), (after) => `${name} has ${count(after.stock)} in stock.`);
});
part("price").addEventListener("click", async () => {
  const { id, name, price, currency, version } = shown;
  const values = await asked(`Change the price of ${name}`, "Orders that were accepted keep theirs.", "Change", [
    { name: "price", label: `Price in ${currency}`, required: "", inputmode: "decimal", pattern: "[0-9]+([.][0-9]+)?", title: "such as 9.99", value: price },
  ]);
  if (!values) return;
  await act(() => patch(`/products/${id}`, { price: values.price }, { "If-Match": `"${version}"` }),
    (after) => `${name} costs ${money(after.price, after.currency)}.`);
});
