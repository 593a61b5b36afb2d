//! Operations on orders: place in the background, buy at once, read, list, cancel.

use order_core::{
    Error, OrderService,
    domain::{
        ClientId, Order, OrderId, OrderRequest, OrderStatus, PageRequest, PageStart, ProductId,
        Progress, ReturnRequest, TimeRange,
    },
    store::OrderQuery,
};
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
};
use serde::Serialize;
use uuid::Uuid;

use super::{
    cursor::{encode, page_request},
    follow::Follow,
    idempotency_header::{IdempotencyHeader, replayed},
    order_body::{Buy, Cancel, OrderBody, Status, StatusBody, is_visible, requested},
    tag::Tag,
    wire::Time,
};
use crate::{
    auth::{ReadOrders, WriteOrders},
    http::{json::Json, optional_json::OptionalJson, prefer::Wait, problem::Problem},
};

/// A page of orders, newest first.
#[derive(Debug, Serialize, Object)]
struct OrderPage {
    items: Vec<OrderBody>,
    /// Cursor of the next page; `null` on the last page.
    next_cursor: Option<String>,
    /// Only with `page`: the total number, counted up to 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    total: Option<u64>,
}

impl OrderPage {
    /// A page of nothing.
    fn empty(page: &PageRequest<OrderId>) -> Self {
        Self {
            items: Vec::new(),
            next_cursor: None,
            total: matches!(page.start, PageStart::Offset(_)).then_some(0),
        }
    }
}

