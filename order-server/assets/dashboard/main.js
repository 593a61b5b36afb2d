// The page: shows the view that the address names, asks every two seconds, one round after the other,
// and shows the answers.

import * as access from "./access.js";
import { Away, get, key, Refused } from "./client.js";
import * as dead from "./dead.js";
import "./dialogs.js";
import { write } from "./format.js";
import * as order from "./order.js";
import * as orders from "./orders.js";
import * as overview from "./overview.js";
import * as product from "./product.js";
import * as products from "./products.js";
import { route } from "./router.js";
import * as tasks from "./tasks.js";

const POLL_MS = 2_000;
const LONGEST_PAUSE_MS = 30_000;
// How long an answer may take before the page says that there is none, though it may still come.
const FROZEN_MS = 2_500;

const at = (id) => document.getElementById(id);
let here = null;
let timer = null;
let frozen = null;
let asking = false;
// Whether somebody wants to know sooner than at the next round.
let again = false;
let failures = 0;

// ---- Views

function viewOf({ view, id }) {
  if (view === "orders") return id ? ["order", order] : ["orders", orders];
  if (view === "products") return id ? ["product", product] : ["products", products];
  return { tasks: ["tasks", tasks], dead: ["dead", dead] }[view] ?? ["overview", overview];
}

function arrive() {
  const before = here;
  here = { ...route(), address: location.hash };
  [here.name, here.show] = viewOf(here);
  for (const section of document.querySelectorAll("[data-view]")) section.hidden = section.dataset.view !== here.name;
  for (const link of document.querySelectorAll("nav a[data-name]")) {
    if (link.dataset.name.split(" ").includes(here.name)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  for (const node of document.querySelectorAll("[data-problem]")) node.hidden = true;
  here.show.enter?.(here);
  document.title = `${here.show.title(here)} · Orders`;
  // Whoever reads by ear or key begins where the new view begins.
  if (before && before.name !== here.name) {
    scrollTo(0, 0);
    at("main").focus({ preventScroll: true });
  }
  ask();
}

// ---- Asking

async function ask() {
  again = asking;
  if (asking || document.hidden) return;
  clearTimeout(timer);
  asking = true;
  frozen = setTimeout(() => connected("away", "Not connected: the server has not answered for seconds."), FROZEN_MS);
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
    clearTimeout(frozen);
    asking = false;
  }
  if (pause !== null) timer = setTimeout(ask, again ? 0 : pause);
}

// One round. Fails when there is no sense in asking on: no answer, or no key. A part that is refused
// says so itself.
async function round() {
  access.show(await get("/access"));
  const asked = here;
  const questions = asked.show.questions(asked);
  const answers = await Promise.allSettled(questions.map(([, question]) => question()));
  // Somebody may have gone elsewhere meanwhile.
  if (asked === here) answers.forEach((answer, index) => tell(questions[index], answer));
  const grave = answers.map(({ reason }) => reason).find(isGrave);
  if (grave) throw grave;
}

function tell([name, , show], { status, value, reason }) {
  if (status === "fulfilled") {
    show(value);
    document.title = `${here.show.title(here)} · Orders`;
  }
  const node = document.querySelector(`[data-problem="${name}"]`);
  write(node, reason ? `Not shown: ${reason.message}` : "");
  node.hidden = !reason;
}

const isGrave = (error) => error instanceof Away || (error instanceof Refused && [401, 503].includes(error.status));

function connected(state, text) {
  const node = at("connection");
  if (node.dataset.state !== state) node.dataset.state = state;
  write(node, text);
  at("retry").hidden = state !== "away";
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

at("retry").addEventListener("click", () => {
  failures = 0;
  ask();
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
document.addEventListener("look", ask);
window.addEventListener("hashchange", arrive);
arrive();
