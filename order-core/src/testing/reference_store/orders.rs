//! The orders of the reference store.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{page::page, state::State, store::ReferenceStore};
use crate::{
    audit::AuditChange,
    decision::Decided,
    domain::{
        HoldTime, IdempotencyKey, NewOrder, Order, OrderId, OrderReturn, OrderVersion, Page,
        Progress, RequestedLine,
    },
    error::Error,
    store::{
        Backlog, Cancelled, Expired, LapsedAt, OrderQuery, OrderStore, Outcome, Purchase,
        Selection, Strategy,
    },
};

#[async_trait]
impl OrderStore for ReferenceStore {
    async fn accept(&self, orders: &[NewOrder]) -> Result<Vec<Result<Order, Error>>, Error> {
        let mut state = self.state.lock().unwrap();
        let mut results = Vec::new();
        for order in orders {
            results.push(state.accept(order));
        }
        Ok(results)
    }

    async fn purchase(
        &self,
        orders: &[NewOrder],
        strategy: Strategy,
    ) -> Result<Outcome<Purchase>, Error> {
        let mut state = self.state.lock().unwrap();
        let before = state.versions();
        let size = group_size(orders.len(), strategy);
        let mut results = Vec::new();
        for group in orders.chunks(size) {
            results.extend(state.purchase(group));
        }
        let changed = state.changed_since(&before);
        Ok(Outcome {
            results,
            changed,
            ..Outcome::default()
        })
    }

