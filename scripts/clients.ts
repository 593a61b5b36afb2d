// Sells by the client that openapi-typescript and openapi-fetch make of the document.
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

declare const process: { env: Record<string, string | undefined> };

const shop = createClient<paths>({
  baseUrl: process.env.ORIGIN,
  headers: { Authorization: `Bearer ${process.env.KEY}` },
});

function must<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

const product = must(await shop.POST("/api/v1/products", {
  body: { name: "Lamp", price: "19.99", stock: 3 },
}));
const order = must(await shop.POST("/api/v1/orders/purchase", {
  params: { header: { "Idempotency-Key": crypto.randomUUID() } },
  body: { product_id: product.id, quantity: 2 },
}));
const refused = await shop.POST("/api/v1/orders/purchase", {
  body: { lines: [{ product_id: product.id, quantity: 2 }] },
});
const list = must(await shop.GET("/api/v1/products", {
  params: { query: { ids: [product.id], in_stock: true } },
  querySerializer: { array: { style: "form", explode: false } },
}));
const cancelled = must(await shop.POST("/api/v1/orders/{id}/cancel", {
  params: { path: { id: order.id } },
}));
const told = [order.status, order.total_price, order.currency, refused.error?.code,
  list.items.length, cancelled.status].join(" ");
if (told !== "success 39.98 USD insufficient_stock 1 cancelled") throw new Error(told);
console.log(`TypeScript: ${told}`);
