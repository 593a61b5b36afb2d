// What the key in use may do. What it may not do is not offered.

import { key } from "./client.js";

let scopes = [];

export const may = (scope) => scopes.includes("admin") || scopes.includes(scope);

// Shows what needs a scope where the key has it, and the notes about what it lacks.
export function show(access) {
  scopes = access.scopes;
  for (const node of document.querySelectorAll("[data-may]")) node.hidden = !may(node.dataset.may);
  for (const node of document.querySelectorAll("[data-needs]")) node.hidden = may(node.dataset.needs);
  document.getElementById("forget").hidden = !key.get();
}
