//! Figures for operators, collected once a second at most, however many ask.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};
use uuid::Uuid;

use crate::{
    domain::OrderId,
    error::Error,
    stats::{HotProduct, OrderCounters, StatsStore},
};

/// The time for which figures are given again.
const FRESH: Duration = Duration::from_secs(1);
/// The time for which figures are kept per second.
pub const WINDOW: Duration = Duration::from_secs(300);
/// The number of newest orders that are read for figures that counters do not give.
const NEWEST_ORDERS: u32 = 1_000;
const HOT_PRODUCTS: u32 = 10;

/// The waits of orders for their decision, as percentiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitFigures {
    /// The number of orders that were read.
    pub orders: usize,
    /// Half of them no longer than this.
    pub p50: Duration,
    /// 95 of a hundred no longer than this.
    pub p95: Duration,
    /// 99 of a hundred no longer than this.
    pub p99: Duration,
}

/// The figures of a shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The counters, with the last five minutes per second.
    pub counters: OrderCounters,
    /// The age of the oldest order that is not decided.
    pub oldest_pending_age: Option<Duration>,
    /// The waits of the orders that were decided last, if any had waited within five minutes.
    pub waits: Option<WaitFigures>,
    /// The products that the newest orders ask for most.
    pub hot_products: Vec<HotProduct>,
}

/// The figures that were collected last, and the time of that.
#[derive(Default)]
pub(super) struct LatestStats {
    latest: Mutex<Option<(Instant, Arc<Stats>)>>,
}

impl LatestStats {
    /// The figures, at most a second old.
    pub(super) async fn get(&self, store: &dyn StatsStore) -> Result<Arc<Stats>, Error> {
        // Later callers wait here while they are collected, and take those.
        let mut latest = self.latest.lock().await;
        if let Some((at, stats)) = &*latest
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(stats));
        }
        let stats = Arc::new(collect(store).await?);
        *latest = Some((Instant::now(), Arc::clone(&stats)));
        Ok(stats)
    }
}

async fn collect(store: &dyn StatsStore) -> Result<Stats, Error> {
    let (counters, oldest_pending, hot_products) = tokio::try_join!(
        store.counters(WINDOW),
        store.oldest_pending(),
        store.hot_products(NEWEST_ORDERS, HOT_PRODUCTS),
    )?;
    // Behind a long backlog, the newest that are decided lie before its head.
    let before = match oldest_pending {
        Some(oldest) if counters.totals.pending() > u64::from(NEWEST_ORDERS) => oldest.id,
        _ => OrderId(Uuid::max()),
    };
    let waits = wait_figures(store, &counters, before).await?;
    Ok(Stats {
        counters,
        oldest_pending_age: oldest_pending.map(|oldest| oldest.age),
        waits,
        hot_products,
    })
}

async fn wait_figures(
    store: &dyn StatsStore,
    counters: &OrderCounters,
    before: OrderId,
) -> Result<Option<WaitFigures>, Error> {
    let waits = store.waits(before, NEWEST_ORDERS).await?;
    let recent = waits
        .iter()
        .filter(|wait| wait.until > counters.at - WINDOW);
    let durations = recent.map(|wait| (wait.until - wait.since).to_std().unwrap_or_default());
    Ok(figures(durations.collect()))
}

/// Percentiles by the nearest rank.
fn figures(mut waits: Vec<Duration>) -> Option<WaitFigures> {
    waits.sort_unstable();
    let of_hundred = |rank: usize| {
        let place = (waits.len() * rank).div_ceil(100);
        waits.get(place.checked_sub(1)?).copied()
    };
    Some(WaitFigures {
        orders: waits.len(),
        p50: of_hundred(50)?,
        p95: of_hundred(95)?,
        p99: of_hundred(99)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_ranks() {
        let ms = Duration::from_millis;
        assert_eq!(figures(Vec::new()), None);
        let one = figures(vec![ms(7)]).unwrap();
        assert_eq!((one.orders, one.p50, one.p99), (1, ms(7), ms(7)));
        let many = figures((1..=200).rev().map(ms).collect()).unwrap();
        assert_eq!((many.p50, many.p95, many.p99), (ms(100), ms(190), ms(198)));
    }
}
