//! Orders as they look on the wire.

use order_core::{
    Error,
    domain::{
        ClientId, Failure, FailureDetail, HoldTime, Order, OrderLine, OrderRequest, OrderStatus,
        ProductId, Progress, Quantity, RequestedLine, Stage, ValidationError,
    },
};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::wire::{Amount, Time, Whole, currency, given};
use crate::http::object::read_from_objects;

/// One line to buy.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, remote = "Self")]
#[oai(deny_unknown_fields)]
pub(super) struct BuyLine {
    product_id: Uuid,
    /// Number of pieces; `amount` is taken for it.
    #[serde(alias = "amount")]
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    quantity: Whole,
}

/// An order to place: `product_id` and `quantity`, or `lines`.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, remote = "Self")]
#[oai(deny_unknown_fields)]
pub(super) struct Buy {
    pub(super) product_id: Option<Uuid>,
    /// Number of pieces; `amount` is taken for it.
    #[serde(alias = "amount")]
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    pub(super) quantity: Option<Whole>,
    /// Sold all or none. The same product may be in several lines.
    #[oai(validator(min_items = 1, max_items = 100))]
    pub(super) lines: Option<Vec<BuyLine>>,
    /// Your own note, up to 255 characters.
    #[oai(validator(max_length = 255))]
    pub(super) reference: Option<String>,
    /// Your own id of who buys, up to 64 characters.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub(super) customer: Option<String>,
    /// Seconds for which the order is held until it is confirmed; without them, it is sold at once.
    #[oai(validator(minimum(value = "1"), maximum(value = "86400")))]
    pub(super) hold_seconds: Option<Whole>,
}

/// What to take back of an order: `lines`, or all that is left of it.
#[derive(Debug, Default, Deserialize, Object)]
#[serde(deny_unknown_fields, remote = "Self")]
#[oai(deny_unknown_fields)]
pub(super) struct Cancel {
    /// Pieces that come back of products of the order. The same product may be in several lines.
    #[serde(default, deserialize_with = "given")]
    #[oai(validator(min_items = 1, max_items = 100))]
    pub(super) lines: Option<Vec<BuyLine>>,
}

read_from_objects!(Buy, BuyLine, Cancel);

/// The lines of a request.
pub(super) fn requested(lines: &[BuyLine]) -> Result<Vec<RequestedLine>, Error> {
    let lines = lines.iter().enumerate().map(|(at, line)| {
        Ok(RequestedLine {
            product_id: ProductId(line.product_id),
            quantity: Quantity::new(line.quantity.0)
                .map_err(|error| within(&format!("lines[{at}]"), error))?,
        })
    });
    lines.collect()
}

impl TryFrom<Buy> for OrderRequest {
    type Error = Error;

    fn try_from(buy: Buy) -> Result<Self, Error> {
        let lines = match (buy.product_id, buy.quantity, buy.lines) {
            (Some(product_id), Some(quantity), None) => vec![RequestedLine {
                product_id: ProductId(product_id),
                quantity: Quantity::new(quantity.0)?,
            }],
            (None, None, Some(lines)) => requested(&lines)?,
            (None, None, None) => return Err(Error::invalid("product_id", "is missing")),
            (Some(_), None, None) => return Err(Error::invalid("quantity", "is missing")),
            (None, Some(_), None) => return Err(Error::invalid("product_id", "is missing")),
            (_, _, Some(_)) => {
                let reason = "excludes product_id and quantity";
                return Err(Error::invalid("lines", reason));
            }
        };
        let hold_time = buy.hold_seconds.map(|seconds| HoldTime::new(seconds.0));
        let request = Self::new(lines, buy.reference)?.held_for(hold_time.transpose()?);
        Ok(request.for_customer(buy.customer)?)
    }
}

/// An error about a field, as one about that field inside of `path`.
fn within(path: &str, error: ValidationError) -> Error {
    Error::invalid(format!("{path}.{}", error.field), error.reason)
}

/// The state of an order.
#[derive(Clone, Copy, Debug, Enum, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case", rename = "OrderStatus")]
pub(super) enum Status {
    Pending,
    Held,
    Success,
    Failed,
    Expired,
    Cancelled,
    Completed,
}

impl From<OrderStatus> for Status {
    fn from(status: OrderStatus) -> Self {
        match status {
            OrderStatus::Pending => Self::Pending,
            OrderStatus::Held => Self::Held,
            OrderStatus::Success => Self::Success,
            OrderStatus::Failed => Self::Failed,
            OrderStatus::Expired => Self::Expired,
            OrderStatus::Cancelled => Self::Cancelled,
            OrderStatus::Completed => Self::Completed,
        }
    }
}

