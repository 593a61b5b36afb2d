//! Orders: reading, listing and counting them.

use std::time::Duration;

use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use super::{
    backend::{SqlBackend, SqlConnection},
    rows::{self, Count, LineRow, OrderRow, order_columns},
    sorted::{AFTER, DIRECTION, NOT_AFTER, beginning},
    value::{StoredTime, Value, age},
};
use crate::{
    domain::{MAX_OFFSET_ROWS, Order, OrderId, OrderStatus, Page, PageStart, Progress},
    error::Error,
    queue::COUNT_LIMIT,
    store::orders::{Backlog, OrderQuery},
};

/// What orders have that are held or expired, and an index has: states that were added later are in
/// none.
const WAS_HELD: &str = " AND held_at IS NOT NULL AND confirmed_at IS NULL AND cancelled_at IS NULL";

/// Orders by id, in id order; ids that are not there are left out.
pub(super) async fn read_orders<C: SqlConnection>(
    connection: &mut C,
    ids: Vec<Uuid>,
) -> Result<Vec<Order>, Error> {
    let rows = connection
        .fetch_all(C::SQL.orders.read, &[Value::Ids(ids)])
        .await?;
    with_lines(connection, rows).await
}

/// Fetches the lines of `orders`. Lines never change, so that reading them in a second
/// statement is as good as in the same one.
pub(super) async fn with_lines<C: SqlConnection>(
    connection: &mut C,
    orders: Vec<OrderRow>,
) -> Result<Vec<Order>, Error> {
    let ids = orders.iter().map(|row| row.id).collect();
    let lines: Vec<LineRow> = connection
        .fetch_all(C::SQL.orders.lines, &[Value::Ids(ids)])
        .await?;
    rows::assemble(orders, lines)
}

pub(super) async fn order<B: SqlBackend>(backend: &B, id: OrderId) -> Result<Option<Order>, Error> {
    let mut connection = backend.read().await?;
    Ok(read_orders(&mut *connection, vec![id.0]).await?.pop())
}

/// An order, locked.
pub(super) async fn lock_order<C: SqlConnection>(
    connection: &mut C,
    id: OrderId,
) -> Result<Option<Order>, Error> {
    let row: Option<OrderRow> = connection
        .fetch_optional(C::SQL.orders.lock, &[Value::Id(id.0)])
        .await?;
    let rows = row.into_iter().collect();
    Ok(with_lines(connection, rows).await?.pop())
}

#[derive(FromRow)]
struct ProgressRow {
    id: Uuid,
    status: String,
    created_at: StoredTime,
    decided_at: Option<StoredTime>,
    held_until: Option<StoredTime>,
    confirmed_at: Option<StoredTime>,
    completed_at: Option<StoredTime>,
    cancelled_at: Option<StoredTime>,
}

impl TryFrom<ProgressRow> for Progress {
    type Error = Error;

    fn try_from(row: ProgressRow) -> Result<Self, Error> {
        Ok(Self {
            id: OrderId(row.id),
            status: row.status.parse().map_err(Error::corrupt)?,
            created_at: row.created_at.0,
            decided_at: row.decided_at.map(|at| at.0),
            held_until: row.held_until.map(|at| at.0),
            confirmed_at: row.confirmed_at.map(|at| at.0),
            completed_at: row.completed_at.map(|at| at.0),
            cancelled_at: row.cancelled_at.map(|at| at.0),
        })
    }
}

pub(super) async fn progress<B: SqlBackend>(
    backend: &B,
    ids: &[OrderId],
) -> Result<Vec<Progress>, Error> {
    let ids = Value::Ids(ids.iter().map(|id| id.0).collect());
    let mut connection = backend.read().await?;
    let rows: Vec<ProgressRow> = connection.fetch_all(B::SQL.orders.progress, &[ids]).await?;
    rows.into_iter().map(Progress::try_from).collect()
}

pub(super) async fn pending_for<B: SqlBackend>(
    backend: &B,
    age: Duration,
    after: Option<OrderId>,
    limit: usize,
) -> Result<Vec<OrderId>, Error> {
    let values = [
        Value::Ago(age),
        Value::Id(after.map_or(Uuid::nil(), |after| after.0)),
        Value::count(limit),
    ];
    let mut connection = backend.read().await?;
    let ids = connection.fetch_ids(B::SQL.orders.pending_for, &values);
    Ok(ids.await?.into_iter().map(OrderId).collect())
}

pub(super) async fn backlog<B: SqlBackend>(backend: &B) -> Result<Backlog, Error> {
    let values = [Value::Int(i64::from(COUNT_LIMIT)), Value::Now];
    let mut connection = backend.read().await?;
    let (orders, oldest_us): (i64, Option<i64>) =
        connection.fetch_one(B::SQL.orders.backlog, &values).await?;
    Ok(Backlog {
        orders: orders.unsigned_abs(),
        oldest_age: oldest_us.map(age),
    })
}

