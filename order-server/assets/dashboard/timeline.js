// One order and all that happened to it, in a dialog that follows it while it is open.

import { get, Refused } from "./client.js";
import { count, element, short, span, state, time, money } from "./format.js";

const dialog = document.getElementById("timeline");
const part = (name) => document.getElementById(`timeline-${name}`);
let shown = null;
let last = "";

export async function open(id) {
  shown = id;
  last = "";
  part("id").textContent = id;
  for (const name of ["facts", "events"]) part(name).replaceChildren();
  part("lines").tBodies[0].replaceChildren();
  tell("");
  if (!dialog.open) dialog.showModal();
  await refresh();
}

// It is told a moment after it closed: another order may have been opened by then.
dialog.addEventListener("close", () => { if (!dialog.open) shown = null; });

// Reads the order again, if one is shown.
export async function refresh() {
  const id = shown;
  if (!id) return;
  try {
    const [order, attempts] = await Promise.all([get(`/orders/${encodeURIComponent(id)}`), attemptsOf(id)]);
    // Somebody may have opened another, or closed this one, meanwhile.
    if (shown !== id) return;
    tell("");
    const now = JSON.stringify([order, attempts]);
    if (now !== last) draw(order, attempts);
    last = now;
  } catch (error) {
    if (shown === id) tell(error.message);
  }
}

// A key that may read orders may yet not see what operators see.
async function attemptsOf(id) {
  try {
    return await get(`/orders/${encodeURIComponent(id)}/attempts`);
  } catch (error) {
    if (error instanceof Refused && error.status !== 401) return { task: null, items: [] };
    throw error;
  }
}

function tell(problem) {
  part("problem").textContent = problem;
  part("problem").hidden = !problem;
}

function draw(order, attempts) {
  document.getElementById("timeline-title").textContent = `Order ${short(order.id)}`;
  const waited = order.decided_at && (new Date(order.decided_at) - new Date(order.created_at)) / 1000;
  part("facts").replaceChildren(
    fact("State", state(order.status)),
    fact("Total", money(order.total_price, order.currency)),
    fact("Waited", order.decided_at ? (waited > 0 ? span(waited) : "decided at once") : "still waiting"),
    fact("Reference", order.reference ?? "–"),
  );
  part("events").replaceChildren(...events(order, attempts).map(item));
  part("lines").tBodies[0].replaceChildren(...order.lines.map(line));
}

function fact(name, value) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, value));
}

// What happened, oldest first, and at the end what is still to come.
function events(order, { task, items }) {
  const list = [{ at: order.created_at, kind: "plain", what: "Accepted", detail: "at the prices of that moment" }];
  if (order.decided_at) list.push(decision(order));
  for (const attempt of items) list.push(tried(attempt));
  if (order.completed_at) list.push({ at: order.completed_at, kind: "good", what: "Completed", detail: "what follows the sale is done" });
  if (order.cancelled_at) {
    const detail = order.decided_at ? "its stock went back" : "before it was decided";
    list.push({ at: order.cancelled_at, kind: "bad", what: "Cancelled", detail });
  }
  list.sort((one, other) => new Date(one.at) - new Date(other.at));
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

function decision({ decided_at: at, failure }) {
  if (!failure) return { at, kind: "good", what: "Decided: sold", detail: "every line got its stock" };
  const why = failure.code === "insufficient_stock"
    ? `asks for ${count(failure.requested)} of product ${failure.product_id}, which had ${count(failure.available)} left`
    : `product ${failure.product_id} is not on sale any more`;
  return { at, kind: "bad", what: "Decided: failed", detail: why };
}

function tried({ attempt, started_at: started, ended_at: at, error, worker_id: worker }) {
  const took = span((new Date(at) - new Date(started)) / 1000);
  const by = worker ? `, worker ${short(worker)}` : "";
  return { at, kind: "bad", what: `Attempt ${attempt} failed`, detail: `${error} (after ${took}${by})` };
}

function item({ at, kind, what, detail }) {
  const made = element("li", { "data-kind": kind }, element("span", { class: "what" }, what), " ");
  if (at) made.append(time(at));
  if (detail) made.append(element("span", { class: "note detail" }, detail));
  return made;
}

function line({ product_id: product, quantity, unit_price: price }) {
  return element("tr", {},
    element("td", {}, element("code", { title: product }, short(product))),
    element("td", { class: "number" }, count(quantity)),
    element("td", { class: "number" }, price));
}
