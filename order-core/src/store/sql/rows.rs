//! From rows to domain types, for every database.

use std::collections::HashMap;

use sqlx::FromRow;
use uuid::Uuid;

use super::{
    plan::{LockedProduct, LockedProducts, PendingOrder, Prices},
    value::StoredTime,
};
use crate::{
    domain::{
        ClientId, Failure, FailureDetail, HoldTime, Money, Order, OrderId, OrderLine, OrderStatus,
        Product, ProductId, Quantity, RequestedLine, SaleTerms, folded,
    },
    error::Error,
};

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
            "updated_at, ",
            $table,
            "limit_per_customer, ",
            $table,
            "on_sale_from, ",
            $table,
            "on_sale_until"
        )
    };
}
pub(super) use product_columns;

/// The columns of [`OrderRow`].
macro_rules! order_columns {
    () => {
        "id, CAST(status AS text) AS status, total_price, reference, failure_code, \
         failure_product_id, failure_requested, failure_available, created_at, decided_at, \
         completed_at, cancelled_at, trace_parent, client_id, customer, hold_seconds, held_at, \
         held_until, confirmed_at, failure_detail, \
         CAST(cancelled_quantities AS text) AS cancelled_quantities"
    };
}
pub(super) use order_columns;

#[derive(FromRow)]
pub(crate) struct ProductRow {
    id: Uuid,
    sku: Option<String>,
    name: String,
    price: i64,
    stock: i64,
    version: i64,
    created_at: StoredTime,
    updated_at: StoredTime,
    #[sqlx(flatten)]
    terms: TermsRow,
}

#[derive(FromRow)]
struct TermsRow {
    limit_per_customer: Option<i32>,
    on_sale_from: Option<StoredTime>,
    on_sale_until: Option<StoredTime>,
}

impl From<TermsRow> for SaleTerms {
    fn from(row: TermsRow) -> Self {
        Self {
            limit_per_customer: row.limit_per_customer.map(i64::from),
            on_sale_from: row.on_sale_from.map(|at| at.0),
            on_sale_until: row.on_sale_until.map(|at| at.0),
        }
    }
}

impl TryFrom<ProductRow> for Product {
    type Error = Error;

    fn try_from(row: ProductRow) -> Result<Self, Error> {
        Ok(Self {
            id: ProductId(row.id),
            sku: row.sku,
            name: row.name,
            price: money(row.price)?,
            stock: row.stock,
            terms: row.terms.into(),
            version: row.version,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        })
    }
}

/// On `SQLite`, it may also come as a JSON array of these fields, in this order.
#[derive(FromRow)]
#[cfg_attr(feature = "sqlite", derive(serde::Deserialize))]
pub(super) struct OrderRow {
    pub(super) id: Uuid,
    status: String,
    total_price: i64,
    reference: Option<String>,
    failure_code: Option<String>,
    failure_product_id: Option<Uuid>,
    failure_requested: Option<i64>,
    failure_available: Option<i64>,
    created_at: StoredTime,
    decided_at: Option<StoredTime>,
    completed_at: Option<StoredTime>,
    cancelled_at: Option<StoredTime>,
    trace_parent: Option<String>,
    client_id: Option<Uuid>,
    customer: Option<String>,
    hold_seconds: Option<i32>,
    held_at: Option<StoredTime>,
    held_until: Option<StoredTime>,
    confirmed_at: Option<StoredTime>,
    failure_detail: Option<String>,
    /// The pieces that are cancelled of each line, as a JSON array; none when nothing is, or when an
    /// older version cancelled all of it.
    cancelled_quantities: Option<String>,
}

impl OrderRow {
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
                detail: self.detail()?,
            })),
            _ => Ok(None),
        }
    }

    fn detail(&self) -> Result<Option<FailureDetail>, Error> {
        let detail = self.failure_detail.as_deref();
        let detail = detail.map(serde_json::from_str).transpose();
        detail.map_err(Error::corrupt)
    }

    fn with_lines(self, lines: Vec<OrderLine>) -> Result<Order, Error> {
        let status = self.status.parse().map_err(Error::corrupt)?;
        let cancelled: Vec<i64> = match &self.cancelled_quantities {
            Some(text) => serde_json::from_str(text).map_err(Error::corrupt)?,
            None if status == OrderStatus::Cancelled => {
                lines.iter().map(|line| line.quantity.get()).collect()
            }
            None => Vec::new(),
        };
        let order = Order {
            id: OrderId(self.id),
            status,
            lines,
            total_price: money(self.total_price)?,
            failure: self.failure()?,
            reference: self.reference,
            customer: self.customer,
            hold_time: hold_time(self.hold_seconds)?,
            held_at: self.held_at.map(|at| at.0),
            held_until: self.held_until.map(|at| at.0),
            confirmed_at: self.confirmed_at.map(|at| at.0),
            client: self.client_id.map(ClientId),
            // Of a version that is not known here, no trace goes on.
            trace_parent: self.trace_parent.and_then(|text| text.parse().ok()),
            created_at: self.created_at.0,
            decided_at: self.decided_at.map(|at| at.0),
            completed_at: self.completed_at.map(|at| at.0),
            cancelled_at: self.cancelled_at.map(|at| at.0),
        };
        Ok(match cancelled[..] {
            [] => order,
            _ => order.with_cancelled_quantities(&cancelled),
        })
    }
}

