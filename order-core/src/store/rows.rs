//! From rows to domain types, for both databases. They differ in how they keep time.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::plan::{LockedProduct, PendingOrder};
use crate::{
    clock::{Clock, SystemClock},
    domain::{
        Failure, Money, Order, OrderId, OrderLine, Product, ProductId, Quantity, RequestedLine,
        folded,
    },
    error::Error,
};

/// A point in time as a column holds it.
pub(super) trait StoredTime {
    fn time(self) -> Result<DateTime<Utc>, Error>;
}

impl StoredTime for DateTime<Utc> {
    fn time(self) -> Result<DateTime<Utc>, Error> {
        Ok(self)
    }
}

/// Microseconds since 1970.
#[derive(Clone, Copy, Debug, sqlx::Type, serde::Serialize)]
#[sqlx(transparent)]
pub(crate) struct Micros(i64);

impl StoredTime for Micros {
    fn time(self) -> Result<DateTime<Utc>, Error> {
        DateTime::from_timestamp_micros(self.0).ok_or_else(|| Error::corrupt("time out of range"))
    }
}

impl Micros {
    /// Now, by the clock of the machine.
    pub(crate) fn now() -> Self {
        SystemClock.now().into()
    }

    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span_micros(span)))
    }

    pub(crate) fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span_micros(span)))
    }

    /// How long ago `earlier` was; nothing, when a clock was set back.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        age(self.0.saturating_sub(earlier.0))
    }
}

impl From<DateTime<Utc>> for Micros {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_micros())
    }
}

/// A length of time in microseconds, as far as a database can add it to a time of ours or take it
/// off: a century.
pub(crate) fn span_micros(span: Duration) -> i64 {
    const CENTURY: Duration = Duration::from_hours(24 * 36_525);
    i64::try_from(span.min(CENTURY).as_micros()).unwrap_or(i64::MAX)
}

/// How long ago something was, of so many microseconds; a clock that was set back makes it
/// negative.
pub(super) fn age(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

/// The columns of [`ProductRow`], each with `$table` before it.
macro_rules! product_columns {
    ($table:literal) => {
        concat!(
            $table,
            "id, ",
            $table,
            "sku, ",
            $table,
            "name, ",
            $table,
            "price, ",
            $table,
            "stock, ",
            $table,
            "version, ",
            $table,
            "created_at, ",
            $table,
            "updated_at"
        )
    };
}
pub(super) use product_columns;

/// `SELECT` of a product's columns; `$rest` begins at `WHERE`.
macro_rules! select_product {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            $crate::store::rows::product_columns!(""),
            " FROM products ",
            $rest
        )
    };
}
pub(super) use select_product;

/// The columns of [`OrderRow`].
macro_rules! order_columns {
    () => {
        "id, CAST(status AS text) AS status, total_price, reference, failure_code, \
         failure_product_id, failure_requested, failure_available, created_at, decided_at, \
         completed_at, cancelled_at, trace_parent"
    };
}
pub(super) use order_columns;

/// `SELECT` of an order's columns without its lines; `$rest` begins at `WHERE`.
macro_rules! select_order {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            $crate::store::rows::order_columns!(),
            " FROM orders ",
            $rest
        )
    };
}
pub(super) use select_order;

#[derive(FromRow)]
pub(super) struct ProductRow<T> {
    id: Uuid,
    sku: Option<String>,
    name: String,
    price: i64,
    stock: i64,
    version: i64,
    created_at: T,
    updated_at: T,
}

impl<T: StoredTime> TryFrom<ProductRow<T>> for Product {
    type Error = Error;

    fn try_from(row: ProductRow<T>) -> Result<Self, Error> {
        Ok(Self {
            id: ProductId(row.id),
            sku: row.sku,
            name: row.name,
            price: money(row.price)?,
            stock: row.stock,
            version: row.version,
            created_at: row.created_at.time()?,
            updated_at: row.updated_at.time()?,
        })
    }
}

#[derive(FromRow)]
pub(super) struct OrderRow<T> {
    pub(super) id: Uuid,
    status: String,
    total_price: i64,
    reference: Option<String>,
    failure_code: Option<String>,
    failure_product_id: Option<Uuid>,
    failure_requested: Option<i64>,
    failure_available: Option<i64>,
    created_at: T,
    decided_at: Option<T>,
    completed_at: Option<T>,
    cancelled_at: Option<T>,
    trace_parent: Option<String>,
}

