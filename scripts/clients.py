"""Sells by the client that openapi-python-client makes of the document."""

import os
import uuid

from orders_client import AuthenticatedClient
from orders_client.api.orders import cancel_order, purchase
from orders_client.api.products import create_product, list_products
from orders_client.models import BuyOfLines, BuyOfOneProduct, BuyLine, CreateProduct
from orders_client.models import Order, Problem, Product, ProductPage

shop = AuthenticatedClient(base_url=os.environ["ORIGIN"], token=os.environ["KEY"])

product = create_product.sync(client=shop, body=CreateProduct(name="Lamp", price="19.99", stock=3))
assert isinstance(product, Product), product
order = purchase.sync(
    client=shop,
    body=BuyOfOneProduct(product_id=product.id, quantity=2),
    idempotency_key=str(uuid.uuid4()),
)
assert isinstance(order, Order), order
lines = [BuyLine(product_id=product.id, quantity=2)]
refused = purchase.sync(client=shop, body=BuyOfLines(lines=lines))
assert isinstance(refused, Problem), refused
page = list_products.sync(client=shop, ids=[product.id], in_stock=True)
assert isinstance(page, ProductPage), page
cancelled = cancel_order.sync(id=order.id, client=shop)
assert isinstance(cancelled, Order), cancelled
told = f"{order.status} {order.total_price} {order.currency} {refused.code} {len(page.items)}"
assert told == "success 39.98 USD insufficient_stock 1", told
assert cancelled.status == "cancelled", cancelled
print(f"Python: {told}")
