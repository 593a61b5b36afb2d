//! One transaction for each turn, made of the steps of `steps`.

use std::{collections::HashSet, future::Future};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tokio::sync::MutexGuard;
use uuid::Uuid;

use super::{
    PostgresStore,
    accept::Columns,
    conditional,
    frontier::Claim,
    idempotency::keys_of,
    read::by_id,
    session,
    steps::{
        OnLocked, SEEN_FOR, Taken, claim_oldest, claim_these, decide_claimed, lock, look_around,
        see, sell_as_seen, still_pending, write_sold,
    },
};
use crate::{
    domain::{NewOrder, OrderId, OrderMode, Product, ProductId},
    error::Error,
    store::{
        Decided, Outcome, Pick, Purchase,
        contention::Snapshot,
        error::on_commit,
        idempotency::{Batch, Settled},
        plan::{self, LockedProduct, PendingOrder},
        retry::Retry,
        rows::{self, select_product},
        strategy::Turns,
    },
};

/// How many pending orders are looked at for each that is wanted, where some are left out.
const WINDOW: usize = 5;
/// How many times that a claim looks at before it leaves the rest to the next one.
const MAX_WINDOWS: u32 = 100;

type ProductRow = rows::ProductRow<DateTime<Utc>>;

#[async_trait]
impl Turns for PostgresStore {
    async fn attempt<T: Send>(
        &self,
        attempt: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        self.connections.attempt(attempt).await
    }

    /// Waits for whoever is changing them: an attempt in doubt may still be at its commit.
    async fn living(&self, products: &[ProductId]) -> Result<Vec<Product>, Error> {
        let ids: Vec<Uuid> = products.iter().map(|id| id.0).collect();
        let rows: Vec<ProductRow> = sqlx::query_as(select_product!(
            "WHERE id = ANY($1) AND archived_at IS NULL ORDER BY id FOR SHARE"
        ))
        .bind(ids)
        .fetch_all(&mut *self.connections.acquire().await?)
        .await?;
        rows.into_iter().map(Product::try_from).collect()
    }

    /// The products are locked within the last statement only: nobody waits while we read an
    /// answer and decide. Keys are looked up after the products are seen: a sale that shows in
    /// their stock shows in its key.
    ///
    /// When that one is in doubt, it may not even have begun, and so hold no lock that the next
    /// attempt would wait for. It sells nothing that the next one sold, whose orders have the same
    /// ids; but it could sell what that one refused, if stock came back in between. So it does
    /// nothing once it is older than [`SEEN_FOR`], by the clock of the database, which nobody
    /// sets back; and before the next attempt we wait as long.
    async fn purchase_as_seen(
        &self,
        orders: &[NewOrder],
        retry: &Retry,
    ) -> Result<Option<Outcome<Purchase>>, Error> {
        if retry.resolving() {
            tokio::time::sleep(SEEN_FOR).await;
            return Ok(None);
        }
        if retry.lock_wait().is_some() {
            // Longer than a statement by itself waits.
            return Ok(None);
        }
        let mut connection = self.connections.acquire().await?;
        let seen = see(
            &mut connection,
            orders.iter().flat_map(|order| &order.lines),
        )
        .await?;
        let (settled, taken) = settle(&mut connection, orders, &seen.products, retry).await?;
        let columns = Columns::of(settled.made(), &settled.kept);
        let mut changed = Vec::new();
        if !columns.is_empty() {
            if settled.results.iter().any(Result::is_err) {
                return Ok(None);
            }
            let at = plan::latest(orders);
            changed = sell_as_seen(&mut connection, columns, taken, &seen, at).await?;
            if changed.is_empty() {
                return Ok(None);
            }
        } else if settled.results.iter().any(Result::is_ok) {
            session::assure(&mut connection).await?;
        }
        Ok(Some(Outcome {
            results: settled.results,
            changed,
            ..Outcome::default()
        }))
    }

