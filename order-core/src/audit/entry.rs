//! Entries of the audit log.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    domain::{AuditId, KeyId, Order, OrderId, OrderStatus, Product, StockAdjustment},
    keys::ApiKey,
    queue::Topic,
};

/// What was done. A log may have entries of later versions, with actions that are not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A product was created.
    ProductCreate,
    /// Fields of a product were changed.
    ProductUpdate,
    /// A product was archived.
    ProductArchive,
    /// All products were exported to a file.
    ProductExport,
    /// Pieces were added to or taken from the stock of a product.
    StockAdjust,
    /// An API key was created.
    KeyCreate,
    /// An API key was revoked.
    KeyRevoke,
    /// The work on a topic was paused.
    TopicPause,
    /// The work on a topic went on.
    TopicResume,
    /// A dead letter was put back on the queue.
    DeadLetterRedrive,
    /// The task of an order was put on the queue.
    TaskPut,
    /// An order was cancelled.
    OrderCancel,
    /// A part of an order was cancelled, or a completed order gave something back.
    OrderReturn,
    /// Orders that were at their end were archived to a file.
    OrderArchive,
    /// What orders told of a customer was emptied.
    CustomerErase,
}

impl Action {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProductCreate => "product.create",
            Self::ProductUpdate => "product.update",
            Self::ProductArchive => "product.archive",
            Self::ProductExport => "product.export",
            Self::StockAdjust => "stock.adjust",
            Self::KeyCreate => "key.create",
            Self::KeyRevoke => "key.revoke",
            Self::TopicPause => "topic.pause",
            Self::TopicResume => "topic.resume",
            Self::DeadLetterRedrive => "dead_letter.redrive",
            Self::TaskPut => "task.put",
            Self::OrderCancel => "order.cancel",
            Self::OrderReturn => "order.return",
            Self::OrderArchive => "order.archive",
            Self::CustomerErase => "customer.erase",
        }
    }
}

/// A change that enters the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditChange {
    /// What was done.
    pub action: Action,
    /// To what: the id of a product, order or key, or the name of a topic, a list or a file.
    pub subject: String,
    /// How it was before; `None` when it was not there, or nothing of it changed.
    pub before: Option<Value>,
    /// How it was after.
    pub after: Option<Value>,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditEntry {
    /// Its id; ids grow with time.
    pub id: AuditId,
    /// The time of the change, by the clock of the database.
    pub at: DateTime<Utc>,
    /// The name that the client had.
    pub client: Option<String>,
    /// The API key that it showed.
    pub key: Option<KeyId>,
    /// The name of an [`Action`].
    pub action: String,
    /// The id of a product, order or key, or the name of a topic or a list.
    pub subject: String,
    /// How it was before.
    pub before: Option<Value>,
    /// How it was after.
    pub after: Option<Value>,
}

/// Plain data always becomes JSON.
fn plain(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

impl AuditChange {
    /// A change of something that says all in its subject.
    #[must_use]
    pub fn of(action: Action, subject: impl Into<String>) -> Self {
        Self {
            action,
            subject: subject.into(),
            before: None,
            after: None,
        }
    }

    pub(crate) fn product_created(after: &Product) -> Self {
        Self {
            after: Some(plain(after)),
            ..Self::of(Action::ProductCreate, after.id.to_string())
        }
    }

    pub(crate) fn product_updated(before: &Product, after: &Product) -> Self {
        Self {
            before: Some(plain(before)),
            after: Some(plain(after)),
            ..Self::of(Action::ProductUpdate, after.id.to_string())
        }
    }

    pub(crate) fn product_archived(before: &Product) -> Self {
        Self {
            before: Some(plain(before)),
            ..Self::of(Action::ProductArchive, before.id.to_string())
        }
    }

    pub(crate) fn stock_adjusted(adjustment: &StockAdjustment, after: &Product) -> Self {
        let (delta, reason) = (adjustment.delta, &adjustment.reason);
        Self {
            before: Some(json!({"stock": after.stock - delta, "version": after.version - 1})),
            after: Some(json!({
                "stock": after.stock, "version": after.version, "delta": delta, "reason": reason,
            })),
            ..Self::of(Action::StockAdjust, after.id.to_string())
        }
    }

    pub(crate) fn key_created(after: &ApiKey) -> Self {
        Self {
            after: Some(plain(after)),
            ..Self::of(Action::KeyCreate, after.id.to_string())
        }
    }

    pub(crate) fn key_revoked(after: &ApiKey) -> Self {
        let before = ApiKey {
            revoked_at: None,
            ..after.clone()
        };
        Self {
            before: Some(plain(&before)),
            after: Some(plain(after)),
            ..Self::of(Action::KeyRevoke, after.id.to_string())
        }
    }

    pub(crate) fn topic(action: Action, topic: Topic) -> Self {
        Self::of(action, topic.as_str())
    }

    pub(crate) fn redriven(topic: Topic, order: OrderId) -> Self {
        Self {
            after: Some(json!({"topic": topic.as_str()})),
            ..Self::of(Action::DeadLetterRedrive, order.to_string())
        }
    }

    /// A file has these orders, and they are about to go.
    pub(crate) fn orders_archived(file: &str, after: Value) -> Self {
        Self {
            after: Some(after),
            ..Self::of(Action::OrderArchive, file)
        }
    }

    /// So many orders were emptied, and products of which a customer had pieces in archived orders. Whose
    /// they were is not said.
    pub(crate) fn customer_erased(orders: u64, archived_products: u64) -> Self {
        Self {
            after: Some(json!({"orders": orders, "archived_products": archived_products})),
            ..Self::of(Action::CustomerErase, "customer")
        }
    }

    /// Dead letters of a queue that tells how many of these it put back, but not which.
    pub(crate) fn redriven_elsewhere(topic: Topic, orders: &[OrderId], redriven: usize) -> Self {
        Self {
            after: Some(json!({"orders": orders, "redriven": redriven})),
            ..Self::of(Action::DeadLetterRedrive, topic.as_str())
        }
    }

    pub(crate) fn task_put(order: OrderId) -> Self {
        Self::of(Action::TaskPut, order.to_string())
    }

    /// An order, or a part of it, was cancelled.
    pub(crate) fn order_cancelled(before: &Order, after: &Order) -> Self {
        let (was, is) = (before.status.as_str(), after.status.as_str());
        let mut now = json!({"status": is, "total_price": after.total_price});
        if after.status == OrderStatus::Cancelled {
            return Self {
                before: Some(json!({"status": was})),
                after: Some(now),
                ..Self::of(Action::OrderCancel, after.id.to_string())
            };
        }
        let lines = before.lines.iter().zip(&after.lines);
        let came_back = lines.filter(|(before, after)| before != after);
        let came_back = came_back.map(|(before, after)| {
            json!({
                "product_id": after.product_id,
                "quantity": after.cancelled_quantity - before.cancelled_quantity,
            })
        });
        now["returned"] = came_back.collect();
        Self {
            before: Some(json!({"status": was, "total_price": before.total_price})),
            after: Some(now),
            ..Self::of(Action::OrderReturn, after.id.to_string())
        }
    }
}
