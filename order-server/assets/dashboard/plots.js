// What happened over time: orders and tasks by the counters of the database, requests by those of the
// server that answered.

import { get } from "./client.js";
import { count, rate, span } from "./format.js";
import { Plot } from "./plot.js";

const at = (id) => document.getElementById(id);

const throughput = new Plot(at("throughput"), {
  label: "Orders per second",
  series: [{ name: "accepted", label: "Accepted" }, { name: "sold", label: "Sold" }, { name: "failed", label: "Sold out" }],
  format: rate,
  least: 10,
});
const waits = new Plot(at("waits"), {
  label: "How long those decided at each moment had waited",
  series: [{ name: "mean", label: "On average" }, { name: "longest", label: "Longest" }],
  format: span,
  least: 0.01,
});
const tasks = new Plot(at("task-throughput"), {
  label: "Tasks per second",
  series: [{ name: "began", label: "Sold" }, { name: "completed", label: "Done" }],
  format: rate,
  least: 10,
});
const backlog = new Plot(at("backlog"), {
  label: "What was to do at each moment",
  series: [{ name: "pending", label: "To decide" }, { name: "unprocessed", label: "Tasks" }],
  format: count,
  least: 10,
});
const requests = new Plot(at("requests"), {
  label: "Requests per second",
  series: [{ name: "all", label: "All" }, { name: "conflicts", label: "Sold out" }, { name: "refused", label: "Refused" },
    { name: "errors", label: "Errors" }],
  format: rate,
  least: 10,
});
const times = new Plot(at("times"), {
  label: "Time until an answer",
  series: [{ name: "p50", label: "Half within" }, { name: "p99", label: "99 % within" }],
  format: span,
  least: 0.01,
});

at("range").addEventListener("change", () => document.dispatchEvent(new Event("look")));

// The questions of a round.
export function questions() {
  const range = at("range").value;
  return [
    ["plots", () => get(`/stats/history?range=${range}`), showOrders],
    ["requests", () => get(`/stats/requests?range=${range}`), showRequests],
  ];
}

// Counts of steps as rates; the last step may not be over.
function rates({ at: now, from, step_seconds: step }, counts) {
  const last = counts.length - 1;
  const elapsed = (new Date(now) - new Date(from)) / 1000 - last * step;
  return counts.map((number, index) => number / (index === last ? Math.max(1, Math.min(step, elapsed)) : step));
}

const data = (body, columns) => ({
  from: new Date(body.from), step: body.step_seconds, length: Object.values(columns)[0].length, columns,
});

function showOrders(body) {
  const [accepted, sold, failed, completed] = [body.accepted, body.sold, body.failed, body.completed]
    .map((counts) => rates(body, counts));
  throughput.show(data(body, { accepted, sold, failed }));
  waits.show(data(body, { mean: body.mean_wait_seconds, longest: body.longest_wait_seconds }));
  tasks.show(data(body, { began: sold, completed }));
  backlog.show(data(body, { pending: body.pending, unprocessed: body.unprocessed }));
}

function showRequests(body) {
  const [all, conflicts, refused, errors] = [body.requests, body.conflicts, body.refused, body.failed]
    .map((counts) => rates(body, counts));
  requests.show(data(body, { all, conflicts, refused, errors }));
  times.show(data(body, { p50: body.p50_seconds, p99: body.p99_seconds }));
}
