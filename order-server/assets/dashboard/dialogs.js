// Questions to whoever looks: whether to go on, and what to write.

import { element, write } from "./format.js";

const at = (id) => document.getElementById(id);

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
at("confirm-yes").addEventListener("click", () => at("confirm").close("yes"));
at("form-fields").closest("form").addEventListener("submit", (event) => {
  event.preventDefault();
  at("form").close("yes");
});

function answered(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

export function confirmed(title, text, yes) {
  write(at("confirm-title"), title);
  write(at("confirm-text"), text);
  write(at("confirm-yes"), yes);
  return answered(at("confirm"));
}

// Asks for values, by `fields` of { name, label, and attributes of its input }; null when it is left.
export async function asked(title, text, yes, fields) {
  write(at("form-title"), title);
  write(at("form-text"), text);
  write(at("form-yes"), yes);
  at("form-fields").replaceChildren(...fields.map(({ name, label, ...attributes }) => element("div", {},
    element("label", { for: `form-${name}` }, label),
    element("input", { id: `form-${name}`, name, autocomplete: "off", ...attributes }))));
  if (!await answered(at("form"))) return null;
  const value = ({ name }) => [name, at(`form-${name}`).value.trim()];
  return Object.fromEntries(fields.map(value));
}
