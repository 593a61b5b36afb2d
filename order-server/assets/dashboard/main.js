// The page: asks every two seconds, one round after the other, and shows the answers.

import { Away, get, key, post, Refused } from "./client.js";
import { count, rate, short, span, write } from "./format.js";
import { Plot } from "./plot.js";
import * as tables from "./tables.js";
import * as timeline from "./timeline.js";

const POLL_MS = 2_000;
const LONGEST_PAUSE_MS = 30_000;
const SPEAK_MS = 15_000;
const OUTCOME_MS = 30_000;
const RECENT_ORDERS = 12;
const DEAD_LETTERS = 50;
const TOPICS = ["process", "validate"];

const at = (id) => document.getElementById(id);
let mayOperate = false;
let timer = null;
let asking = false;
// Whether somebody wants to know sooner than at the next round.
let again = false;
let failures = 0;
let spokenAt = 0;
let outcomeTimer = null;

const throughput = new Plot(at("throughput"), {
  label: "Orders per second",
  series: [{ name: "accepted", label: "Accepted" }, { name: "sold", label: "Sold" }, { name: "failed", label: "Failed" }],
  format: rate,
  least: 10,
});
const waits = new Plot(at("waits"), {
  label: "How long those decided in each second had waited",
  series: [{ name: "mean", label: "On average" }, { name: "longest", label: "Longest" }],
  format: span,
  least: 0.01,
});

// ---- Asking

// What is asked in each round, and how it is shown. A part that is refused says so itself.
function questions() {
  const status = at("status").value;
  return [
    ["stats", ["/stats"], ([body]) => showStats(body)],
    ["queues", ["/queue"], ([body]) => tables.queues(body.topics, mayOperate, { pause, resume })],
    ["workers", ["/workers"], ([body]) => tables.workers(body.workers)],
    ["dead", TOPICS.map((topic) => `/queue/dead?topic=${topic}&limit=${DEAD_LETTERS}`),
      (bodies) => tables.dead(bodies.flatMap((body) => body.items), mayOperate, { redrive, open: timeline.open })],
    ["orders", [`/orders?page_size=${RECENT_ORDERS}${status ? `&status=${status}` : ""}`],
      ([body]) => tables.orders(body.items, timeline.open)],
  ];
}

async function ask() {
  again = asking;
  if (asking || document.hidden) return;
  clearTimeout(timer);
  asking = true;
  let pause = POLL_MS;
  try {
    await round();
    failures = 0;
    connected("live", "Live");
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      pause = null;
      askForKey();
    } else {
      pause = Math.min(LONGEST_PAUSE_MS, POLL_MS * 2 ** failures);
      failures += 1;
      connected("away", `Not connected: ${error.message} Next try in ${Math.round(pause / 1000)} s.`);
    }
  } finally {
    asking = false;
  }
  if (pause !== null) timer = setTimeout(ask, again ? 0 : pause);
}

// One round. Fails when there is no sense in asking on: no answer, or no key.
async function round() {
  const access = await get("/access");
  showAccess(access);
  const asked = questions();
  const answers = await Promise.allSettled(asked.map(([, paths]) => Promise.all(paths.map(get))));
  answers.forEach(({ status, value, reason }, index) => {
    const [name, , show] = asked[index];
    if (status === "fulfilled") show(value);
    problem(name, reason);
  });
  const grave = answers.map(({ reason }) => reason).find(isGrave);
  await timeline.refresh();
  if (grave) throw grave;
}

const isGrave = (error) => error instanceof Away || (error instanceof Refused && [401, 503].includes(error.status));

function problem(name, error) {
  const node = document.querySelector(`[data-problem="${name}"]`);
  write(node, error ? `Not shown: ${error.message}` : "");
  node.hidden = !error;
}

function connected(state, text) {
  const node = at("connection");
  if (node.dataset.state !== state) node.dataset.state = state;
  write(node, text);
  at("retry").hidden = state !== "away";
}

// ---- Showing

function showAccess(access) {
  mayOperate = ["admin", "operate"].some((scope) => access.scopes.includes(scope));
  document.querySelector('[data-needs="operate"]').hidden = mayOperate;
  at("forget").hidden = !key.get();
}