pub(super) async fn list<B: SqlBackend>(
    backend: &B,
    query: &OrderQuery,
) -> Result<Page<Order, OrderId>, Error> {
    let mut connection = backend.read().await?;
    let (after, offset) = query.page.bounds();
    let mut rows = Filtered::of::<B::Connection>(query, after);
    let limit = rows.bind(Value::Int(query.page.limit()));
    let offset = rows.bind(Value::Int(offset));
    let select = format!(
        concat!(
            "SELECT ",
            order_columns!(),
            "{} ORDER BY {} {} LIMIT {} OFFSET {}"
        ),
        rows.matching,
        rows.id,
        DIRECTION.by(query.sort),
        limit,
        offset
    );
    let rows = connection
        .fetch_all(AssertSqlSafe(select), &rows.values)
        .await?;
    let total = match query.page.start {
        PageStart::Offset(_) => Some(count(&mut *connection, query).await?),
        _ => None,
    };
    let orders = with_lines(&mut *connection, rows).await?;
    let id = |order: &Order| order.id;
    Ok(Page::from_rows(orders, query.page.size, id, total))
}

async fn count<C: SqlConnection>(connection: &mut C, query: &OrderQuery) -> Result<u64, Error> {
    let mut rows = Filtered::of::<C>(query, None);
    let limit = rows.bind(Value::Int(i64::from(MAX_OFFSET_ROWS)));
    let count = format!(
        "SELECT count(*) FROM (SELECT 1{} LIMIT {limit}) counted",
        rows.matching
    );
    let (count,): Count = connection
        .fetch_one(AssertSqlSafe(count), &rows.values)
        .await?;
    Ok(count.unsigned_abs())
}

/// The orders that match a query: a statement from `FROM` on, and its parameters. It consists of
/// constants, the names of states, and numbers of parameters.
struct Filtered<'a> {
    matching: String,
    values: Vec<Value<'a>>,
    /// The name of the id to sort by.
    id: &'static str,
}

impl<'a> Filtered<'a> {
    /// Those that come after `after`.
    fn of<C: SqlConnection>(query: &'a OrderQuery, after: Option<OrderId>) -> Self {
        let sort = query.sort;
        let (before, last) = query.created.places(sort);
        let after = after.map(|id| id.0).into_iter().chain(before);
        let after = after.reduce(|a, b| sort.later(a, b));
        let after = Value::Id(after.unwrap_or_else(|| beginning(sort)));
        let is_after = AFTER.by(sort);
        let mut rows = match query.along_product() {
            Some(product) => Self {
                matching: format!("{} AND order_id {is_after} $2", C::SQL.orders.along_product),
                values: vec![Value::Id(product.0), after],
                id: "order_id",
            },
            None => Self {
                matching: format!(" FROM orders WHERE id {is_after} $1"),
                values: vec![after],
                id: "id",
            },
        };
        let is_along_product = rows.values.len() > 1;
        let has_product = (!is_along_product).then_some(query.product_id).flatten();
        if let Some(product) = has_product {
            rows.bind(Value::Id(product.0));
        }
        if let Some(last) = last {
            let (last, is_within) = (rows.bind(Value::Id(last)), NOT_AFTER.by(sort));
            rows.matching
                .push_str(&format!(" AND {} {is_within} {last}", rows.id));
        }
        if is_along_product {
            let orders = C::SQL.orders.along_product_orders.by(sort);
            rows.matching.push_str(orders);
        }
        if let Some(from) = query.created.from {
            let from = rows.bind(Value::Time(from));
            rows.matching
                .push_str(&format!(" AND created_at >= {from}"));
        }
        if let Some(until) = query.created.until {
            let until = rows.bind(Value::Time(until));
            rows.matching
                .push_str(&format!(" AND created_at < {until}"));
        }
        if has_product.is_some() {
            rows.matching.push_str(C::SQL.orders.has_product);
        }
        if let Some(status) = query.status {
            // A literal, so that the planner can see which partial index covers it.
            rows.matching.push_str(&format!(" AND status = '{status}'"));
            if matches!(status, OrderStatus::Held | OrderStatus::Expired) {
                rows.matching.push_str(WAS_HELD);
            }
        }
        if let Some(reference) = &query.reference {
            let reference = rows.bind(Value::text(reference));
            rows.matching
                .push_str(&format!(" AND reference = {reference}"));
        }
        if let Some(customer) = &query.customer {
            let customer = rows.bind(Value::text(customer));
            rows.matching
                .push_str(&format!(" AND customer = {customer}"));
        }
        if let Some(client) = query.client {
            let client = rows.bind(Value::Id(client.0));
            rows.matching
                .push_str(&format!(" AND client_id = {client}"));
        }
        if is_along_product {
            rows.matching.push_str(C::SQL.orders.along_product_end);
        }
        rows
    }

    /// Adds a parameter; gives its name.
    fn bind(&mut self, value: Value<'a>) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }
}