impl<T: StoredTime> OrderRow<T> {
    fn failure(&self) -> Result<Option<Failure>, Error> {
        match (
            &self.failure_code,
            self.failure_product_id,
            self.failure_requested,
            self.failure_available,
        ) {
            (Some(code), Some(product_id), Some(requested), Some(available)) => Ok(Some(Failure {
                code: code.parse().map_err(Error::corrupt)?,
                product_id: ProductId(product_id),
                requested,
                available,
            })),
            _ => Ok(None),
        }
    }

    fn with_lines(self, lines: Vec<OrderLine>) -> Result<Order, Error> {
        let time = |t: Option<T>| t.map(StoredTime::time).transpose();
        Ok(Order {
            id: OrderId(self.id),
            status: self.status.parse().map_err(Error::corrupt)?,
            lines,
            total_price: money(self.total_price)?,
            failure: self.failure()?,
            reference: self.reference,
            // Of a version that is not known here, no trace goes on.
            trace_parent: self.trace_parent.and_then(|text| text.parse().ok()),
            created_at: self.created_at.time()?,
            decided_at: time(self.decided_at)?,
            completed_at: time(self.completed_at)?,
            cancelled_at: time(self.cancelled_at)?,
        })
    }
}

/// The columns of [`LineRow`]; `$rest` begins at `WHERE`.
macro_rules! select_lines {
    ($rest:literal) => {
        concat!(
            "SELECT order_id, product_id, quantity, unit_price FROM order_lines ",
            $rest
        )
    };
}
pub(super) use select_lines;

#[derive(FromRow)]
pub(super) struct LineRow {
    order_id: Uuid,
    product_id: Uuid,
    quantity: i32,
    unit_price: i64,
}

/// Puts orders and their lines together, in the order of `rows`; lines come in line order.
pub(super) fn assemble<T: StoredTime>(
    rows: Vec<OrderRow<T>>,
    lines: Vec<LineRow>,
) -> Result<Vec<Order>, Error> {
    let mut by_order: HashMap<Uuid, Vec<OrderLine>> = HashMap::with_capacity(rows.len());
    for line in lines {
        by_order.entry(line.order_id).or_default().push(OrderLine {
            product_id: ProductId(line.product_id),
            quantity: quantity(line.quantity)?,
            unit_price: money(line.unit_price)?,
        });
    }
    rows.into_iter()
        .map(|row| {
            let lines = by_order.remove(&row.id).unwrap_or_default();
            row.with_lines(lines)
        })
        .collect()
}

/// A line of a pending order: order, product, quantity.
pub(super) type PendingRow = (Uuid, Uuid, i32);

/// Gathers rows, sorted by order, into orders.
pub(super) fn gather(rows: Vec<PendingRow>) -> Result<Vec<PendingOrder>, Error> {
    let mut orders: Vec<PendingOrder> = Vec::new();
    for (order_id, product_id, count) in rows {
        let id = OrderId(order_id);
        let line = RequestedLine {
            product_id: ProductId(product_id),
            quantity: quantity(count)?,
        };
        match orders.last_mut() {
            Some(order) if order.id == id => order.lines.push(line),
            _ => orders.push(PendingOrder {
                id,
                lines: vec![line],
            }),
        }
    }
    Ok(orders)
}

#[derive(FromRow)]
pub(super) struct LockedRow {
    id: Uuid,
    price: i64,
    stock: i64,
    archived: bool,
}

impl TryFrom<LockedRow> for LockedProduct {
    type Error = Error;

    fn try_from(row: LockedRow) -> Result<Self, Error> {
        Ok(Self {
            id: ProductId(row.id),
            price: money(row.price)?,
            stock: row.stock,
            archived: row.archived,
        })
    }
}

/// What is kept of the fold of a name: nothing, where the database can tell it.
pub(super) fn kept_fold(name: &str) -> Option<String> {
    (!name.is_ascii()).then(|| folded(name))
}

/// The ids of `names`, and the folds.
pub(super) fn folds(names: Vec<(Uuid, String)>) -> (Vec<Uuid>, Vec<String>) {
    let folds = names.into_iter().map(|(id, name)| (id, folded(&name)));
    folds.unzip()
}

/// Prices by product, from rows of id and minor units.
pub(super) fn prices(rows: Vec<(Uuid, i64)>) -> Result<HashMap<ProductId, Money>, Error> {
    rows.into_iter()
        .map(|(id, price)| Ok((ProductId(id), money(price)?)))
        .collect()
}

fn money(minor_units: i64) -> Result<Money, Error> {
    Money::from_minor_units(minor_units).ok_or_else(|| Error::corrupt("negative amount of money"))
}

fn quantity(count: i32) -> Result<Quantity, Error> {
    Quantity::new(i64::from(count)).map_err(Error::corrupt)
}