impl From<Status> for OrderStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Held => Self::Held,
            Status::Success => Self::Success,
            Status::Failed => Self::Failed,
            Status::Expired => Self::Expired,
            Status::Cancelled => Self::Cancelled,
            Status::Completed => Self::Completed,
        }
    }
}

/// The state of an order, in short.
#[derive(Debug, Serialize, Object)]
pub(super) struct StatusBody {
    order_id: Uuid,
    pub(super) status: Status,
    created_at: Time,
    updated_at: Time,
}

impl StatusBody {
    /// As it was, or is, at this stage.
    pub(super) fn at(order: &Progress, stage: Stage) -> Self {
        Self {
            order_id: order.id.0,
            status: stage.status.into(),
            created_at: order.created_at,
            updated_at: stage.updated_at,
        }
    }
}

/// One line of an order.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "OrderLine")]
pub(super) struct LineBody {
    product_id: Uuid,
    quantity: i64,
    /// The price of one piece when the order was accepted.
    unit_price: Amount,
    /// Pieces that were cancelled, and went back if they had been sold.
    #[oai(validator(minimum(value = "0")))]
    cancelled_quantity: i64,
}

impl From<OrderLine> for LineBody {
    fn from(line: OrderLine) -> Self {
        Self {
            product_id: line.product_id.0,
            quantity: line.quantity.get(),
            unit_price: Amount(line.unit_price),
            cancelled_quantity: line.cancelled_quantity,
        }
    }
}

/// The reason why an order failed.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Failure")]
pub(super) struct FailureBody {
    /// `insufficient_stock`, `product_unavailable`, `not_on_sale` or `customer_limit`.
    code: String,
    product_id: Uuid,
    /// Pieces of this product in the whole order.
    requested: i64,
    /// Pieces that were left when the order was decided.
    available: i64,
    /// The time at which the sale of the product begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    on_sale_from: Option<Time>,
    /// The time at which it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    on_sale_until: Option<Time>,
    /// The most pieces that one customer may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    limit: Option<i64>,
    /// Pieces that this customer had.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    has: Option<i64>,
    /// An order of this customer that held some of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    held_order: Option<Uuid>,
}

impl From<Failure> for FailureBody {
    fn from(failure: Failure) -> Self {
        let mut body = Self {
            code: failure.code.as_str().to_owned(),
            product_id: failure.product_id.0,
            requested: failure.requested,
            available: failure.available,
            on_sale_from: None,
            on_sale_until: None,
            limit: None,
            has: None,
            held_order: None,
        };
        match failure.detail {
            Some(FailureDetail::Window {
                on_sale_from,
                on_sale_until,
            }) => (body.on_sale_from, body.on_sale_until) = (on_sale_from, on_sale_until),
            Some(FailureDetail::Limit {
                limit,
                has,
                held_order,
            }) => {
                (body.limit, body.has) = (Some(limit), Some(has));
                body.held_order = held_order.map(|order| order.0);
            }
            None => {}
        }
        body
    }
}

/// An order.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Order")]
pub(super) struct OrderBody {
    id: Uuid,
    status: Status,
    lines: Vec<LineBody>,
    /// The price of what is not cancelled.
    total_price: Amount,
    /// Currency of all prices of the order: its code of ISO 4217.
    #[oai(validator(pattern = "^[A-Z]{3}$"))]
    currency: String,
    reference: Option<String>,
    /// Your own id of who buys.
    customer: Option<String>,
    /// Id of the client whose key placed it; `null` where no key was asked for.
    client: Option<Uuid>,
    failure: Option<FailureBody>,
    created_at: Time,
    decided_at: Option<Time>,
    /// The time at which its hold ends or ended; `null` if it was never held.
    held_until: Option<Time>,
    /// The time at which it was confirmed, after it was held.
    confirmed_at: Option<Time>,
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
            currency: currency(),
            reference: order.reference,
            customer: order.customer,
            client: order.client.map(|client| client.0),
            failure: order.failure.map(Into::into),
            created_at: order.created_at,
            decided_at: order.decided_at,
            held_until: order.held_until,
            confirmed_at: order.confirmed_at,
            completed_at: order.completed_at,
            cancelled_at: order.cancelled_at,
        }
    }
}

/// True when somebody who may see only the orders of this client, if it is one, sees this one.
pub(super) fn is_visible(order: &Order, only: Option<ClientId>) -> bool {
    only.is_none() || order.client == only
}
