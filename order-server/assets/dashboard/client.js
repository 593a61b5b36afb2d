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
export const post = (path, body) => send("POST", path, body);
export const patch = (path, body, headers) => send("PATCH", path, body, headers);

// A path with the parameters that have a value.
export function query(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value != null && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

// What the server gives, or `instead` where this key may not see it or there is none.
export async function getOr(path, instead) {
  try {
    return await get(path);
  } catch (error) {
    if (error instanceof Refused && [403, 404].includes(error.status)) return instead;
    throw error;
  }
}

async function send(method, path, content, more = {}) {
  const headers = { Accept: "application/json", ...more };
  const shown = key.get();
  if (shown) headers.Authorization = `Bearer ${shown}`;
  if (content !== undefined) headers["Content-Type"] = "application/json";
  let response;
  let body;
  try {
    response = await fetch(new URL(`../api/v1${path}`, import.meta.url), {
      method, headers, cache: "no-store", signal: AbortSignal.timeout(LIMIT_MS),
      body: content === undefined ? undefined : JSON.stringify(content),
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