    async fn decide(
        &self,
        pick: Selection<'_>,
        strategy: Strategy,
        at: DateTime<Utc>,
    ) -> Result<Outcome<Decided>, Error> {
        let mut state = self.state.lock().unwrap();
        let before = state.versions();
        let ids = state.pending(pick);
        let size = group_size(ids.len(), strategy);
        let mut results = Vec::new();
        for group in ids.chunks(size) {
            results.extend(state.decide(group, at));
        }
        let changed = state.changed_since(&before);
        Ok(Outcome {
            results,
            changed,
            ..Outcome::default()
        })
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, Error> {
        Ok(self.state.lock().unwrap().orders.get(&id).cloned())
    }

    async fn progress(&self, ids: &[OrderId]) -> Result<Vec<Progress>, Error> {
        let state = self.state.lock().unwrap();
        let found = ids.iter().filter_map(|id| state.orders.get(id));
        Ok(found.map(Progress::from).collect())
    }

    async fn orders(&self, query: &OrderQuery) -> Result<Page<Order, OrderId>, Error> {
        let state = self.state.lock().unwrap();
        let all = state
            .orders
            .values()
            .filter(|order| query.status.is_none_or(|status| order.status == status))
            .filter(|order| query.created.contains(order.created_at))
            .filter(|order| query.client.is_none() || order.client == query.client)
            .filter(|order| query.reference.is_none() || order.reference == query.reference)
            .filter(|order| query.customer.is_none() || order.customer == query.customer)
            .filter(|order| {
                query
                    .product_id
                    .is_none_or(|id| order.lines.iter().any(|line| line.product_id == id))
            })
            .cloned()
            .collect();
        Ok(page(all, query.sort, &query.page, |order: &Order| order.id))
    }

    async fn cancel(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Cancelled>, Error> {
        self.cancel_if(id, at, key, &[]).await
    }

    async fn cancel_if(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
        expected_versions: &[OrderVersion],
    ) -> Result<Option<Cancelled>, Error> {
        let mut state = self.state.lock().unwrap();
        let Some(order) = state.orders.get(&id).cloned() else {
            return Ok(None);
        };
        let asked = format!("cancel {id}");
        let replayed = state.replay(key, &asked)?.is_some();
        if !replayed {
            order.check_version(expected_versions)?;
        }
        if replayed || order.lines.iter().all(|line| line.kept() == 0) {
            return Ok(Some(Cancelled {
                order,
                changed: Vec::new(),
                replayed,
            }));
        }
        let made = state.log_ids.next(at);
        let cancelled = take_back(&mut state, made, &order, None, at)?;
        state.keep_key(key, asked, id.0);
        Ok(Some(cancelled))
    }

    async fn give_back(&self, returned: &OrderReturn) -> Result<Option<Cancelled>, Error> {
        let mut state = self.state.lock().unwrap();
        let (id, key) = (returned.order_id(), returned.key());
        let Some(order) = state.orders.get(&id).cloned() else {
            return Ok(None);
        };
        let asked = format!("return {id} {:?}", returned.lines());
        let replayed = state.replay(key, &asked)?.is_some();
        if replayed || state.returns.contains(&returned.id()) {
            return Ok(Some(Cancelled {
                order,
                changed: Vec::new(),
                replayed,
            }));
        }
        order.check_version(returned.expected_versions())?;
        let (made, lines) = (returned.id().0, Some(returned.lines()));
        let cancelled = take_back(&mut state, made, &order, lines, returned.at())?;
        state.keep_key(key, asked, id.0);
        state.returns.insert(returned.id());
        Ok(Some(cancelled))
    }

    fn keeps_holds(&self) -> bool {
        true
    }

    async fn confirm(
        &self,
        ids: &[OrderId],
        at: DateTime<Utc>,
    ) -> Result<Vec<Result<Option<Order>, Error>>, Error> {
        let mut state = self.state.lock().unwrap();
        Ok(ids.iter().map(|id| state.confirm(*id, at)).collect())
    }

    async fn confirm_if(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        expected_versions: &[OrderVersion],
    ) -> Result<Option<Order>, Error> {
        let mut state = self.state.lock().unwrap();
        if let Some(order) = state.orders.get(&id) {
            order.check_version(expected_versions)?;
        }
        state.confirm(id, at)
    }

    async fn extend(&self, id: OrderId, hold_time: HoldTime) -> Result<Option<Order>, Error> {
        self.extend_if(id, hold_time, &[]).await
    }

    async fn extend_if(
        &self,
        id: OrderId,
        hold_time: HoldTime,
        expected_versions: &[OrderVersion],
    ) -> Result<Option<Order>, Error> {
        let mut state = self.state.lock().unwrap();
        if let Some(order) = state.orders.get(&id) {
            order.check_version(expected_versions)?;
        }
        state.extend(id, hold_time)
    }

    async fn expire(
        &self,
        after: Option<LapsedAt>,
        limit: usize,
        at: DateTime<Utc>,
    ) -> Result<Expired, Error> {
        Ok(self.state.lock().unwrap().expire(after, limit, at))
    }

    async fn pending_for(
        &self,
        age: Duration,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<OrderId>, Error> {
        let state = self.state.lock().unwrap();
        let mut pending = state.pending(Selection::Oldest(usize::MAX));
        pending.retain(|id| state.pending_for(*id) >= age && after.is_none_or(|a| *id > a));
        pending.truncate(limit);
        Ok(pending)
    }

    async fn backlog(&self) -> Result<Backlog, Error> {
        let state = self.state.lock().unwrap();
        let pending = state.pending(Selection::Oldest(usize::MAX));
        Ok(Backlog {
            orders: pending.len() as u64,
            oldest_age: pending.first().map(|id| state.pending_for(*id)),
        })
    }
}

fn take_back(
    state: &mut State,
    id: Uuid,
    before: &Order,
    lines: Option<&[RequestedLine]>,
    at: DateTime<Utc>,
) -> Result<Cancelled, Error> {
    let versions = state.versions();
    let order = state.cancel(id, before.clone(), lines, at)?;
    state.record(AuditChange::order_cancelled(before, &order));
    Ok(Cancelled {
        order,
        changed: state.changed_since(&versions),
        replayed: false,
    })
}

fn group_size(orders: usize, strategy: Strategy) -> usize {
    match strategy {
        Strategy::Batch => orders.max(1),
        Strategy::RowLock | Strategy::ConditionalUpdate => 1,
    }
}
