//! Holds: orders that keep their stock until they are confirmed, or until their time is over.
//!
//! A hold ends in one of three ways, and each of them changes the order's row on the condition that
//! the order is held: whoever comes second finds that it is not. A confirmation also asks for the
//! time, so that it does not matter whether somebody came to expire the hold.
//!
//! Lapsed holds are expired by whoever needs what they keep, in the transaction that needs it
//! ([`reclaim`]), and by the expiry of services and workers ([`expire`]). The first already holds products, and so waits for
//! nothing: it skips orders, and further products of these, that somebody holds locked.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    backend::{LockFailure, Priority, SqlBackend, SqlConnection, SqlTransaction},
    changes::Changes,
    lockable::ContentionSteps,
    orders::{lock_order, read_orders, with_lines},
    plan::{self, LockedProducts},
    retry::{Attempt, Retry, reading_at_once, with_retry},
    returns::{self, Returned},
    rows::{LockedRow, OrderRow, add_locked},
    stock::lock_products,
    value::{StoredTime, Value},
};
use crate::{
    domain::{
        HoldTime, Order, OrderId, OrderStatus, OrderVersion, Product, RequestedLine, RuleViolation,
    },
    error::Error,
    metrics,
    store::orders::{Expired, LapsedAt},
    sync::lock,
};

/// What was expired for those who need it.
#[derive(Default)]
pub(super) struct Reclaimed {
    pub(super) orders: usize,
    /// The living products that changed.
    pub(super) changed: Vec<Product>,
}

/// The most holds of a product that one transaction expires for those who need it.
const MOST_RECLAIMED: usize = 1_000;

const EXTEND_ORDER: &str = "UPDATE orders SET held_until = $2 WHERE id = $1";
const EXTEND_HOLDS: &str = "UPDATE holds SET held_until = $2 WHERE order_id = $1";
const RELEASE_PRODUCT: &str = "DELETE FROM holds WHERE order_id = $1 AND product_id = $2";

fn ids_of(orders: &[Order]) -> Value<'static> {
    Value::Ids(orders.iter().map(|order| order.id.0).collect())
}

/// Expires lapsed holds of those locked products that `lines` ask more of than is left, so that it is
/// there for them. `None` when there was nothing to look for, and nothing was written.
pub(super) async fn reclaim<T, C>(
    tx: &mut T,
    locked: &mut LockedProducts,
    lines: impl Iterator<Item = &RequestedLine> + Send,
    at: DateTime<Utc>,
) -> Result<Option<Reclaimed>, Error>
where
    C: SqlConnection,
    T: SqlTransaction + std::ops::DerefMut<Target = C>,
{
    let short = plan::short(locked, lines);
    if short.is_empty() {
        return Ok(None);
    }
    let short = Value::Ids(short.iter().map(|id| id.0).collect());
    // By the time at which these orders have their turn: what lapsed since is not theirs.
    let now = Value::Time(locked.now);
    let values = [short.clone(), Value::count(MOST_RECLAIMED), now];
    let ids = tx.fetch_ids(C::SQL.holds.lapsed_of, &values).await?;
    let lapsed = lock_lapsed(&mut **tx, ids).await?;
    let known: HashSet<Uuid> = locked.products.iter().map(|p| p.id.0).collect();
    let lines: Vec<RequestedLine> = lapsed.iter().flat_map(Order::kept_lines).collect();
    let others = plan::products_of(&lines).into_iter().map(|id| id.0);
    let others: Vec<Uuid> = others.filter(|id| !known.contains(id)).collect();
    let mut all = LockedProducts::clone(locked);
    if !others.is_empty() {
        let values = [Value::Ids(others), Value::Now];
        let rows: Vec<LockedRow> = tx
            .fetch_all(C::SQL.holds.lock_free_products, &values)
            .await?;
        add_locked(&mut all, rows)?;
    }
    let (expired, returned) = plan::expire(&lapsed, &all.products);
    let changed = write_expired(tx, &expired, at).await?;
    tx.execute(C::SQL.holds.refresh, &[short]).await?;
    locked.give(&returned);
    Ok(Some(Reclaimed {
        orders: expired.len(),
        changed: plan::living(&all.products, changed),
    }))
}

/// Locks those of `ids` that are held and whose time is over, in id order; skips those that somebody
/// holds locked.
async fn lock_lapsed<C: SqlConnection>(
    connection: &mut C,
    ids: Vec<Uuid>,
) -> Result<Vec<Order>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let values = [Value::Ids(ids), Value::Now];
    let rows: Vec<OrderRow> = connection
        .fetch_all(C::SQL.holds.lock_lapsed, &values)
        .await?;
    with_lines(connection, rows).await
}