function showStats(stats) {
  const { totals, series } = stats;
  for (const name of ["pending", "success", "completed", "failed", "cancelled", "accepted"]) {
    write(document.querySelector(`[data-count="${name}"]`), count(totals[name]));
  }
  const lately = series.sold.slice(-10).reduce((sum, sold) => sum + sold, 0) / 10;
  write(document.querySelector('[data-count="rate"]'), rate(lately));
  const oldest = stats.oldest_pending_age_seconds;
  write(document.querySelector('[data-note="pending"]'), oldest == null ? "nobody waits" : `oldest ${span(oldest)}`);
  const from = new Date(series.from);
  const { accepted, sold, failed, mean_wait_seconds: mean, longest_wait_seconds: longest } = series;
  throughput.show({ from, length: sold.length, columns: { accepted, sold, failed } });
  waits.show({ from, length: longest.length, columns: { mean, longest } });
  write(at("percentiles"), percentiles(stats.wait));
  tables.hot(stats.hot_products);
  speak(totals);
}

function percentiles(wait) {
  if (!wait) return "No order has waited in the last five minutes: purchases are decided at once.";
  return `Half waited up to ${span(wait.p50_seconds)}, 95 % up to ${span(wait.p95_seconds)}, `
    + `99 % up to ${span(wait.p99_seconds)} (the last ${count(wait.orders)} that waited).`;
}

// Screen readers hear the figures now and then, and not at every poll.
function speak(totals) {
  if (Date.now() - spokenAt < SPEAK_MS) return;
  const text = `${count(totals.sold)} sold, ${count(totals.pending)} pending, ${count(totals.failed)} failed`;
  if (at("spoken").textContent === text) return;
  at("spoken").textContent = text;
  spokenAt = Date.now();
}

// ---- Acting

async function act(path, done) {
  const outcome = at("outcome");
  try {
    await post(path);
    outcome.textContent = done;
    delete outcome.dataset.bad;
  } catch (error) {
    outcome.textContent = `Not done: ${error.message}`;
    outcome.dataset.bad = "";
  }
  outcome.hidden = false;
  clearTimeout(outcomeTimer);
  outcomeTimer = setTimeout(() => { outcome.hidden = true; }, OUTCOME_MS);
  ask();
}

async function pause(topic) {
  const what = topic === "validate" ? "Orders in the background wait, undecided," : "What follows a sale waits";
  if (await confirmed(`Pause ${topic}?`, `${what} until somebody resumes it. Nothing is lost.`, "Pause")) {
    await act(`/queue/${topic}/pause`, `${topic} is paused.`);
  }
}

const resume = (topic) => act(`/queue/${topic}/resume`, `${topic} goes on.`);

async function redrive({ topic, order_id: id }) {
  const text = `What failed is tried again from the beginning, as if it had never been tried. (${id})`;
  if (await confirmed(`Redrive order ${short(id)}?`, text, "Redrive")) {
    await act(`/queue/dead/${id}/redrive?topic=${topic}`, `Order ${short(id)} is on its way again.`);
  }
}

function confirmed(title, text, yes) {
  const dialog = at("confirm");
  write(at("confirm-title"), title);
  write(at("confirm-text"), text);
  write(at("confirm-yes"), yes);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// ---- The key

function askForKey() {
  const had = key.get();
  key.forget();
  at("forget").hidden = true;
  connected("connecting", "Waiting for a key");
  const refused = at("key-problem");
  refused.hidden = !had;
  refused.textContent = had ? "That key is not in force." : "";
  if (!at("key").open) at("key").showModal();
}

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(at("key-input").value.trim());
  at("key-input").value = "";
  at("key").close();
  ask();
});
// Without a key there is nothing to see behind it.
at("key").addEventListener("cancel", (event) => event.preventDefault());
at("forget").addEventListener("click", () => {
  key.forget();
  ask();
});

// ---- The rest of the page

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
at("confirm-yes").addEventListener("click", () => at("confirm").close("yes"));
at("retry").addEventListener("click", () => {
  failures = 0;
  ask();
});
at("status").addEventListener("change", ask);
at("find").addEventListener("submit", (event) => {
  event.preventDefault();
  timeline.open(at("find-id").value.trim());
});

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  at("theme").value = theme;
}
setTheme(localStorage.getItem("orders.theme") ?? "");
at("theme").addEventListener("change", ({ target }) => {
  localStorage.setItem("orders.theme", target.value);
  setTheme(target.value);
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else ask();
});
ask();
