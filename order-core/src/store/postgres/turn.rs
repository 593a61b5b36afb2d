//! One transaction for each turn, made of the steps of `steps`.

use std::future::Future;

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
        SEEN_FOR, Taken, claim_oldest, claim_these, decide_claimed, lock, see, sell_as_seen,
        write_sold,
    },
};
use crate::{
    domain::{NewOrder, Placing, Product, ProductId},
    error::Error,
    store::{
        Decided, Outcome, Pick, Purchase,
        error::on_commit,
        idempotency::{Batch, Settled},
        plan::{self, LockedProduct, PendingOrder},
        retry::Retry,
        rows::{self, select_product},
        strategy::Turns,
    },
};

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
        }))
    }

    async fn purchase_locked(
        &self,
        orders: &[NewOrder],
        retry: &Retry,
    ) -> Result<Outcome<Purchase>, Error> {
        let mut connection = self.connections.acquire().await?;
        let mut tx = connection.begin().await?;
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
        })
    }

    async fn purchase_if_enough(
        &self,
        order: &NewOrder,
    ) -> Result<Option<Outcome<Purchase>>, Error> {
        conditional::purchase(self, order).await
    }

    async fn decide_locked(
        &self,
        pick: Pick<'_>,
        at: DateTime<Utc>,
        retry: &Retry,
    ) -> Result<Outcome<Decided>, Error> {
        let turn = self.turn(pick).await;
        let mut connection = self.connections.acquire().await?;
        let mut tx = connection.begin().await?;
        let (pending, claim) = self.claim(&mut tx, pick).await?;
        if pending.is_empty() {
            return Ok(Outcome::default());
        }
        let products = lock(&mut tx, pending.iter().flat_map(|order| &order.lines)).await?;
        drop(turn);
        let outcome = decide_claimed(&mut tx, &pending, &products, at).await?;
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
    let batch = Batch::new(orders, Placing::Purchase, used);
    let stored = by_id(connection, batch.to_read(retry)).await?;
    let (prices, mut shelves) = (plan::prices(products), plan::shelves(products));
    let settled = batch.settle(&stored, |order| plan::sell(order, &prices, &mut shelves));
    Ok((settled, shelves.taken().collect()))
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

    /// Locks the orders to decide.
    pub(super) async fn claim(
        &self,
        connection: &mut PgConnection,
        pick: Pick<'_>,
    ) -> Result<(Vec<PendingOrder>, Claim<'_>), Error> {
        let mut claim = self.frontier.begin();
        let limit = match pick {
            Pick::Oldest(limit) => limit,
            Pick::These(ids) => return Ok((claim_these(connection, ids).await?, claim)),
        };
        let mut pending = claim_oldest(connection, claim.after(), limit).await?;
        if pending.is_empty() && !claim.after().is_nil() {
            claim.look_back();
            pending = claim_oldest(connection, claim.after(), limit).await?;
        }
        if let (Some(first), Some(last)) = (pending.first(), pending.last()) {
            claim.found(first.id.0, last.id.0, pending.len() == limit);
        }
        Ok((pending, claim))
    }
}
