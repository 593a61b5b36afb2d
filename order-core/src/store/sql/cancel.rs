//! Cancelling an order, and giving back what it held.

use chrono::{DateTime, Utc};

use super::{
    audit,
    backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
    holds::release,
    idempotency::{insert_key, is_replay},
    idempotency_record::IdempotencyRecord,
    lockable::{ContentionSteps, when_lockable},
    orders::{order, with_lines},
    plan,
    retry::{Attempt, reading_at_once},
    rows::OrderRow,
    stock::lock_products,
    tasks::cancel_task,
    value::Value,
};
use crate::{
    audit::AuditChange,
    domain::{IdempotencyKey, Order, OrderId, OrderStatus, Product, ProductId},
    error::Error,
    store::orders::Cancelled,
};

pub(super) async fn cancel<B: ContentionSteps>(
    backend: &B,
    id: OrderId,
    at: DateTime<Utc>,
    key: Option<&IdempotencyKey>,
) -> Result<Option<Cancelled>, Error> {
    let record = key.map(|key| IdempotencyRecord::of_cancel(key, id, at));
    let record = record.as_ref();
    when_lockable(
        backend,
        || products_of(backend, id),
        |attempt| cancel_once(backend, id, at, record, attempt),
    )
    .await
}

/// The products of an order; none when it is not there.
async fn products_of<B: SqlBackend>(backend: &B, id: OrderId) -> Result<Vec<ProductId>, Error> {
    let order = reading_at_once(backend, || order(backend, id)).await?;
    let lines = order.map(|order| order.requested_lines());
    Ok(plan::products_of(lines.iter().flatten()))
}

/// While it waits for a product it holds the order, and its task, which may lie in one row with
/// a thousand others: so it waits shortly, and for a product that cannot be locked before it
/// begins. Made again after a commit in doubt, it finds the order cancelled and answers that.
async fn cancel_once<B: SqlBackend>(
    backend: &B,
    id: OrderId,
    at: DateTime<Utc>,
    record: Option<&IdempotencyRecord>,
    attempt: Attempt,
) -> Result<Option<Cancelled>, Error> {
    let statements = B::SQL.orders;
    let mut tx = backend.begin(Priority::Request, attempt.lock_wait).await?;
    let row: Option<OrderRow> = tx
        .fetch_optional(statements.lock, &[Value::Id(id.0)])
        .await?;
    let rows = row.into_iter().collect();
    let Some(order) = with_lines(&mut *tx, rows).await?.pop() else {
        return Ok(None);
    };
    if let Some(record) = record
        && is_replay(&mut *tx, record).await?
    {
        tx.confirm().await?;
        return Ok(Some(Cancelled::before(order, !attempt.resolving)));
    }
    if order.status == OrderStatus::Cancelled {
        tx.confirm().await?;
        return Ok(Some(Cancelled::before(order, false)));
    }
    let was_sold = order.status == OrderStatus::Success;
    let was_held = order.status == OrderStatus::Held;
    let mut changed = Vec::new();
    if was_sold {
        tx.remove_batched_task(&order).await?;
        cancel_task(&mut *tx, id).await?;
    }
    if was_held {
        release(&mut *tx, id).await?;
    }
    if order.gives_back_when_cancelled() {
        changed = give_back::<B>(&mut tx, &order, at).await?;
    }
    let before = order.status;
    let order = order.cancelled(at)?;
    let values = [
        Value::Id(id.0),
        Value::Time(at),
        Value::Int(i64::from(was_sold)),
        Value::Int(i64::from(was_held)),
    ];
    tx.execute(statements.cancel, &values).await?;
    if let Some(record) = record {
        insert_key(&mut *tx, record).await?;
    }
    let change = AuditChange::order_cancelled(before.as_str(), &order);
    audit::record(&mut *tx, &change).await?;
    tx.commit().await?;
    Ok(Some(Cancelled {
        order,
        changed,
        replayed: false,
    }))
}

/// Puts the stock that an order holds back on its products; gives those that are living.
async fn give_back<B: SqlBackend>(
    tx: &mut B::Transaction,
    order: &Order,
    at: DateTime<Utc>,
) -> Result<Vec<Product>, Error> {
    let lines = order.requested_lines();
    let products = lock_products(&mut **tx, &plan::products_of(&lines)).await?;
    let products = products.products;
    let returned = plan::restock(&products, &lines)?;
    let changed = tx.return_stock(&returned, at).await?;
    Ok(plan::living(&products, changed))
}
