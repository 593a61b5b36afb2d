// The list of orders: found by id or reference, by state, customer, product and day, page by page.

import { get, query } from "./client.js";
import { fill, plain, rich } from "./fill.js";
import { count, element, isId, money, orderLink, state, time } from "./format.js";
import { address, day, fields, fillForm, go } from "./router.js";

const PAGE = 25;
const form = document.getElementById("orders-filter");
const next = document.getElementById("orders-next");
const first = document.getElementById("orders-first");

export const title = () => "Orders";

export function questions({ parameters }) {
  fillForm(form, parameters);
  first.hidden = !parameters.get("cursor");
  const path = query("/orders", {
    page_size: PAGE,
    cursor: parameters.get("cursor"),
    status: parameters.get("status"),
    product_id: parameters.get("product_id"),
    reference: parameters.get("reference"),
    customer: parameters.get("customer"),
    created_after: day(parameters.get("from")),
    created_before: day(parameters.get("until"), 1),
  });
  return [["orders", () => get(path), ({ items, next_cursor: cursor }) => {
    fillOrders(document.getElementById("orders"), items);
    next.hidden = !cursor;
    next.href = address("orders", { ...Object.fromEntries(parameters), cursor });
    first.href = address("orders", { ...Object.fromEntries(parameters), cursor: null });
  }]];
}

export function fillOrders(table, items) {
  const pieces = (order) => order.lines.reduce((sum, line) => sum + line.quantity, 0);
  fill(table, items, (one) => one.id, [
    rich((one) => orderLink(one.id), (one) => one.id),
    rich((one) => state(one.status), (one) => one.status),
    plain((one) => count(pieces(one)), "number wide"),
    plain((one) => money(one.total_price, one.currency), "number"),
    rich((one) => time(one.created_at), (one) => one.created_at),
    ...(table.id === "orders" ? [rich((one) => element("span", {}, one.reference ?? "–"), (one) => one.reference, "reason wide")] : []),
  ]);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  go("orders", fields(form));
});
form.addEventListener("change", ({ target }) => {
  if (target.name === "status") go("orders", fields(form));
});
document.getElementById("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = document.getElementById("find-id").value.trim();
  if (isId(text)) go(`orders/${text.toLowerCase()}`);
  else go("orders", { reference: text });
});
