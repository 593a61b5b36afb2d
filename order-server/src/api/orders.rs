//! Orders: buy at once or in the background, follow, list, cancel.

use order_core::{
    OrderService,
    domain::{Order, OrderId, ProductId},
    store::OrderQuery,
};
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Tag,
    cursor::{encode, page_request},
    order_body::{Buy, OrderBody, Status, Time},
};
use crate::{
    auth::{ReadOrders, WriteOrders},
    http::{json::Json, problem::Problem},
};

/// Where an order stands, in short.
#[derive(Debug, Serialize, Object)]
struct StatusBody {
    order_id: Uuid,
    status: Status,
    created_at: Time,
    updated_at: Time,
}

/// A page of orders, newest first.
#[derive(Debug, Serialize, Object)]
struct OrderPage {
    items: Vec<OrderBody>,
    /// Gives the next page; `null` at the end.
    next_cursor: Option<String>,
    /// With `page`: how many there are, counted up to 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    total: Option<u64>,
}

#[derive(ApiResponse)]
enum Accepted {
    /// Stored, and will be decided soon
    #[oai(status = 202)]
    Order(Json<OrderBody>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Bought {
    /// Sold
    #[oai(status = 201)]
    Order(Json<OrderBody>, #[oai(header = "Location")] String),
}

/// The operations on orders.
pub struct Orders {
    service: OrderService,
}

impl Orders {
    pub(super) fn new(service: OrderService) -> Self {
        Self { service }
    }

    async fn find(&self, id: Uuid) -> Result<Order, Problem> {
        let order = self.service.order(OrderId(id)).await?;
        order.ok_or_else(|| Problem::order_not_found(id))
    }
}

#[OpenApi(tag = "Tag::Orders")]
impl Orders {
    /// Order in the background: stored now, decided soon
    #[oai(path = "/orders", method = "post", operation_id = "acceptOrder")]
    async fn accept(&self, _caller: WriteOrders, body: Json<Buy>) -> Result<Accepted, Problem> {
        let order = self.service.accept(body.0.try_into()?).await?;
        let location = location(&order);
        Ok(Accepted::Order(Json(order.into()), location))
    }

    /// Buy at once: sold, or 409 and nothing is stored
    #[oai(path = "/orders/purchase", method = "post", operation_id = "purchase")]
    async fn purchase(&self, _caller: WriteOrders, body: Json<Buy>) -> Result<Bought, Problem> {
        let order = self.service.purchase(body.0.try_into()?).await?;
        let location = location(&order);
        Ok(Bought::Order(Json(order.into()), location))
    }

    /// List orders, newest first
    #[oai(path = "/orders", method = "get", operation_id = "listOrders")]
    #[allow(clippy::too_many_arguments)] // Each is a parameter of the query.
    async fn list(
        &self,
        _caller: ReadOrders,
        /// Items on a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        page_size: Query<Option<u32>>,
        /// The `next_cursor` of the page before
        cursor: Query<Option<String>>,
        /// A page number from 1, instead of a cursor; at most 10000 rows deep
        page: Query<Option<u32>>,
        /// Only orders in this state
        status: Query<Option<Status>>,
        /// Only orders with a line of this product
        product_id: Query<Option<Uuid>>,
        /// Only orders with exactly this reference
        reference: Query<Option<String>>,
    ) -> Result<Json<OrderPage>, Problem> {
        let query = OrderQuery {
            status: status.0.map(Into::into),
            product_id: product_id.0.map(ProductId),
            reference: reference.0,
            page: page_request(page_size.0, cursor.0.as_deref(), page.0)?,
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
    async fn get(&self, _caller: ReadOrders, id: Path<Uuid>) -> Result<Json<OrderBody>, Problem> {
        Ok(Json(self.find(id.0).await?.into()))
    }

    /// Read where an order stands
    #[oai(
        path = "/orders/:id/status",
        method = "get",
        operation_id = "getOrderStatus"
    )]
    async fn status(
        &self,
        _caller: ReadOrders,
        id: Path<Uuid>,
    ) -> Result<Json<StatusBody>, Problem> {
        let order = self.find(id.0).await?;
        Ok(Json(StatusBody {
            order_id: order.id.0,
            status: order.status.into(),
            created_at: order.created_at,
            updated_at: order.updated_at(),
        }))
    }

    /// Cancel an order: the stock it holds goes back. One cancelled already stays so
    #[oai(
        path = "/orders/:id/cancel",
        method = "post",
        operation_id = "cancelOrder"
    )]
    async fn cancel(
        &self,
        _caller: WriteOrders,
        id: Path<Uuid>,
    ) -> Result<Json<OrderBody>, Problem> {
        let order = self.service.cancel(OrderId(id.0)).await?;
        let order = order.ok_or_else(|| Problem::order_not_found(id.0))?;
        Ok(Json(order.into()))
    }
}

fn location(order: &Order) -> String {
    format!("/api/v1/orders/{}", order.id)
}