    async fn purchase_locked(
        &self,
        orders: &[NewOrder],
        retry: &Retry,
    ) -> Result<Outcome<Purchase>, Error> {
        let mut connection = self.connections.acquire().await?;
        let mut tx = connection.begin_for(retry).await?;
        let products = lock(&mut tx, orders.iter().flat_map(|order| &order.lines)).await?;
        // An attempt in doubt held these rows until it ended: what it stored shows by now.
        // So does the key that another transaction kept which sold the same products.
        let (settled, taken) = settle(&mut tx, orders, &products, retry).await?;
        let columns = Columns::of(settled.made(), &settled.kept);
        let mut changed = Vec::new();
        if !columns.is_empty() {
            changed = write_sold(&mut tx, columns, taken, plan::latest(orders)).await?;
            tx.commit().await.map_err(on_commit)?;
        } else if settled.results.iter().any(Result::is_ok) {
            session::assure(&mut tx).await?;
            tx.commit().await?;
        }
        Ok(Outcome {
            results: settled.results,
            changed,
            ..Outcome::default()
        })
    }

    async fn purchase_if_enough(
        &self,
        order: &NewOrder,
        retry: &Retry,
    ) -> Result<Option<Outcome<Purchase>>, Error> {
        conditional::purchase(self, order, retry).await
    }

    async fn decide_locked(
        &self,
        pick: Pick<'_>,
        at: DateTime<Utc>,
        retry: &Retry,
    ) -> Result<Outcome<Decided>, Error> {
        let turn = self.turn(pick).await;
        let mut connection = self.connections.acquire().await?;
        let mut tx = connection.begin_for(retry).await?;
        let Claimed {
            pending,
            claim,
            put_off,
        } = self.claim(&mut tx, pick, retry).await?;
        if pending.is_empty() {
            return Ok(Outcome {
                put_off,
                ..Outcome::default()
            });
        }
        let lines = pending.iter().flat_map(|order| &order.lines);
        let products = match lock(&mut tx, lines.clone()).await {
            Ok(products) => products,
            Err(error) => {
                retry.want(plan::products_of(lines));
                // Awaited, so that the next batch finds these orders before later ones.
                let _ = tx.rollback().await;
                return Err(error);
            }
        };
        drop(turn);
        let mut outcome = decide_claimed(&mut tx, &pending, &products, at).await?;
        outcome.put_off = put_off;
        retry.note(outcome.changed.iter().map(|product| product.id));
        tx.commit().await.map_err(on_commit)?;
        claim.committed();
        Ok(outcome)
    }

    async fn decide_conditional(
        &self,
        pick: Pick<'_>,
        at: DateTime<Utc>,
        retry: &Retry,
    ) -> Result<Outcome<Decided>, Error> {
        conditional::decide(self, pick, at, retry).await
    }
}

/// Gives each order its turn, unless it had it before; and what they take together.
async fn settle(
    connection: &mut PgConnection,
    orders: &[NewOrder],
    products: &[LockedProduct],
    retry: &Retry,
) -> Result<(Settled, Taken), Error> {
    let used = keys_of(connection, orders).await?;
    let batch = Batch::new(orders, OrderMode::Purchase, used);
    let stored = by_id(connection, batch.to_read(retry)).await?;
    let (prices, mut batch_stock) = (plan::prices(products), plan::batch_stock(products));
    let settled = batch.settle(&stored, |order| {
        plan::sell(order, &prices, &mut batch_stock)
    });
    Ok((settled, batch_stock.deductions().collect()))
}

impl PostgresStore {
    /// Waits until the batches that came before have their products. Orders that are decided
    /// one by one keep no order among each other.
    async fn turn(&self, pick: Pick<'_>) -> Option<MutexGuard<'_, ()>> {
        match pick {
            Pick::Oldest(1) | Pick::These(_) => None,
            Pick::Oldest(_) => Some(self.turnstile.lock().await),
        }
    }

    /// Locks the orders to decide: not those that contain a contended product.
    pub(super) async fn claim(
        &self,
        connection: &mut PgConnection,
        pick: Pick<'_>,
        retry: &Retry,
    ) -> Result<Claimed<'_>, Error> {
        // Before the cursor is read, which goes back before a contention ends.
        let contended = self.contention.snapshot();
        let mut claim = self.frontier.begin();
        let limit = match pick {
            Pick::Oldest(limit) => limit,
            Pick::These(ids) => return self.claim_named(connection, claim, ids, retry).await,
        };
        let contended = contended.as_ref();
        let mut pending = self
            .claim_after(connection, &mut claim, limit, contended)
            .await?;
        if pending.is_empty() && claim.may_look_back() {
            claim.look_back();
            pending = self
                .claim_after(connection, &mut claim, limit, contended)
                .await?;
        }
        Ok(Claimed {
            pending,
            claim,
            put_off: Vec::new(),
        })
    }

