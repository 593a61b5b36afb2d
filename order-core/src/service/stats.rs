//! Figures for operators, put together once a second at most, however many ask.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};
use uuid::Uuid;

use super::OrderService;
use crate::{
    domain::OrderId,
    error::Error,
    stats::{HotProduct, Tallies},
    store::Store,
    worker::Housekeeper,
};

/// How long figures are given again.
const FRESH: Duration = Duration::from_secs(1);
/// How far back figures are told second by second.
pub const WINDOW: Duration = Duration::from_secs(300);
/// The newest orders that are looked at for what tallies do not tell.
const NEWEST_ORDERS: u32 = 1_000;
const HOT_PRODUCTS: u32 = 10;

/// How long orders had waited for their decision: of every hundred, so many no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitFigures {
    /// The orders that were looked at.
    pub orders: usize,
    /// Half of them no longer than this.
    pub p50: Duration,
    /// 95 of a hundred.
    pub p95: Duration,
    /// 99 of a hundred.
    pub p99: Duration,
}

/// How the shop does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// What the tallies say, with the last five minutes second by second.
    pub tallies: Tallies,
    /// How long the oldest order that is not decided has waited.
    pub oldest_pending_age: Option<Duration>,
    /// Of the orders decided last, those that had waited; none in the last five minutes, no
    /// figures.
    pub waits: Option<WaitFigures>,
    /// The products that the newest orders ask for most.
    pub hot_products: Vec<HotProduct>,
}

/// The figures that were put together last, and when.
pub(super) type LatestStats = Mutex<Option<(Instant, Arc<Stats>)>>;

impl OrderService {
    /// How the shop does, at most a second ago.
    ///
    /// # Errors
    /// The backend's.
    pub async fn stats(&self) -> Result<Arc<Stats>, Error> {
        // Whoever comes while they are put together waits here, and takes those.
        let mut latest = self.parts.latest_stats.lock().await;
        if let Some((at, stats)) = &*latest
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(stats));
        }
        let stats = Arc::new(collect(self.parts.store.as_ref()).await?);
        *latest = Some((Instant::now(), Arc::clone(&stats)));
        Ok(stats)
    }

    /// What keeps the figures cheap, for a process without a worker.
    #[must_use]
    pub fn housekeeper(&self) -> Housekeeper {
        Housekeeper::new(Arc::clone(&self.parts.store))
    }
}

async fn collect(store: &dyn Store) -> Result<Stats, Error> {
    let (tallies, oldest_pending, hot_products) = tokio::try_join!(
        store.tallies(WINDOW),
        store.oldest_pending(),
        store.hot_products(NEWEST_ORDERS, HOT_PRODUCTS),
    )?;
    // Behind a long backlog, the newest that are decided lie before its head.
    let before = match oldest_pending {
        Some(oldest) if tallies.totals.pending() > u64::from(NEWEST_ORDERS) => oldest.id,
        _ => OrderId(Uuid::max()),
    };
    let waits = wait_figures(store, &tallies, before).await?;
    Ok(Stats {
        tallies,
        oldest_pending_age: oldest_pending.map(|oldest| oldest.age),
        waits,
        hot_products,
    })
}

async fn wait_figures(
    store: &dyn Store,
    tallies: &Tallies,
    before: OrderId,
) -> Result<Option<WaitFigures>, Error> {
    let waits = store.waits(before, NEWEST_ORDERS).await?;
    let recent = waits.iter().filter(|wait| wait.until > tallies.at - WINDOW);
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
