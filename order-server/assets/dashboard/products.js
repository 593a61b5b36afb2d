// The list of products, and new ones.

import { act } from "./act.js";
import { get, post, query } from "./client.js";
import { asked } from "./dialogs.js";
import { fill, plain, rich } from "./fill.js";
import { money, productLink, stock, time } from "./format.js";
import { address, fields, fillForm, go } from "./router.js";

const PAGE = 25;
const form = document.getElementById("products-filter");
const next = document.getElementById("products-next");
const first = document.getElementById("products-first");

export const title = () => "Products";

export function questions({ parameters }) {
  fillForm(form, parameters);
  first.hidden = !parameters.get("cursor");
  const path = query("/products", {
    page_size: PAGE,
    cursor: parameters.get("cursor"),
    search: parameters.get("search"),
    sku: parameters.get("sku"),
    in_stock: parameters.get("in_stock"),
  });
  return [["products", () => get(path), ({ items, next_cursor: cursor }) => {
    fill(document.getElementById("products"), items, (one) => one.id, [
      rich(productLink, (one) => [one.name, one.sku], "reason"),
      plain((one) => one.sku ?? "–", "wide"),
      rich((one) => stock(one.stock), (one) => one.stock, "number"),
      plain((one) => money(one.price, one.currency), "number"),
      rich((one) => time(one.updated_at), (one) => one.updated_at, "wide"),
    ]);
    next.hidden = !cursor;
    next.href = address("products", { ...Object.fromEntries(parameters), cursor });
    first.href = address("products", { ...Object.fromEntries(parameters), cursor: null });
  }]];
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  go("products", fields(form));
});
document.getElementById("product-create").addEventListener("click", async () => {
  const values = await asked("New product", "It is on sale at once.", "Create", [
    { name: "name", label: "Name", required: "", maxlength: 255 },
    { name: "price", label: "Price", required: "", inputmode: "decimal", pattern: "[0-9]+([.][0-9]+)?", title: "such as 9.99" },
    { name: "stock", label: "Pieces in stock", required: "", type: "number", min: 0, max: 1e12, value: 0 },
    { name: "sku", label: "SKU (optional)", maxlength: 64 },
  ]);
  if (!values) return;
  const { sku, stock: pieces, ...product } = values;
  if (sku) product.sku = sku;
  const made = await act(() => post("/products", { ...product, stock: Number(pieces) }), `${values.name} is on sale.`);
  if (made) go(`products/${made.id}`);
});
