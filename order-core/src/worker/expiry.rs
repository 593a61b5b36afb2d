//! Expiry: it gives back what held orders keep whose time is over, and that nobody needs. Whoever
//! needs it takes it at its turn, so that this is never in anybody's way. Any number of processes do
//! so; each skips what another has locked.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, error::Error, store::OrderStore};

/// The time between two looks, and before the first.
const INTERVAL: Duration = Duration::from_secs(1);
/// The most orders that one transaction expires: their products are locked for as long as it takes.
const MOST_AT_ONCE: usize = 500;

/// Expires what lapsed.
pub(super) struct Expiry {
    pub(super) orders: Arc<dyn OrderStore>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Expiry {
    /// Works until `stop` is cancelled. A process that is over within a second expires nothing.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        if !self.orders.keeps_holds() {
            return;
        }
        let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.expire(stop).await {
                Ok(0) => {}
                Ok(orders) => tracing::debug!(orders, "expired held orders"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "held orders were not expired, and are looked at again"
                    );
                }
            }
        }
    }

    /// Expires all that lapsed, batch after batch.
    async fn expire(&self, stop: &CancellationToken) -> Result<usize, Error> {
        let (mut orders, mut after) = (0, None);
        while !stop.is_cancelled() {
            let at = self.clock.now();
            let expired = self.orders.expire(after, MOST_AT_ONCE, at).await?;
            orders += expired.orders.len();
            after = expired.next;
            if after.is_none() {
                break;
            }
        }
        Ok(orders)
    }
}