/// It may come as JSON, too.
#[derive(FromRow)]
#[cfg_attr(feature = "sqlite", derive(serde::Deserialize))]
pub(super) struct LineRow {
    order_id: Uuid,
    product_id: Uuid,
    quantity: i32,
    unit_price: i64,
}

/// Puts orders and their lines together, in the order of `rows`; lines come in line order.
pub(super) fn assemble(rows: Vec<OrderRow>, lines: Vec<LineRow>) -> Result<Vec<Order>, Error> {
    let mut by_order: HashMap<Uuid, Vec<OrderLine>> = HashMap::with_capacity(rows.len());
    for line in lines {
        by_order.entry(line.order_id).or_default().push(OrderLine {
            product_id: ProductId(line.product_id),
            quantity: quantity(line.quantity)?,
            unit_price: money(line.unit_price)?,
            cancelled_quantity: 0,
        });
    }
    rows.into_iter()
        .map(|row| {
            let lines = by_order.remove(&row.id).unwrap_or_default();
            row.with_lines(lines)
        })
        .collect()
}

/// A line of a pending order: order, product, quantity, the time for which the order asks to be held,
/// and its customer.
pub(super) type PendingRow = (Uuid, Uuid, i32, Option<i32>, Option<String>);

/// Gathers rows, sorted by order, into orders.
pub(super) fn gather(rows: Vec<PendingRow>) -> Result<Vec<PendingOrder>, Error> {
    let mut orders: Vec<PendingOrder> = Vec::new();
    for (order_id, product_id, count, hold_seconds, customer) in rows {
        let id = OrderId(order_id);
        let line = RequestedLine {
            product_id: ProductId(product_id),
            quantity: quantity(count)?,
        };
        match orders.last_mut() {
            Some(order) if order.id == id => order.lines.push(line),
            _ => orders.push(PendingOrder {
                id,
                hold_time: hold_time(hold_seconds)?,
                customer,
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
    lapses_at: Option<StoredTime>,
    #[sqlx(flatten)]
    terms: TermsRow,
    read_at: StoredTime,
}

impl TryFrom<LockedRow> for LockedProduct {
    type Error = Error;

    fn try_from(row: LockedRow) -> Result<Self, Error> {
        Ok(Self {
            id: ProductId(row.id),
            price: money(row.price)?,
            stock: row.stock,
            archived: row.archived,
            terms: row.terms.into(),
            lapses_at: row.lapses_at.map(|at| at.0),
        })
    }
}

/// Products that were read together.
pub(super) fn locked(rows: Vec<LockedRow>) -> Result<LockedProducts, Error> {
    let mut locked = LockedProducts::default();
    add_locked(&mut locked, rows)?;
    Ok(locked)
}

/// Adds products that were locked later.
pub(super) fn add_locked(locked: &mut LockedProducts, rows: Vec<LockedRow>) -> Result<(), Error> {
    for row in rows {
        locked.now = locked.now.max(row.read_at.0);
        locked.products.push(row.try_into()?);
    }
    Ok(())
}

/// The fold that is stored beside a name: none of a name of ASCII, which the database folds.
pub(super) fn stored_fold(name: &str) -> Option<String> {
    (!name.is_ascii()).then(|| folded(name))
}

/// The ids of `names`, and their folds.
pub(super) fn folds(names: Vec<(Uuid, String)>) -> (Vec<Uuid>, Vec<String>) {
    let folds = names.into_iter().map(|(id, name)| (id, folded(&name)));
    folds.unzip()
}

/// Prices by product, from rows of id and minor units.
pub(super) fn prices(rows: Vec<(Uuid, i64, bool)>) -> Result<Prices, Error> {
    let rows = rows.into_iter();
    let prices = rows.map(|(id, price, is_limited)| {
        let price = money(price)?;
        Ok((ProductId(id), (price, is_limited)))
    });
    Ok(Prices(prices.collect::<Result<_, Error>>()?))
}

fn money(minor_units: i64) -> Result<Money, Error> {
    Money::from_minor_units(minor_units).ok_or_else(|| Error::corrupt("negative amount of money"))
}

fn hold_time(seconds: Option<i32>) -> Result<Option<HoldTime>, Error> {
    let hold_time = seconds.map(|seconds| HoldTime::new(i64::from(seconds)));
    hold_time.transpose().map_err(Error::corrupt)
}

fn quantity(count: i32) -> Result<Quantity, Error> {
    Quantity::new(i64::from(count)).map_err(Error::corrupt)
}

/// Products from their rows.
pub(super) fn products(rows: Vec<ProductRow>) -> Result<Vec<Product>, Error> {
    rows.into_iter().map(Product::try_from).collect()
}

/// The number of a count, which a database gives as a signed one.
pub(super) type Count = (i64,);

/// What else there is to say about a failure, as it is stored.
pub(super) fn stored_detail(failure: &Failure) -> Result<Option<String>, Error> {
    let detail = failure.detail.as_ref().map(serde_json::to_string);
    detail.transpose().map_err(Error::backend)
}
