// Which view the address names: #/orders?status=failed, #/orders/<id>, #/products/<id>, …

export function route() {
  const [path, parameters] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, id] = path.split("/").map(decodeURIComponent);
  return { view: view || "overview", id: id || null, parameters: new URLSearchParams(parameters ?? "") };
}

// The address of a list with these parameters; those without a value are left out.
export function address(view, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value != null && value !== "");
  return `#/${view}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

export function go(view, parameters = {}) {
  location.hash = address(view, parameters);
}

// The parameters of a form whose fields are named like them.
export function fields(form) {
  return Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
}

// Writes parameters into the form that they came from, except where somebody is writing.
export function fillForm(form, parameters) {
  for (const field of form.elements) {
    if (field.name && field !== document.activeElement) field.value = parameters.get(field.name) ?? "";
  }
}

// The beginning of a day of local time, as the API takes times; `days` later.
export function day(text, days = 0) {
  if (!text) return null;
  const at = new Date(`${text}T00:00`);
  at.setDate(at.getDate() + days);
  return at.toISOString();
}
