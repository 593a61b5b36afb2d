"""Sells by the client that openapi-generator makes of the document for Python."""

import os
import uuid

from orders_api import ApiClient, Configuration, OrdersApi, ProductsApi
from orders_api.exceptions import ConflictException
from orders_api.models import Buy, BuyLine, BuyOfLines, BuyOfOneProduct
from orders_api.models import CreateProduct, CreateProductPrice, Problem

configuration = Configuration(host=os.environ["ORIGIN"], access_token=os.environ["KEY"])
with ApiClient(configuration) as shop:
    products, orders = ProductsApi(shop), OrdersApi(shop)
    price = CreateProductPrice("19.99")
    product = products.create_product(CreateProduct(name="Lamp", price=price, stock=3))
    order = orders.purchase(
        Buy(BuyOfOneProduct(product_id=product.id, quantity=2)),
        idempotency_key=str(uuid.uuid4()),
    )
    lines = [BuyLine(product_id=product.id, quantity=2)]
    try:
        orders.purchase(Buy(BuyOfLines(lines=lines)))
        raise AssertionError("it sold what is not there")
    except ConflictException as refused:
        problem = Problem.from_json(refused.body or "")
        assert problem is not None
    page = products.list_products(ids=[product.id], in_stock=True)
    seen = orders.get_order_with_http_info(order.id)
    assert seen.headers is not None
    cancelled = orders.cancel_order(order.id, if_match=seen.headers["etag"])
    told = f"{order.status.value} {order.total_price} {order.currency} {problem.code} {len(page.items)}"
    assert told == "success 39.98 USD insufficient_stock 1", told
    assert cancelled.status == "cancelled", cancelled
print(f"Python (openapi-generator): {told}")