/// Writes that locked orders expired, and gives back what is left of them.
async fn write_expired<T, C>(
    tx: &mut T,
    expired: &[Order],
    at: DateTime<Utc>,
) -> Result<Vec<Product>, Error>
where
    C: SqlConnection,
    T: SqlTransaction + std::ops::DerefMut<Target = C>,
{
    if expired.is_empty() {
        return Ok(Vec::new());
    }
    let ids = [ids_of(expired)];
    let written = tx.fetch_ids(C::SQL.holds.expire, &ids).await?;
    plan::expect_all_written(expired.len(), written.len() as u64)?;
    tx.execute(C::SQL.holds.remove, &ids).await?;
    let returned = expired.iter().flat_map(|order| {
        let id = returns::new_id(at);
        returns::of_lines(id, order.id, &order.kept_lines())
    });
    let returned: Vec<Returned> = returned.collect();
    tx.return_stock(&returned, at).await
}

/// Ends the holds of the products of which an order, which is locked, keeps nothing after pieces of it
/// come back.
pub(super) async fn release<C: SqlConnection>(
    connection: &mut C,
    order: &Order,
    after: &Order,
) -> Result<(), Error> {
    if after.status != OrderStatus::Held {
        let ids = [Value::Ids(vec![order.id.0])];
        return connection
            .execute(C::SQL.holds.remove, &ids)
            .await
            .map(drop);
    }
    let kept = plan::products_of(&after.kept_lines());
    for product in plan::products_of(&order.kept_lines()) {
        if !kept.contains(&product) {
            let values = [Value::Id(order.id.0), Value::Id(product.0)];
            connection.execute(RELEASE_PRODUCT, &values).await?;
        }
    }
    Ok(())
}

pub(super) async fn confirm<B: SqlBackend>(
    backend: &B,
    ids: &[OrderId],
    at: DateTime<Utc>,
) -> Result<Vec<Result<Option<Order>, Error>>, Error> {
    // A lone order waits for whoever holds it locked, and holds up no other.
    let mut retry = match ids {
        [_] => Retry::default(),
        _ => Retry::reporting(|failure| failure == LockFailure::Row),
    };
    let confirmed = retry.run(backend, |_| confirm_once(backend, ids, at));
    confirmed
        .await
        .map_err(|error| match B::lock_failure(&error) {
            Some(LockFailure::Row) if ids.len() > 1 => Error::Locked,
            _ => error,
        })
}

/// Made again after a commit in doubt, it finds the orders confirmed and answers that.
async fn confirm_once<B: SqlBackend>(
    backend: &B,
    ids: &[OrderId],
    at: DateTime<Utc>,
) -> Result<Vec<Result<Option<Order>, Error>>, Error> {
    let mut tx = backend.begin_single(Priority::Request).await?;
    let asked: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let confirmed = tx.confirm_orders(asked.clone(), at).await;
    let confirmed = confirmed.map_err(B::on_single)?;
    let confirmed: HashSet<Uuid> = confirmed.into_iter().collect();
    let orders = read_orders(&mut *tx, asked).await?;
    if confirmed.is_empty() {
        tx.confirm().await?;
    } else {
        tx.commit().await?;
    }
    let orders: HashMap<OrderId, Order> = orders.into_iter().map(|o| (o.id, o)).collect();
    let judge = |id: &OrderId| {
        let Some(order) = orders.get(id).cloned() else {
            return Ok(None);
        };
        if confirmed.contains(&id.0) {
            return Ok(Some(order));
        }
        unconfirmed(order, at).map(Some)
    };
    Ok(ids.iter().map(judge).collect())
}

/// An order that was to be confirmed and was not: because it was before, or the reason. When it was
/// held, its time was over.
fn unconfirmed(order: Order, at: DateTime<Utc>) -> Result<Order, Error> {
    let now = order.held_until.unwrap_or(at);
    Ok(order.confirmed(at, now)?)
}

pub(super) async fn confirm_if<B: SqlBackend>(
    backend: &B,
    id: OrderId,
    at: DateTime<Utc>,
    expected_versions: &[OrderVersion],
) -> Result<Option<Order>, Error> {
    if expected_versions.is_empty() {
        let confirmed = confirm(backend, &[id], at).await?.pop();
        return confirmed.unwrap_or(Ok(None));
    }
    with_retry(backend, |attempt| {
        confirm_if_once(backend, id, at, expected_versions, attempt)
    })
    .await
}

/// It holds the order from the comparison to the end.
async fn confirm_if_once<B: SqlBackend>(
    backend: &B,
    id: OrderId,
    at: DateTime<Utc>,
    expected_versions: &[OrderVersion],
    attempt: Attempt,
) -> Result<Option<Order>, Error> {
    let mut tx = backend.begin(Priority::Request, None).await?;
    let Some(order) = lock_order(&mut *tx, id).await? else {
        return Ok(None);
    };
    // What was done in doubt is at a version that nobody could expect.
    if attempt.resolving && order.confirmed_at == Some(at) {
        tx.confirm().await?;
        return Ok(Some(order));
    }
    order.check_version(expected_versions)?;
    if tx.confirm_orders(vec![id.0], at).await?.is_empty() {
        tx.confirm().await?;
        return unconfirmed(order, at).map(Some);
    }
    let confirmed = read_orders(&mut *tx, vec![id.0]).await?.pop();
    tx.commit().await?;
    Ok(confirmed)
}

