// Sells by the client that openapi-generator makes of the document for TypeScript and fetch.
import { Configuration, OrdersApi, ProductsApi, ResponseError } from "./orders_fetch/index.js";

declare const process: { env: Record<string, string | undefined> };

const configuration = new Configuration({
  basePath: process.env.ORIGIN,
  accessToken: process.env.KEY,
});
const products = new ProductsApi(configuration);
const orders = new OrdersApi(configuration);

const product = await products.createProduct({
  createProduct: { name: "Lamp", price: "19.99", stock: 3 },
});
const order = await orders.purchase({
  idempotencyKey: crypto.randomUUID(),
  buy: { productId: product.id, quantity: 2 },
});
const refused = await orders
  .purchase({ buy: { lines: [{ productId: product.id, quantity: 2 }] } })
  .then(() => undefined, (error: ResponseError) => error.response.json());
const list = await products.listProducts({ ids: [product.id], inStock: true });
const seen = await orders.getOrderRaw({ id: order.id });
const cancelled = await orders.cancelOrder({
  id: order.id,
  ifMatch: seen.raw.headers.get("ETag") ?? undefined,
});
const told = [order.status, order.totalPrice, order.currency, refused?.code,
  list.items.length, cancelled.status].join(" ");
if (told !== "success 39.98 USD insufficient_stock 1 cancelled") throw new Error(told);
console.log(`TypeScript (openapi-generator): ${told}`);
