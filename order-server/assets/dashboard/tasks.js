// The tasks of sold orders, by state: the delay after a sale is no backlog.

import { get } from "./client.js";
import { fill, plain, rich } from "./fill.js";
import { count, counted, orderLink, state, time, write } from "./format.js";

const LISTED = 50;
const STATES = ["waiting", "scheduled", "in_flight", "retrying"];
const COUNTED = { waiting: "waiting", scheduled: "scheduled", in_flight: "in_flight", retrying: "delayed", dead: "dead" };
const SAID = {
  waiting: "Due, and no worker has taken them yet: the backlog.",
  scheduled: "Sold a moment ago: within the delay in which an order can be cancelled without any effect.",
  in_flight: "A worker is at them; the time is when its lease ends.",
  retrying: "Their last attempt failed, and the next one is to come.",
};

const chosen = (parameters) => (STATES.includes(parameters.get("state")) ? parameters.get("state") : "waiting");

export const title = () => "Tasks";

// The counts of all states, above the tasks and the dead letters.
export function showCounts(topics, current) {
  const topic = topics.find((one) => one.topic === "process");
  for (const link of document.querySelectorAll("[data-state-link]")) {
    const name = link.dataset.stateLink;
    write(link.querySelector("b"), counted(topic?.[COUNTED[name]] ?? 0));
    if (name === current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

export function questions({ parameters }) {
  const shown = chosen(parameters);
  return [["tasks", () => Promise.all([get("/queue"), get(`/queue/tasks?state=${shown}&limit=${LISTED + 1}`)]), ([{ topics }, { items }]) => {
    showCounts(topics, shown);
    write(document.getElementById("tasks-said"), SAID[shown]
      + (items.length > LISTED ? ` The first ${count(LISTED)} are shown.` : ""));
    fill(document.getElementById("tasks"), items.slice(0, LISTED), (one) => one.id, [
      rich((one) => orderLink(one.order_id), (one) => one.order_id),
      plain((one) => (one.kind === "compensate" ? "undo" : "process")),
      rich((one) => state(one.state), (one) => one.state),
      plain((one) => count(one.attempts), "number"),
      rich((one) => time(one.at), (one) => one.at),
    ]);
  }]];
}