pub(super) async fn extend<B: SqlBackend>(
    backend: &B,
    id: OrderId,
    hold_time: HoldTime,
    expected_versions: &[OrderVersion],
) -> Result<Option<Order>, Error> {
    let written = Mutex::new(None);
    with_retry(backend, |attempt| {
        extend_once(backend, id, hold_time, expected_versions, attempt, &written)
    })
    .await
}

/// Made again after a commit in doubt, it finds the version that it wrote, and answers that.
async fn extend_once<B: SqlBackend>(
    backend: &B,
    id: OrderId,
    hold_time: HoldTime,
    expected_versions: &[OrderVersion],
    attempt: Attempt,
    written: &Mutex<Option<OrderVersion>>,
) -> Result<Option<Order>, Error> {
    let mut tx = backend.begin(Priority::Request, None).await?;
    let Some(order) = lock_order(&mut *tx, id).await? else {
        return Ok(None);
    };
    if attempt.resolving && *lock(written) == Some(order.version()) {
        tx.confirm().await?;
        return Ok(Some(order));
    }
    order.check_version(expected_versions)?;
    // Asked when the order is locked: until then, its time may have run out.
    let (now,): (StoredTime,) = tx.fetch_one(B::SQL.holds.now, &[Value::Now]).await?;
    let order = order.extended(hold_time, now.0)?;
    let until = order.held_until.ok_or(RuleViolation::HoldLimit)?;
    let values = [Value::Id(id.0), Value::Time(until)];
    tx.execute(EXTEND_ORDER, &values).await?;
    tx.execute(EXTEND_HOLDS, &values).await?;
    *lock(written) = Some(order.version());
    tx.commit().await?;
    Ok(Some(order))
}

/// Expires holds that nobody needs. It looks without a lock first, and then locks in the lock order:
/// orders, skipping those that somebody holds, and their products. Those of a product that cannot be
/// locked are left for later.
pub(super) async fn expire<B: ContentionSteps>(
    backend: &B,
    after: Option<LapsedAt>,
    limit: usize,
    at: DateTime<Utc>,
) -> Result<Expired, Error> {
    let lapsed = reading_at_once(backend, || lapsed(backend, after, limit)).await?;
    let next = lapsed.last().copied().filter(|_| lapsed.len() == limit);
    let mut ids: Vec<Uuid> = lapsed.into_iter().map(|(_, id)| id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(Expired::default());
    }
    let (mut retry, changes) = (Retry::reporting(|_| true), Changes::default());
    let expired = retry.run(backend, |attempt| {
        expire_once(backend, &ids, at, attempt, &changes)
    });
    let mut expired = match expired.await {
        Ok(expired) => expired,
        Err(error) if B::lock_failure(&error).is_some() => {
            let wanted = std::mem::take(&mut *lock(&changes.wanted));
            backend.examine(&wanted).await;
            Expired::default()
        }
        Err(error) => return Err(error),
    };
    let later = changes.read_uncertain(backend, &retry).await?;
    expired
        .changed
        .retain(|product| !later.iter().any(|p| p.id == product.id));
    expired.changed.extend(later);
    expired.next = next;
    metrics::expired(expired.orders.len());
    Ok(expired)
}

async fn lapsed<B: SqlBackend>(
    backend: &B,
    after: Option<LapsedAt>,
    limit: usize,
) -> Result<Vec<LapsedAt>, Error> {
    let (time, id) = after.unwrap_or((DateTime::UNIX_EPOCH, OrderId(Uuid::nil())));
    let values = [
        Value::Time(time),
        Value::Id(id.0),
        Value::count(limit),
        Value::Now,
    ];
    let mut connection = backend.read().await?;
    let rows: Vec<(StoredTime, Uuid)> = connection.fetch_all(B::SQL.holds.lapsed, &values).await?;
    let rows = rows.into_iter().map(|(at, id)| (at.0, OrderId(id)));
    Ok(rows.collect())
}

async fn expire_once<B: ContentionSteps>(
    backend: &B,
    ids: &[Uuid],
    at: DateTime<Utc>,
    attempt: Attempt,
    changes: &Changes,
) -> Result<Expired, Error> {
    let mut tx = backend
        .begin(Priority::Background, attempt.lock_wait)
        .await?;
    let mut orders = lock_lapsed(&mut *tx, ids.to_vec()).await?;
    if let Some(contention) = backend.contention() {
        orders.retain(|order| contention.among(&order.kept_lines()).is_none());
    }
    if orders.is_empty() {
        return Ok(Expired::default());
    }
    let lines: Vec<RequestedLine> = orders.iter().flat_map(Order::kept_lines).collect();
    let products = plan::products_of(&lines);
    lock(&changes.wanted).clone_from(&products);
    let locked = lock_products(&mut *tx, &products).await?;
    let (expired, returned) = plan::expire(&orders, &locked.products);
    let changed = write_expired(&mut tx, &expired, at).await?;
    let returned = Value::Ids(returned.iter().map(|(id, _)| id.0).collect());
    tx.execute(B::SQL.holds.refresh, &[returned]).await?;
    changes.record_changes(&changed);
    tx.commit().await?;
    Ok(Expired {
        orders: expired.iter().map(|order| order.id).collect(),
        changed: plan::living(&locked.products, changed),
        next: None,
    })
}
