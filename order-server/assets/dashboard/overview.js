// The overview: figures, plots, queues, workers, and what is asked for most.

import { may } from "./access.js";
import { act } from "./act.js";
import { get, post } from "./client.js";
import { confirmed } from "./dialogs.js";
import { button, fill, plain, rich } from "./fill.js";
import { count, counted, element, money, productLink, rate, span, state, stock, time, write } from "./format.js";
import * as orders from "./orders.js";
import * as plots from "./plots.js";

const SPEAK_MS = 15_000;
const RECENT_ORDERS = 10;
const at = (id) => document.getElementById(id);
let spokenAt = 0;

export const title = () => "Overview";

export function questions() {
  return [
    ["stats", () => get("/stats"), showStats],
    ...plots.questions(),
    ["queues", () => get("/queue"), ({ topics }) => showQueues(topics)],
    ["workers", () => get("/workers"), ({ workers }) => showWorkers(workers)],
    ["recent", () => get(`/orders?page_size=${RECENT_ORDERS}`), ({ items }) => orders.fillOrders(at("recent"), items)],
  ];
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
  write(at("percentiles"), percentiles(stats.wait));
  showHot(stats.hot_products);
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

function showQueues(topics) {
  const dead = ({ topic, dead: number }) => (number
    ? element("a", { class: "low", href: `#/dead?topic=${topic}`, "aria-label": `${counted(number)} dead letters of ${topic}` }, counted(number))
    : element("span", {}, "0"));
  const toggle = ({ topic, paused }) => {
    if (!may("operate")) return element("span", {});
    return paused
      ? button("Resume", `Resume ${topic}`, () => resume(topic))
      : button("Pause", `Pause ${topic}`, () => pause(topic));
  };
  fill(at("queues"), topics, (one) => one.topic, [
    plain((one) => one.topic),
    plain((one) => counted(one.waiting), "number"),
    plain((one) => counted(one.scheduled), "number wide"),
    plain((one) => counted(one.in_flight), "number wide"),
    plain((one) => counted(one.delayed), "number wide"),
    rich(dead, (one) => one.dead, "number"),
    plain((one) => (one.waiting ? span(one.oldest_age_seconds) : "–"), "number wide"),
    rich((one) => state(one.paused ? "paused" : "running"), (one) => one.paused),
    rich(toggle, (one) => [one.paused, may("operate")]),
  ]);
}

function showWorkers(list) {
  fill(at("workers"), list, (one) => one.id, [
    rich((one) => element("span", { title: `${one.id}, version ${one.version}` }, `${one.host}:${one.pid}`), (one) => one.id),
    rich((one) => state(one.state), (one) => one.state),
    plain((one) => count(one.decided), "number"),
    plain((one) => count(one.processed), "number"),
    plain((one) => count(one.in_flight), "number wide"),
    rich((one) => time(one.heartbeat_at), (one) => one.heartbeat_at, "wide"),
  ]);
}

function showHot(products) {
  fill(at("hot"), products, (one) => one.id, [
    rich(productLink, (one) => one.name, "reason"),
    plain((one) => count(one.wanted), "number"),
    rich((one) => stock(one.stock), (one) => one.stock, "number"),
    plain((one) => money(one.price, one.currency), "number wide"),
  ]);
}

async function pause(topic) {
  const what = topic === "validate" ? "Orders in the background wait, undecided," : "What follows a sale waits";
  if (await confirmed(`Pause ${topic}?`, `${what} until somebody resumes it. Nothing is lost.`, "Pause")) {
    await act(() => post(`/queue/${topic}/pause`), `${topic} is paused.`);
  }
}

const resume = (topic) => act(() => post(`/queue/${topic}/resume`), `${topic} goes on.`);
