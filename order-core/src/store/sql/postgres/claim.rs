//! Claiming pending orders: a cursor keeps claims from walking over what was decided, and orders that
//! contain a contended product are left out.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use sqlx::PgConnection;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::{
    claim_cursor::Claim,
    connections::PooledConnection,
    decide::{CLAIM_OLDEST, CLAIM_SKIPPING, CLAIM_WAITING, SCAN, STILL_PENDING},
    store::PostgresStore,
};
use crate::{
    domain::OrderId,
    error::Error,
    store::{
        contention::Snapshot,
        orders::Selection,
        sql::{
            backend::SqlConnection,
            decide::{ClaimSteps, ClaimedOrders},
            plan::PendingOrder,
            retry::Attempt,
            rows,
            value::Value,
        },
    },
};

/// The number of pending orders that are read for each that is wanted, where some are left out.
const WINDOW: usize = 5;
/// The number of those windows that a claim reads before it leaves the rest to the next one.
const MAX_WINDOWS: u32 = 100;

#[async_trait]
impl ClaimSteps for PostgresStore {
    /// Orders that are decided one by one keep no order among each other.
    async fn lock_claim_mutex(&self, selection: Selection<'_>) -> Option<OwnedMutexGuard<()>> {
        match selection {
            Selection::Oldest(1) | Selection::ByIds(_) => None,
            Selection::Oldest(_) => Some(Arc::clone(&self.claim_mutex).lock_owned().await),
        }
    }

    /// Locks the orders to decide: not those that contain a contended product.
    async fn claim(
        &self,
        tx: &mut PooledConnection,
        selection: Selection<'_>,
        attempt: Attempt,
    ) -> Result<ClaimedOrders, Error> {
        // Before the cursor is read, which goes back before a contention ends.
        let contended = self.contention.snapshot();
        let mut claim = self.claim_cursor.begin();
        let limit = match selection {
            Selection::Oldest(limit) => limit,
            Selection::ByIds(ids) => return self.claim_named(tx, ids, attempt).await,
        };
        let contended = contended.as_ref();
        let mut pending = self.claim_after(tx, &mut claim, limit, contended).await?;
        if pending.is_empty() && claim.may_rescan() {
            claim.rescan();
            pending = self.claim_after(tx, &mut claim, limit, contended).await?;
        }
        tx.claim = Some(claim);
        Ok(ClaimedOrders {
            pending,
            put_off: Vec::new(),
        })
    }

    fn accepted(&self, first: OrderId) {
        self.claim_cursor.rewind(first.0);
    }

    fn claimed_up_to(&self) -> Uuid {
        self.claim_cursor.after()
    }
}

impl PostgresStore {
    /// Locks the oldest pending orders after the point at which `claim` begins.
    async fn claim_after(
        &self,
        connection: &mut PgConnection,
        claim: &mut Claim,
        limit: usize,
        contended: Option<&Snapshot>,
    ) -> Result<Vec<PendingOrder>, Error> {
        if let Some(contended) = contended {
            return self.claim_around(connection, claim, limit, contended).await;
        }
        let values = [Value::Id(claim.after()), Value::count(limit)];
        let pending = rows::gather(connection.fetch_all(CLAIM_OLDEST, &values).await?)?;
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
        claim: &mut Claim,
        limit: usize,
        contended: &Snapshot,
    ) -> Result<Vec<PendingOrder>, Error> {
        claim.scans();
        let window = limit.saturating_mul(WINDOW);
        let products = Value::Ids(contended.products.clone());
        let (mut after, mut first_left_out) = (claim.after(), None);
        for windows_left in (0..MAX_WINDOWS).rev() {
            let values = [Value::Id(after), Value::count(window), products.clone()];
            let seen: Vec<(Uuid, bool)> = connection.fetch_all(SCAN, &values).await?;
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
            let pending = claim_by_ids(connection, CLAIM_SKIPPING, &chosen).await?;
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
                self.claim_cursor.rewind(first);
            }
            return Ok(pending);
        }
        Ok(Vec::new())
    }

    /// Locks those of `ids` that are pending. After an attempt in doubt, which may still hold them,
    /// it waits; otherwise what is locked, or contains a contended product, is put off.
    async fn claim_named(
        &self,
        connection: &mut PgConnection,
        ids: &[OrderId],
        attempt: Attempt,
    ) -> Result<ClaimedOrders, Error> {
        let statement = if attempt.resolving {
            CLAIM_WAITING
        } else {
            CLAIM_SKIPPING
        };
        let locked = claim_by_ids(connection, statement, ids).await?;
        let is_contended = |order: &PendingOrder| self.contention.among(&order.lines).is_some();
        let (left_out, pending): (Vec<_>, Vec<_>) = locked.into_iter().partition(is_contended);
        let mut put_off: Vec<OrderId> = left_out.iter().map(|order| order.id).collect();
        if pending.len() + put_off.len() < ids.len() {
            let held = pending.iter().map(|order| order.id).chain(put_off.clone());
            let held: HashSet<OrderId> = held.collect();
            let missing = ids.iter().filter(|id| !held.contains(id));
            let missing = Value::Ids(missing.map(|id| id.0).collect());
            let still = connection.fetch_ids(STILL_PENDING, &[missing]).await?;
            put_off.extend(still.into_iter().map(OrderId));
        }
        Ok(ClaimedOrders { pending, put_off })
    }
}

/// Locks those of `ids` that are pending, in id order, and reads their lines.
///
/// Nothing is held yet, so that waiting for an order row keeps nobody from a product.
async fn claim_by_ids(
    connection: &mut PgConnection,
    statement: &'static str,
    ids: &[OrderId],
) -> Result<Vec<PendingOrder>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids = Value::Ids(ids.iter().map(|id| id.0).collect());
    rows::gather(connection.fetch_all(statement, &[ids]).await?)
}