    /// Locks the oldest pending orders after the point at which `claim` begins.
    async fn claim_after(
        &self,
        connection: &mut PgConnection,
        claim: &mut Claim<'_>,
        limit: usize,
        contended: Option<&Snapshot>,
    ) -> Result<Vec<PendingOrder>, Error> {
        if let Some(contended) = contended {
            return self.claim_around(connection, claim, limit, contended).await;
        }
        let pending = claim_oldest(connection, claim.after(), limit).await?;
        if let (Some(first), Some(last)) = (pending.first(), pending.last()) {
            claim.found(Some(first.id.0), last.id.0, pending.len() == limit);
        }
        Ok(pending)
    }

    /// The same, without the orders that contain a contended product. What is pending is looked at
    /// in windows, so that no statement reads more than one; the cursor goes on past all that was
    /// left out, and back when the contention ends.
    async fn claim_around(
        &self,
        connection: &mut PgConnection,
        claim: &mut Claim<'_>,
        limit: usize,
        contended: &Snapshot,
    ) -> Result<Vec<PendingOrder>, Error> {
        claim.walks();
        let window = limit.saturating_mul(WINDOW);
        let (mut after, mut first_left_out) = (claim.after(), None);
        for windows_left in (0..MAX_WINDOWS).rev() {
            let seen = look_around(connection, after, window, &contended.products).await?;
            let mut chosen: Vec<OrderId> = Vec::with_capacity(limit);
            for (id, is_left_out) in &seen {
                if *is_left_out {
                    first_left_out = first_left_out.or(Some(*id));
                } else {
                    chosen.push(OrderId(*id));
                }
                after = *id;
                if chosen.len() == limit {
                    break;
                }
            }
            let is_last = seen.len() < window && chosen.len() < limit;
            let pending = claim_these(connection, &chosen, OnLocked::Skip).await?;
            if pending.is_empty() && !is_last {
                if windows_left > 0 {
                    continue;
                }
                claim.stops_short();
            }
            if after > claim.after() {
                claim.found(pending.first().map(|order| order.id.0), after, !is_last);
            }
            if let Some(first) = first_left_out
                && !self.contention.left_out(contended, first)
            {
                self.frontier.retreat(first);
            }
            return Ok(pending);
        }
        Ok(Vec::new())
    }

    /// Locks those of `ids` that are pending. After an attempt in doubt, which may still hold them,
    /// it waits; otherwise what is locked, or contains a contended product, is put off.
    async fn claim_named<'a>(
        &self,
        connection: &mut PgConnection,
        claim: Claim<'a>,
        ids: &[OrderId],
        retry: &Retry,
    ) -> Result<Claimed<'a>, Error> {
        let on_locked = if retry.resolving() {
            OnLocked::Wait
        } else {
            OnLocked::Skip
        };
        let locked = claim_these(connection, ids, on_locked).await?;
        let is_contended = |order: &PendingOrder| self.contention.among(&order.lines).is_some();
        let (left_out, pending): (Vec<_>, Vec<_>) = locked.into_iter().partition(is_contended);
        let mut put_off: Vec<OrderId> = left_out.iter().map(|order| order.id).collect();
        if pending.len() + put_off.len() < ids.len() {
            let held = pending.iter().map(|order| order.id).chain(put_off.clone());
            let held: HashSet<OrderId> = held.collect();
            let missing = ids.iter().filter(|id| !held.contains(id)).copied();
            put_off.extend(still_pending(connection, missing).await?);
        }
        Ok(Claimed {
            pending,
            claim,
            put_off,
        })
    }
}

/// Orders that are locked to be decided.
pub(super) struct Claimed<'a> {
    pub(super) pending: Vec<PendingOrder>,
    pub(super) claim: Claim<'a>,
    /// Those that were named and cannot be decided now.
    pub(super) put_off: Vec<OrderId>,
}
