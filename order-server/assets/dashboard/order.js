// The page of one order: what it is, all that happened to it, and what may be done about it.

import { may } from "./access.js";
import { act } from "./act.js";
import { get, getOr, post } from "./client.js";
import { confirmed } from "./dialogs.js";
import { between, count, element, fact, money, productLink, short, span, state, time } from "./format.js";

const part = (name) => document.getElementById(`order-${name}`);
let shown = null;
let last = "";

export const title = ({ id }) => `Order ${short(id)}`;

// Another order is shown from now on: nothing of the one before stays.
export function enter({ id }) {
  shown = null;
  last = "";
  part("body").hidden = true;
  part("id").textContent = id;
}

export function questions({ id }) {
  const path = `/orders/${encodeURIComponent(id)}`;
  return [["order", () => read(path), (answer) => {
    shown = answer.order;
    const now = JSON.stringify([answer, may("orders"), may("operate")]);
    if (now !== last) draw(answer);
    last = now;
    part("body").hidden = false;
  }]];
}

// A key that may read orders may yet not see what operators see, nor the products.
async function read(path) {
  const [order, attempts] = await Promise.all([get(path), getOr(`${path}/attempts`, { task: null, items: [] })]);
  const ids = [...new Set(order.lines.map((line) => line.product_id))];
  const { items } = await getOr(`/products?page_size=100&ids=${ids.join(",")}`, { items: [] });
  return { order, attempts, products: Object.fromEntries(items.map((product) => [product.id, product])) };
}

function draw({ order, attempts, products }) {
  const sum = (of) => order.lines.reduce((sum, line) => sum + line[of], 0);
  const waited = order.decided_at && between(order.created_at, order.decided_at);
  part("facts").replaceChildren(
    fact("State", state(order.status)),
    fact("Total", money(order.total_price, order.currency)),
    fact("Pieces", pieces(sum("quantity"), sum("cancelled_quantity"))),
    fact("Waited", order.decided_at ? (waited > 0 ? span(waited) : "decided at once") : "still waiting"),
    fact("Reference", order.reference ?? "–"),
    fact("Customer", order.customer ?? "–"),
    fact("Client", element("code", {}, order.client ?? "–")),
  );
  part("events").replaceChildren(...timeline(order, attempts, products).map(item));
  part("lines").tBodies[0].replaceChildren(...order.lines.map((line) => row(line, products, order.currency)));
  part("cancel").hidden = !may("orders") || !["pending", "held", "success"].includes(order.status);
  part("process").hidden = !may("operate") || !["success", "completed"].includes(order.status);
}

// What happened, oldest first, each with the time since what was before, and at the end what is
// still to come.
function timeline(order, { task, items }, products) {
  const list = [{ at: order.created_at, kind: "plain", what: "Accepted", detail: "at the prices of that moment" }];
  if (order.decided_at) list.push(decision(order, products));
  for (const attempt of items) list.push(tried(attempt));
  if (order.confirmed_at) list.push({ at: order.confirmed_at, kind: "good", what: "Confirmed: sold", detail: "before its hold ended" });
  if (order.status === "expired") list.push({ at: order.held_until, kind: "bad", what: "Expired", detail: "not confirmed in time: its stock went back" });
  if (order.completed_at) list.push({ at: order.completed_at, kind: "good", what: "Completed", detail: "what follows the sale is done" });
  if (order.cancelled_at) {
    const detail = order.decided_at ? "its stock went back" : "before it was decided";
    list.push({ at: order.cancelled_at, kind: "bad", what: "Cancelled", detail });
  }
  list.sort((one, other) => new Date(one.at) - new Date(other.at));
  list.slice(1).forEach((event, index) => { event.after = between(list[index].at, event.at); });
  if (order.status === "held") list.push({ at: order.held_until, kind: "open", what: "Waits to be confirmed", detail: "its hold ends" });
  if (order.status === "pending") list.push({ kind: "open", what: "Waits for its decision" });
  if (task) list.push(next(task));
  return list;
}

// Where the task of the order is: what is still to come of it.
function next({ kind, state: where, attempts, at, reason }) {
  const what = kind === "compensate" ? "compensation" : "task";
  switch (where) {
    case "in_flight": return { kind: "open", what: `Its ${what} is under way`, detail: `attempt ${attempts}` };
    case "retrying": return { at, kind: "open", what: `Its ${what} is tried again` };
    case "dead": return { at, kind: "bad", what: `Its ${what} was given up`, detail: `${reason} (attempts: ${attempts})` };
    default: return { kind: "open", what: `Its ${what} waits for a worker` };
  }
}

function decision({ decided_at: at, failure, held_until: until }, products) {
  if (until) return { at, kind: "good", what: "Decided: held", detail: "every line got its stock until it is confirmed" };
  if (!failure) return { at, kind: "good", what: "Decided: sold", detail: "every line got its stock" };
  const name = products[failure.product_id]?.name ?? `product ${failure.product_id}`;
  const why = failure.code === "insufficient_stock"
    ? `asks for ${count(failure.requested)} of ${name}, which had ${count(failure.available)} left`
    : failure.code === "customer_limit"
    ? `one customer may have ${count(failure.limit)} of ${name}, this one had ${count(failure.has)}`
    : failure.code === "not_on_sale"
    ? `${name} was not on sale at that moment`
    : `${name}: ${failure.code.replaceAll("_", " ")}`;
  return { at, kind: "bad", what: "Decided: failed", detail: why };
}

function tried({ attempt, started_at: started, ended_at: at, error, worker_id: worker }) {
  const by = worker ? `, worker ${short(worker)}` : "";
  return { at, kind: "bad", what: `Attempt ${attempt} failed`, detail: `${error} (after ${span(between(started, at))}${by})` };
}

function item({ at, kind, what, detail, after }) {
  const made = element("li", { "data-kind": kind }, element("span", { class: "what" }, what), " ");
  if (at) made.append(time(at));
  if (after > 0) made.append(element("span", { class: "note after" }, ` +${span(after)}`));
  if (detail) made.append(element("span", { class: "note detail" }, detail));
  return made;
}

const pieces = (all, cancelled) => cancelled ? `${count(all)}, ${count(cancelled)} cancelled` : count(all);

function row({ product_id: id, quantity, cancelled_quantity: cancelled, unit_price: price }, products, currency) {
  const known = products[id];
  const name = known ? productLink(known) : element("span", {}, "product ", element("code", { title: id }, short(id)), " (archived)");
  return element("tr", {},
    element("td", { class: "reason" }, name),
    element("td", { class: "number" }, pieces(quantity, cancelled)),
    element("td", { class: "number" }, money(price, currency)));
}

part("cancel").addEventListener("click", async () => {
  const { id, status } = shown;
  const text = status === "pending" ? "It will not be decided." : "Its stock goes back, and what was done after the sale is undone.";
  if (await confirmed(`Cancel order ${short(id)}?`, `${text} This cannot be taken back. (${id})`, "Cancel the order")) {
    await act(() => post(`/orders/${id}/cancel`), `Order ${short(id)} is cancelled.`);
  }
});
part("process").addEventListener("click", async () => {
  const { id } = shown;
  const text = "Its task is put on the queue, at once, also if it was done before. Its handler sees the same id.";
  if (await confirmed(`Process order ${short(id)} again?`, text, "Process")) {
    await act(() => post(`/orders/${id}/process`), `The task of order ${short(id)} is on the queue.`);
  }
});
