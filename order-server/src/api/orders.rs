//! Operations on orders: place in the background, buy at once, read, list, cancel.

use order_core::{
    Error, OrderService,
    domain::{
        ClientId, Order, OrderId, OrderRequest, OrderStatus, PageRequest, PageStart, ProductId,
        Progress, ReturnRequest, Sort, TimeRange,
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
    etag::order_etag,
    follow::Follow,
    idempotency_header::{IdempotencyHeader, replayed},
    order_access::{changeable, find},
    order_body::{Buy, Cancel, OrderBody, Status, StatusBody, requested},
    sort::SortName,
    tag::Tag,
    wire::Time,
};
use crate::{
    auth::{ReadOrders, WriteOrders},
    http::{
        entity_tag::{IfMatch, IfNoneMatch},
        json::Json,
        optional_json::OptionalJson,
        prefer::Wait,
        problem::Problem,
    },
};

/// A page of orders.
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
        #[oai(header = "ETag")] String,
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
        #[oai(header = "ETag")] String,
        #[oai(header = "Preference-Applied")] Option<String>,
        /// `true` if an earlier request with this key did it
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

#[derive(ApiResponse)]
#[allow(clippy::large_enum_variant)] // One is made for an answer, and sent.
enum Found {
    /// The order
    #[oai(status = 200)]
    Order(
        Json<OrderBody>,
        #[oai(header = "ETag")] String,
        #[oai(header = "Preference-Applied")] Option<String>,
    ),
    /// The client has the order as it is now
    #[oai(status = 304)]
    NotModified(
        #[oai(header = "ETag")] String,
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
        #[oai(header = "ETag")] String,
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
        #[oai(header = "ETag")] String,
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
        let answer = match order.status {
            OrderStatus::Pending => Accepted::Order,
            _ => Accepted::Decided,
        };
        let (location, etag) = (location(&order), order_etag(&order));
        let order = Json(order.into());
        Ok(answer(order, location, etag, applied, replayed))
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
        let (location, etag) = (location(&bought.value), order_etag(&bought.value));
        let replayed = replayed(bought.replayed);
        let (order, applied) = (Json(bought.value.into()), wait.applied());
        Ok(Bought::Order(order, location, etag, applied, replayed))
    }

    /// List orders, newest first unless `sort` says otherwise
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
        /// The order of the list; `newest` unless given. A cursor goes on in the order that it is of
        sort: Query<Option<SortName>>,
    ) -> Result<Json<OrderPage>, Problem> {
        let client = client.0.map(ClientId);
        let sort = sort.0.map_or(Sort::default(), Into::into);
        let page = page_request(page_size.0, limit.0, cursor.0.as_deref(), page.0, sort)?;
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
            sort,
            page,
        };
        let page = self.service.orders(&query).await?;
        Ok(Json(OrderPage {
            items: page.items.into_iter().map(Into::into).collect(),
            next_cursor: page.next.map(|id| encode(id.0, sort)),
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
        /// An `ETag` that the client has
        #[oai(name = "If-None-Match")]
        if_none_match: IfNoneMatch,
    ) -> Result<Found, Problem> {
        let order = find(&self.service, id.0, caller.only).await?;
        let (order, applied) = self.follow.decided(order, wait).await;
        let etag = order_etag(&order);
        if if_none_match.0.is_some_and(|known| known.include(&etag)) {
            return Ok(Found::NotModified(etag, applied));
        }
        Ok(Found::Order(Json(order.into()), etag, applied))
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
        let order = Progress::from(&find(&self.service, id.0, caller.only).await?);
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
        /// The `ETag` of the order as it has to be, or several; `*` for any
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        /// Makes the request safe to repeat
        #[oai(name = "Idempotency-Key")]
        idempotency: IdempotencyHeader,
        body: OptionalJson<Cancel>,
    ) -> Result<Cancelled, Problem> {
        let versions = changeable(&self.service, id.0, caller.only, if_match).await?;
        let cancelled = match body.0.and_then(|body| body.lines) {
            None => {
                let service = &self.service;
                service
                    .cancel_if(OrderId(id.0), idempotency.0, versions)
                    .await?
            }
            Some(lines) => {
                let request = ReturnRequest::new(requested(&lines)?).map_err(Error::from)?;
                let versions = versions.into_iter();
                let mut request = versions.fold(request, ReturnRequest::expect_version);
                if let Some(key) = idempotency.0 {
                    request = request.with_key(key);
                }
                self.service.give_back(OrderId(id.0), request).await?
            }
        };
        let cancelled = cancelled.ok_or_else(|| Problem::order_not_found(id.0))?;
        let (etag, replayed) = (order_etag(&cancelled.value), replayed(cancelled.replayed));
        let order = Json(cancelled.value.into());
        Ok(Cancelled::Order(order, etag, replayed))
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
