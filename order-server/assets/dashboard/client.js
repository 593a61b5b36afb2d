// Asks this server. The key, where one is needed, lives as long as the tab.

const KEY = "orders.key";
const LIMIT_MS = 10_000;

// What the server answered when it did not do what it was asked to.
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
  }
}

// No answer at all.
export class Away extends Error {}

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

export const get = (path) => send("GET", path);
export const post = (path) => send("POST", path);

async function send(method, path) {
  const headers = { Accept: "application/json" };
  const shown = key.get();
  if (shown) headers.Authorization = `Bearer ${shown}`;
  let response;
  let body;
  try {
    response = await fetch(new URL(`../api/v1${path}`, import.meta.url), {
      method, headers, cache: "no-store", signal: AbortSignal.timeout(LIMIT_MS),
    });
    body = await response.text();
  } catch {
    throw new Away("The server does not answer.");
  }
  const json = parsed(body);
  if (!response.ok) throw new Refused(response.status, json ?? {});
  return json;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
