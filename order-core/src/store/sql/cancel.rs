//! Cancelling an order, or a part of it, and giving back what it held.

use chrono::{DateTime, Utc};

use super::{
    audit,
    backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
    holds::release,
    idempotency::{insert_key, is_replay},
    idempotency_record::IdempotencyRecord,
    lockable::{ContentionSteps, when_lockable},
    orders::{lock_order, order},
    plan,
    retry::{Attempt, reading_at_once},
    returns,
    stock::lock_products,
    tasks::{cancel_task, tell_of_return},
    value::Value,
};
use crate::{
    audit::AuditChange,
    domain::{
        IdempotencyKey, Order, OrderId, OrderReturn, OrderStatus, OrderVersion, Product, ProductId,
        RequestedLine, ReturnId,
    },
    error::Error,
    store::orders::Cancelled,
};

/// What is to be cancelled.
struct Cancellation<'a> {
    id: ReturnId,
    order_id: OrderId,
    at: DateTime<Utc>,
    /// The pieces that come back; all that are left, when it is not said.
    lines: Option<&'a [RequestedLine]>,
    record: Option<IdempotencyRecord>,
    /// The versions of which the order has to be at one; at any, when there are none.
    expected_versions: &'a [OrderVersion],
}

pub(super) async fn cancel<B: ContentionSteps>(
    backend: &B,
    order_id: OrderId,
    at: DateTime<Utc>,
    key: Option<&IdempotencyKey>,
    expected_versions: &[OrderVersion],
) -> Result<Option<Cancelled>, Error> {
    let cancellation = Cancellation {
        id: returns::new_id(at),
        order_id,
        at,
        lines: None,
        record: key.map(|key| IdempotencyRecord::of_cancel(key, order_id, at)),
        expected_versions,
    };
    carry_out(backend, &cancellation).await
}

pub(super) async fn give_back<B: ContentionSteps>(
    backend: &B,
    returned: &OrderReturn,
) -> Result<Option<Cancelled>, Error> {
    let cancellation = Cancellation {
        id: returned.id,
        order_id: returned.order_id,
        at: returned.at,
        lines: Some(&returned.lines),
        record: IdempotencyRecord::of_return(returned),
        expected_versions: &returned.expected_versions,
    };
    carry_out(backend, &cancellation).await
}

async fn carry_out<B: ContentionSteps>(
    backend: &B,
    cancellation: &Cancellation<'_>,
) -> Result<Option<Cancelled>, Error> {
    when_lockable(
        backend,
        || products_of(backend, cancellation.order_id),
        |attempt| cancel_once(backend, cancellation, attempt),
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
/// begins. Made again after a commit in doubt, it finds what that one did, and answers that.
async fn cancel_once<B: SqlBackend>(
    backend: &B,
    cancellation: &Cancellation<'_>,
    attempt: Attempt,
) -> Result<Option<Cancelled>, Error> {
    let mut tx = backend.begin(Priority::Request, attempt.lock_wait).await?;
    let Some(order) = lock_order(&mut *tx, cancellation.order_id).await? else {
        return Ok(None);
    };
    let record = cancellation.record.as_ref();
    if let Some(record) = record
        && is_replay(&mut *tx, record).await?
    {
        tx.confirm().await?;
        return Ok(Some(Cancelled::before(order, !attempt.resolving)));
    }
    let is_done = match cancellation.lines {
        None => order.is_taken_back(),
        Some(_) => attempt.resolving && is_stored(&mut *tx, cancellation.id, &order).await?,
    };
    // What was done in doubt is at a version that nobody could expect.
    if !(is_done && attempt.resolving) {
        order.check_version(cancellation.expected_versions)?;
    }
    if is_done {
        tx.confirm().await?;
        return Ok(Some(Cancelled::before(order, false)));
    }
    let after = match cancellation.lines {
        None => order.clone().cancelled(cancellation.at)?,
        Some(lines) => order.clone().given_back(lines, cancellation.at)?,
    };
    let mut changed = Vec::new();
    if order.status.holds_stock() {
        change_task::<B>(&mut tx, &order, &after).await?;
        changed = restock::<B>(&mut tx, &order, cancellation).await?;
    }
    write::<B>(&mut tx, &order, &after).await?;
    if let Some(record) = record {
        insert_key(&mut *tx, record).await?;
    }
    let change = AuditChange::order_cancelled(&order, &after);
    audit::record(&mut *tx, &change).await?;
    tx.commit().await?;
    Ok(Some(Cancelled {
        order: after,
        changed,
        replayed: false,
    }))
}

/// Tells whether a return was carried out, of an order that is locked.
async fn is_stored<C: SqlConnection>(
    connection: &mut C,
    id: ReturnId,
    order: &Order,
) -> Result<bool, Error> {
    const IS_STORED: &str = "SELECT EXISTS (SELECT 1 FROM stock_returns
         WHERE product_id = $1 AND id = $2)";
    for product in plan::products_of(&order.cancelled_lines()) {
        let values = [Value::Id(product.0), Value::Id(id.0)];
        let (is_stored,): (bool,) = connection.fetch_one(IS_STORED, &values).await?;
        if is_stored {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A held order has no task, and keeps only the holds of what is left of it. The task of an order that
/// is cancelled goes, or turns into a compensation. That of one of which something is left is done, and
/// then is told what came back.
async fn change_task<B: SqlBackend>(
    tx: &mut B::Transaction,
    order: &Order,
    after: &Order,
) -> Result<(), Error> {
    if order.status == OrderStatus::Held {
        return release(&mut **tx, order, after).await;
    }
    if order.status != OrderStatus::Completed {
        tx.remove_batched_task(order).await?;
    }
    if after.status == OrderStatus::Cancelled {
        return cancel_task(&mut **tx, order.id).await;
    }
    tell_of_return(&mut **tx, order).await
}

/// Puts what comes back on its products; gives those that are living.
async fn restock<B: SqlBackend>(
    tx: &mut B::Transaction,
    order: &Order,
    cancellation: &Cancellation<'_>,
) -> Result<Vec<Product>, Error> {
    let kept = order.kept_lines();
    let lines = cancellation.lines.unwrap_or(&kept);
    let products = lock_products(&mut **tx, &plan::products_of(lines)).await?;
    let products = products.products;
    plan::check_room(&products, lines)?;
    let returned = returns::of_lines(cancellation.id, order.id, lines);
    let changed = tx.return_stock(&returned, cancellation.at).await?;
    Ok(plan::living(&products, changed))
}

/// Writes what is left of an order.
async fn write<B: SqlBackend>(
    tx: &mut B::Transaction,
    order: &Order,
    after: &Order,
) -> Result<(), Error> {
    let cancelled = serde_json::json!(after.cancelled_quantities()).to_string();
    let (id, cancelled) = (Value::Id(order.id.0), Value::Text(Some(cancelled.into())));
    let written = match after.cancelled_at {
        Some(at) => {
            let was_sold = Value::Int(i64::from(order.status.is_sold()));
            let was_held = Value::Int(i64::from(order.status == OrderStatus::Held));
            let values = [id, Value::Time(at), cancelled, was_sold, was_held];
            tx.execute(B::SQL.orders.cancel, &values).await
        }
        None => {
            let left = Value::Int(after.total_price.minor_units());
            let values = [id, left, cancelled];
            tx.execute(B::SQL.orders.give_back, &values).await
        }
    };
    written.map(drop)
}
