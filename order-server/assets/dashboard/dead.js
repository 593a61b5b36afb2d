// Dead letters: counted, found by reason and time, and redriven, one, those chosen, or all that match.
// However many there are, a page of them is shown.

import { may } from "./access.js";
import { act } from "./act.js";
import { get, post, query } from "./client.js";
import { confirmed } from "./dialogs.js";
import { button, clear, fill, plain, rich } from "./fill.js";
import { count, element, orderLink, short, things, time, write } from "./format.js";
import { address, fields, fillForm, go } from "./router.js";
import { showCounts } from "./tasks.js";

const PAGE = 25;
const at = (id) => document.getElementById(id);
const form = at("dead-filter");
const chosen = new Set();
let page = { items: [], total: 0 };
let filter = {};

export const title = () => "Dead letters";

export function enter() {
  chosen.clear();
  clear(at("dead"));
  clear(at("dead-groups"));
}

export function questions({ parameters }) {
  fillForm(form, parameters);
  const cursor = parameters.get("cursor");
  const hours = Number(parameters.get("hours")) || null;
  filter = {
    topic: parameters.get("topic") === "validate" ? "validate" : "process",
    reason: parameters.get("reason"),
    since: hours && new Date(Date.now() - hours * 3_600_000).toISOString(),
  };
  // What matches is counted whatever page is shown.
  const asked = [get("/queue"), get(query("/queue/dead", { ...filter, limit: PAGE }))];
  if (cursor) asked.push(get(query("/queue/dead", { ...filter, limit: PAGE, cursor })));
  return [["dead", () => Promise.all(asked), ([{ topics }, summary, further]) => {
    showCounts(topics, "dead");
    page = { ...summary, ...(further ? { items: further.items, next_cursor: further.next_cursor } : {}) };
    for (const id of chosen) if (!page.items.some((one) => one.order_id === id)) chosen.delete(id);
    draw(Object.fromEntries(parameters));
  }]];
}

function draw(parameters) {
  const { total, reasons, groups, items, next_cursor: cursor } = page;
  write(at("dead-count"), total ? `${things(total, "dead letter")} with ${things(reasons, "reason")}` : "");
  const operates = may("operate");
  fill(at("dead-groups"), total ? groups : [], (one) => one.reason, [
    rich((one) => element("a", { href: address("dead", { ...parameters, cursor: null, reason: one.reason }) }, one.reason),
      (one) => one.reason, "reason"),
    plain((one) => count(one.count), "number"),
    rich((one) => time(one.latest), (one) => one.latest, "wide"),
  ]);
  fill(at("dead"), items, (one) => `${one.topic} ${one.order_id}`, [
    rich((one) => (operates ? choice(one.order_id) : element("span", {})), () => operates),
    rich((one) => orderLink(one.order_id), (one) => one.order_id),
    plain((one) => one.reason, "reason"),
    plain((one) => count(one.attempts), "number wide"),
    rich((one) => time(one.dead_at), (one) => one.dead_at, "wide"),
    rich((one) => (operates ? button("Redrive", `Redrive order ${short(one.order_id)}`, () => redriveOne(one)) : element("span", {})),
      () => operates),
  ]);
  at("dead-next").hidden = !cursor;
  at("dead-next").href = address("dead", { ...parameters, cursor });
  at("dead-first").hidden = !parameters.cursor;
  at("dead-first").href = address("dead", { ...parameters, cursor: null });
  at("dead-all").hidden = !operates || !total;
  write(at("dead-all"), isFiltered() ? `Redrive the ${things(total, "match", "matches")}` : `Redrive all ${count(total)}`);
  drawChosen();
}

const isFiltered = () => Boolean(filter.reason || filter.since);

function choice(id) {
  const box = element("input", { type: "checkbox", "aria-label": `Choose order ${short(id)}` });
  box.checked = chosen.has(id);
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(id);
    else chosen.delete(id);
    drawChosen();
  });
  return box;
}

function drawChosen() {
  at("dead-chosen").hidden = !may("operate") || chosen.size === 0;
  write(at("dead-chosen"), `Redrive ${count(chosen.size)} chosen`);
  const page_is_chosen = page.items.length > 0 && page.items.every((one) => chosen.has(one.order_id));
  at("dead-page").checked = page_is_chosen;
  at("dead-page").closest("label").hidden = !may("operate") || page.items.length === 0;
}

const ANEW = "What failed is tried again from the beginning, as if it had never been tried.";
const onItsWay = ({ redriven }) => (redriven === 1 ? "1 is on its way again." : `${count(redriven)} are on their way again.`);

async function redriveOne({ topic, order_id: id }) {
  if (await confirmed(`Redrive order ${short(id)}?`, `${ANEW} (${id})`, "Redrive")) {
    await act(() => post(`/queue/dead/${id}/redrive?topic=${topic}`), `Order ${short(id)} is on its way again.`);
  }
}

at("dead-chosen").addEventListener("click", async () => {
  const ids = [...chosen];
  if (await confirmed(`Redrive ${things(ids.length, "order")}?`, ANEW, "Redrive")) {
    await act(() => post("/queue/dead/redrive", { topic: filter.topic, order_ids: ids }), onItsWay);
    chosen.clear();
  }
});
at("dead-all").addEventListener("click", async () => {
  const { topic, reason, since } = filter;
  const said = [reason && `whose reason contains “${reason}”`, since && "of this time"].filter(Boolean).join(" and ");
  const text = `${said ? `All ${said}. ` : ""}${ANEW}`;
  if (await confirmed(`Redrive ${things(page.total, "order")}?`, text, "Redrive all")) {
    const body = { topic, ...(reason ? { reason } : {}), ...(since ? { since } : {}) };
    await act(() => post("/queue/dead/redrive", body), onItsWay);
  }
});
at("dead-page").addEventListener("change", ({ target }) => {
  for (const box of at("dead").querySelectorAll("input")) {
    if (box.checked !== target.checked) box.click();
  }
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  go("dead", fields(form));
});
form.addEventListener("change", ({ target }) => {
  if (target.tagName === "SELECT") go("dead", fields(form));
});