#[derive(ApiResponse)]
enum Accepted {
    /// Stored, and will be decided soon
    #[oai(status = 202)]
    Order(
        Json<OrderBody>,
        #[oai(header = "Location")] String,
        #[oai(header = "Preference-Applied")] Option<String>,
        /// `true` if an earlier request with this key did it
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
    /// Stored, and decided while the client waited
    #[oai(status = 200)]
    Decided(
        Json<OrderBody>,
        #[oai(header = "Location")] String,
        #[oai(header = "Preference-Applied")] Option<String>,
        /// `true` if an earlier request with this key did it
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

#[derive(ApiResponse)]
enum Found {
    /// The order
    #[oai(status = 200)]
    Order(
        Json<OrderBody>,
        #[oai(header = "Preference-Applied")] Option<String>,
    ),
}

#[derive(ApiResponse)]
enum Bought {
    /// Sold
    #[oai(status = 201)]
    Order(
        Json<OrderBody>,
        #[oai(header = "Location")] String,
        #[oai(header = "Preference-Applied")] Option<String>,
        /// `true` if an earlier request with this key did it
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

#[derive(ApiResponse)]
enum Cancelled {
    /// The order as it is now
    #[oai(status = 200)]
    Order(
        Json<OrderBody>,
        /// `true` if an earlier request with this key did it
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

/// The operations on orders.
pub struct Orders {
    service: OrderService,
    follow: Follow,
}

impl Orders {
    pub(super) fn new(service: OrderService, follow: Follow) -> Self {
        Self { service, follow }
    }

    /// The order, if it is one of this client's, where only those may be seen. An order of another
    /// client is as if it were not there.
    async fn find(&self, id: Uuid, only: Option<ClientId>) -> Result<Order, Problem> {
        let order = self.service.order(OrderId(id)).await?;
        let order = order.filter(|order| is_visible(order, only));
        order.ok_or_else(|| Problem::order_not_found(id))
    }
}

#[OpenApi(tag = "Tag::Orders")]
impl Orders {
    /// Place an order in the background: it is stored now and decided soon. One that is decided while
    /// the client waits is answered 200
    #[oai(path = "/orders", method = "post", operation_id = "acceptOrder")]
    async fn accept(
        &self,
        caller: WriteOrders,
        /// `wait=N` waits up to N seconds, at most 30, for the decision
        #[oai(name = "Prefer")]
        wait: Wait,
        /// Makes the request safe to repeat: one order is stored for a key
        #[oai(name = "Idempotency-Key")]
        idempotency: IdempotencyHeader,
        body: Json<Buy>,
    ) -> Result<Accepted, Problem> {
        let accepted = self
            .service
            .accept_or_replay(request(body, idempotency, &caller)?)
            .await?;
        let replayed = replayed(accepted.replayed);
        let (order, applied) = self.follow.decided(accepted.value, wait).await;
        let location = location(&order);
        Ok(match order.status {
            OrderStatus::Pending => {
                Accepted::Order(Json(order.into()), location, applied, replayed)
            }
            _ => Accepted::Decided(Json(order.into()), location, applied, replayed),
        })
    }

    /// Buy at once: the order is sold, or answered 409 and not stored
    #[oai(path = "/orders/purchase", method = "post", operation_id = "purchase")]
    async fn purchase(
        &self,
        caller: WriteOrders,
        /// `wait=N` waits up to N seconds, at most 30, longer than other requests may take
        #[oai(name = "Prefer")]
        wait: Wait,
        /// Makes the request safe to repeat: one order is sold for a key. The key of a refused
        /// request is not kept, and a repetition is decided again
        #[oai(name = "Idempotency-Key")]
        idempotency: IdempotencyHeader,
        body: Json<Buy>,
    ) -> Result<Bought, Problem> {
        let bought = self
            .service
            .purchase_or_replay(request(body, idempotency, &caller)?)
            .await?;
        let location = location(&bought.value);
        let replayed = replayed(bought.replayed);
        let (order, applied) = (Json(bought.value.into()), wait.applied());
        Ok(Bought::Order(order, location, applied, replayed))
    }

    /// List orders, newest first
    #[oai(path = "/orders", method = "get", operation_id = "listOrders")]
    #[allow(clippy::too_many_arguments)] // Each is a parameter of the query.
    async fn list(
        &self,
        caller: ReadOrders,
        /// Items per page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        page_size: Query<Option<u32>>,
        /// The same as `page_size`
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// The `next_cursor` of the previous page
        cursor: Query<Option<String>>,
        /// Page number from 1, instead of a cursor; reaches the first 10000 rows
        page: Query<Option<u32>>,
        /// Only orders in this state
        status: Query<Option<Status>>,
        /// Only orders with a line of this product
        product_id: Query<Option<Uuid>>,
        /// Only orders with exactly this reference
        reference: Query<Option<String>>,
        /// Only orders for exactly this customer
        customer: Query<Option<String>>,
        /// Only orders that were created at this time or after it
        created_after: Query<Option<Time>>,
        /// Only orders that were created before this time
        created_before: Query<Option<Time>>,
        /// Only orders that this client placed. A key that may see no others gives only its own
        client: Query<Option<Uuid>>,
    ) -> Result<Json<OrderPage>, Problem> {
        let client = client.0.map(ClientId);
        let page = page_request(page_size.0, limit.0, cursor.0.as_deref(), page.0)?;
        if let (Some(only), Some(client)) = (caller.only, client)
            && only != client
        {
            return Ok(Json(OrderPage::empty(&page)));
        }
        let query = OrderQuery {
            status: status.0.map(Into::into),
            product_id: product_id.0.map(ProductId),
            reference: reference.0,
            customer: customer.0,
            created: TimeRange {
                from: created_after.0,
                until: created_before.0,
            },
            client: caller.only.or(client),
            page,
        };
        let page = self.service.orders(&query).await?;
        Ok(Json(OrderPage {
            items: page.items.into_iter().map(Into::into).collect(),
            next_cursor: page.next.map(|id| encode(id.0)),
            total: page.total,
        }))
    }

    /// Read an order
    #[oai(path = "/orders/:id", method = "get", operation_id = "getOrder")]
    async fn get(
        &self,
        caller: ReadOrders,
        id: Path<Uuid>,
        /// `wait=N` waits up to N seconds, at most 30, for the decision
        #[oai(name = "Prefer")]
        wait: Wait,
    ) -> Result<Found, Problem> {
        let order = self.find(id.0, caller.only).await?;
        let (order, applied) = self.follow.decided(order, wait).await;
        Ok(Found::Order(Json(order.into()), applied))
    }

    /// Read the state of an order
    #[oai(
        path = "/orders/:id/status",
        method = "get",
        operation_id = "getOrderStatus"
    )]
    async fn status(
        &self,
        caller: ReadOrders,
        id: Path<Uuid>,
    ) -> Result<Json<StatusBody>, Problem> {
        let order = Progress::from(&self.find(id.0, caller.only).await?);
        Ok(Json(StatusBody::at(&order, order.stage())))
    }

    /// Cancel an order and return its stock: all that is left of it, or `lines`. An order that is
    /// cancelled already stays so. One of which something is left stays held or sold, and one that is
    /// completed stays that
    #[oai(
        path = "/orders/:id/cancel",
        method = "post",
        operation_id = "cancelOrder"
    )]
    async fn cancel(
        &self,
        caller: WriteOrders,
        id: Path<Uuid>,
        /// Makes the request safe to repeat
        #[oai(name = "Idempotency-Key")]
        idempotency: IdempotencyHeader,
        body: OptionalJson<Cancel>,
    ) -> Result<Cancelled, Problem> {
        if caller.only.is_some() {
            // The client of an order never changes.
            self.find(id.0, caller.only).await?;
        }
        let cancelled = match body.0.and_then(|body| body.lines) {
            None => {
                let cancelled = self.service.cancel_or_replay(OrderId(id.0), idempotency.0);
                cancelled.await?
            }
            Some(lines) => {
                let mut request = ReturnRequest::new(requested(&lines)?).map_err(Error::from)?;
                if let Some(key) = idempotency.0 {
                    request = request.with_key(key);
                }
                self.service.give_back(OrderId(id.0), request).await?
            }
        };
        let cancelled = cancelled.ok_or_else(|| Problem::order_not_found(id.0))?;
        let replayed = replayed(cancelled.replayed);
        Ok(Cancelled::Order(Json(cancelled.value.into()), replayed))
    }
}

fn request(
    body: Json<Buy>,
    idempotency: IdempotencyHeader,
    caller: &WriteOrders,
) -> Result<OrderRequest, Problem> {
    let request = OrderRequest::try_from(body.0)?.of_client(caller.client);
    Ok(match idempotency.0 {
        Some(key) => request.with_key(key),
        None => request,
    })
}

fn location(order: &Order) -> String {
    format!("/api/v1/orders/{}", order.id)
}
