//! The figures of the reference store: it counts.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use async_trait::async_trait;

use super::store::ReferenceStore;
use crate::{
    domain::{Order, OrderId, OrderStatus, ProductId},
    error::Error,
    stats::{HotProduct, OrderCounters, OrderCounts, Second, StatsStore, Wait, Waiting},
};

fn counts<'a>(orders: impl Iterator<Item = &'a Order>) -> OrderCounts {
    let mut counts = OrderCounts::default();
    for order in orders {
        counts.accepted += 1;
        let was_held = order.held_at.is_some();
        let was_confirmed = order.confirmed_at.is_some();
        let was_granted = order.decided_at.is_some() && order.failure.is_none();
        let was_sold = was_granted && (!was_held || was_confirmed);
        counts.sold += u64::from(was_sold);
        counts.held += u64::from(was_held);
        counts.confirmed += u64::from(was_confirmed);
        match order.status {
            OrderStatus::Failed => counts.failed += 1,
            OrderStatus::Expired => counts.expired += 1,
            OrderStatus::Completed => counts.completed += 1,
            OrderStatus::Cancelled => {
                counts.cancelled += 1;
                counts.returned += u64::from(was_sold);
                counts.released += u64::from(was_held && !was_confirmed);
            }
            OrderStatus::Pending | OrderStatus::Held | OrderStatus::Success => {}
        }
    }
    counts
}

fn wait(order: &Order) -> Option<Wait> {
    let (since, until) = (order.created_at, order.decided_at?);
    (until != since).then_some(Wait { since, until })
}

#[async_trait]
impl StatsStore for ReferenceStore {
    /// Everything has just happened.
    async fn counters(&self, _: Duration) -> Result<OrderCounters, Error> {
        let state = self.state.lock().unwrap();
        let (at, totals) = (state.now(), counts(state.orders.values()));
        let waits = state.orders.values().filter_map(wait);
        let waits: Vec<Duration> = waits
            .filter_map(|wait| (wait.until - wait.since).to_std().ok())
            .collect();
        let all = waits.iter().sum::<Duration>().as_micros();
        let second = Second {
            at,
            counts: totals,
            mean_wait: all
                .checked_div(waits.len() as u128)
                .map(|mean| Duration::from_micros(mean as u64)),
            longest_wait: waits.into_iter().max(),
        };
        Ok(OrderCounters {
            at,
            totals,
            seconds: vec![second],
        })
    }

    async fn history(&self, span: Duration, _: Duration) -> Result<OrderCounters, Error> {
        self.counters(span).await
    }

    async fn compact_counters(&self, _: Duration) -> Result<u64, Error> {
        Ok(0)
    }

    async fn oldest_pending(&self) -> Result<Option<Waiting>, Error> {
        let state = self.state.lock().unwrap();
        let mut orders = state.orders.values();
        let oldest = orders.find(|order| order.status == OrderStatus::Pending);
        Ok(oldest.map(|order| Waiting {
            id: order.id,
            age: state.pending_for(order.id),
        }))
    }

    async fn waits(&self, before: OrderId, orders: u32) -> Result<Vec<Wait>, Error> {
        let state = self.state.lock().unwrap();
        let newest = state.orders.range(..before).rev().take(orders as usize);
        Ok(newest.filter_map(|(_, order)| wait(order)).collect())
    }

    async fn hot_products(&self, orders: u32, limit: u32) -> Result<Vec<HotProduct>, Error> {
        let state = self.state.lock().unwrap();
        let mut wanted: BTreeMap<ProductId, u64> = BTreeMap::new();
        for order in state.orders.values().rev().take(orders as usize) {
            for line in &order.lines {
                *wanted.entry(line.product_id).or_default() += line.quantity.get().unsigned_abs();
            }
        }
        let active = wanted.into_iter().filter_map(|(id, wanted)| {
            let product = state.products.get(&id)?.clone();
            Some(HotProduct { product, wanted })
        });
        let mut hot: Vec<HotProduct> = active.collect();
        hot.sort_by_key(|hot| Reverse(hot.wanted));
        hot.truncate(limit as usize);
        Ok(hot)
    }
}
