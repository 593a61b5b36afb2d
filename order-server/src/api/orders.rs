//! Orders: buy at once or in the background, follow, list, cancel.

use order_core::{
    Error, OrderService,
    domain::{
        Order, OrderId, OrderLine, OrderRequest, OrderStatus, ProductId, Quantity, RequestedLine,
    },
    store::OrderQuery,
};
use poem_openapi::{
    ApiResponse, Enum, Object, OpenApi,
    param::{Path, Query},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Tag,
    cursor::{encode, page_request},
    wire::Amount,
};
use crate::{
    auth::{ReadOrders, WriteOrders},
    http::{json::Json, problem::Problem},
};

type Time = chrono::DateTime<chrono::Utc>;

/// One line to buy.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct BuyLine {
    product_id: Uuid,
    /// How many pieces.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    quantity: i64,
}

/// What to buy: `product_id` and `quantity`, or `lines`.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
struct Buy {
    product_id: Option<Uuid>,
    /// How many pieces.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    quantity: Option<i64>,
    /// All of them or none are sold. The same product may be named more than once.
    #[oai(validator(min_items = 1, max_items = 100))]
    lines: Option<Vec<BuyLine>>,
    /// A note of your own, up to 255 characters.
    #[oai(validator(max_length = 255))]
    reference: Option<String>,
}

impl TryFrom<Buy> for OrderRequest {
    type Error = Error;

    fn try_from(buy: Buy) -> Result<Self, Error> {
        let lines = match (buy.product_id, buy.quantity, buy.lines) {
            (Some(product_id), Some(quantity), None) => vec![RequestedLine {
                product_id: ProductId(product_id),
                quantity: Quantity::new(quantity)?,
            }],
            (None, None, Some(lines)) => lines
                .iter()
                .enumerate()
                .map(|(at, line)| {
                    Ok(RequestedLine {
                        product_id: ProductId(line.product_id),
                        quantity: Quantity::new(line.quantity)
                            .map_err(|error| within(&format!("lines[{at}]"), error))?,
                    })
                })
                .collect::<Result<_, Error>>()?,
            (None, None, None) => return Err(Error::invalid("product_id", "is missing")),
            (Some(_), None, None) => return Err(Error::invalid("quantity", "is missing")),
            (None, Some(_), None) => return Err(Error::invalid("product_id", "is missing")),
            (_, _, Some(_)) => {
                let reason = "excludes product_id and quantity";
                return Err(Error::invalid("lines", reason));
            }
        };
        Self::new(lines, buy.reference)
    }
}

/// An error about a field, as one about that field inside of `path`.
fn within(path: &str, error: Error) -> Error {
    match error {
        Error::Invalid { field, reason } => Error::invalid(format!("{path}.{field}"), reason),
        other => other,
    }
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, Enum, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case", rename = "OrderStatus")]
enum Status {
    Pending,
    Success,
    Failed,
    Cancelled,
    Completed,
}

impl From<OrderStatus> for Status {
    fn from(status: OrderStatus) -> Self {
        match status {
            OrderStatus::Pending => Self::Pending,
            OrderStatus::Success => Self::Success,
            OrderStatus::Failed => Self::Failed,
            OrderStatus::Cancelled => Self::Cancelled,
            OrderStatus::Completed => Self::Completed,
        }
    }
}

impl From<Status> for OrderStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Success => Self::Success,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
            Status::Completed => Self::Completed,
        }
    }
}

/// One line of an order.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "OrderLine")]
struct LineBody {
    product_id: Uuid,
    quantity: i64,
    /// The price of one piece when the order was accepted.
    unit_price: Amount,
}

impl From<OrderLine> for LineBody {
    fn from(line: OrderLine) -> Self {
        Self {
            product_id: line.product_id.0,
            quantity: line.quantity.get(),
            unit_price: Amount(line.unit_price),
        }
    }
}

/// Why an order failed.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Failure")]
struct FailureBody {
    /// `insufficient_stock` or `product_unavailable`.
    code: String,
    product_id: Uuid,
    /// Pieces that the whole order asks of this product.
    requested: i64,
    /// Pieces that were left at the order's turn.
    available: i64,
}

/// An order.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Order")]
struct OrderBody {
    id: Uuid,
    status: Status,
    lines: Vec<LineBody>,
    total_price: Amount,
    reference: Option<String>,
    failure: Option<FailureBody>,
    created_at: Time,
    decided_at: Option<Time>,
    completed_at: Option<Time>,
    cancelled_at: Option<Time>,
}

impl From<Order> for OrderBody {
    fn from(order: Order) -> Self {
        Self {
            id: order.id.0,
            status: order.status.into(),
            lines: order.lines.into_iter().map(Into::into).collect(),
            total_price: Amount(order.total_price),
            reference: order.reference,
            failure: order.failure.map(|failure| FailureBody {
                code: failure.code.as_str().to_owned(),
                product_id: failure.product_id.0,
                requested: failure.requested,
                available: failure.available,
            }),
            created_at: order.created_at,
            decided_at: order.decided_at,
            completed_at: order.completed_at,
            cancelled_at: order.cancelled_at,
        }
    }
}

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
