//! The holds of the reference store: it looks at all orders.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::state::State;
use crate::{
    domain::{HoldTime, MAX_STOCK, Order, OrderId, OrderStatus, ProductId, StockEntryKind},
    error::Error,
    store::{Expired, LapsedAt},
};

impl State {
    fn is_lapsed(&self, order: &Order) -> bool {
        order.status == OrderStatus::Held && order.held_until.unwrap() <= self.now()
    }

    /// Expires all lapsed holds of products that `wanted` orders together ask more of than is left.
    pub(super) fn reclaim<'a>(
        &mut self,
        wanted: impl Iterator<Item = (ProductId, i64)> + 'a,
        at: DateTime<Utc>,
    ) {
        let mut sums: BTreeMap<ProductId, i64> = BTreeMap::new();
        for (id, pieces) in wanted {
            *sums.entry(id).or_default() += pieces;
        }
        let is_short = |id: &ProductId| {
            let product = self.products.get(id).or_else(|| self.archived.get(id));
            product.is_some_and(|product| product.stock < sums.get(id).copied().unwrap_or(0))
        };
        let needed = |order: &&Order| {
            let mut kept = order.lines.iter().filter(|line| line.kept() > 0);
            kept.any(|line| is_short(&line.product_id))
        };
        let lapsed = self.orders.values().filter(|order| self.is_lapsed(order));
        let lapsed: Vec<OrderId> = lapsed.filter(needed).map(|order| order.id).collect();
        self.expire_these(&lapsed, at);
    }

    /// Expires orders, but for those whose stock has no room; gives those that expired.
    fn expire_these(&mut self, ids: &[OrderId], at: DateTime<Utc>) -> Vec<OrderId> {
        let before = self.stocks();
        let mut expired = Vec::new();
        for id in ids {
            let lines = self.orders[id].lines.clone();
            let stocks = self.stocks();
            for line in &lines {
                self.product_mut(line.product_id).stock += line.kept();
            }
            let is_full = |id| self.stocks()[&id] > MAX_STOCK;
            if lines.iter().any(|line| is_full(line.product_id)) {
                for line in &lines {
                    self.product_mut(line.product_id).stock = stocks[&line.product_id];
                }
                continue;
            }
            self.orders.get_mut(id).unwrap().status = OrderStatus::Expired;
            expired.push(*id);
            let mut back: BTreeMap<ProductId, i64> = BTreeMap::new();
            for line in lines.iter().filter(|line| line.kept() > 0) {
                *back.entry(line.product_id).or_default() += line.kept();
            }
            let made = self.log_ids.next(at);
            self.enter(made, *id, StockEntryKind::Return, &back, at);
        }
        for (id, stock) in before {
            let product = self.product_mut(id);
            if product.stock != stock {
                product.version += 1;
                product.updated_at = at;
            }
        }
        expired
    }

    pub(super) fn expire(
        &mut self,
        after: Option<LapsedAt>,
        limit: usize,
        at: DateTime<Utc>,
    ) -> Expired {
        let held = self.orders.values().filter(|order| self.is_lapsed(order));
        let mut lapsed: Vec<LapsedAt> = held.map(|o| (o.held_until.unwrap(), o.id)).collect();
        lapsed.sort_unstable();
        lapsed.retain(|place| after.is_none_or(|after| *place > after));
        lapsed.truncate(limit);
        let next = lapsed.last().copied().filter(|_| lapsed.len() == limit);
        let mut ids: Vec<OrderId> = lapsed.into_iter().map(|(_, id)| id).collect();
        ids.sort_unstable();
        let before = self.versions();
        Expired {
            orders: self.expire_these(&ids, at),
            changed: self.changed_since(&before),
            next,
        }
    }

    pub(super) fn confirm(
        &mut self,
        id: OrderId,
        at: DateTime<Utc>,
    ) -> Result<Option<Order>, Error> {
        let now = self.now();
        let Some(order) = self.orders.get_mut(&id) else {
            return Ok(None);
        };
        let status = order.status;
        match status {
            OrderStatus::Success | OrderStatus::Completed if order.confirmed_at.is_some() => {}
            OrderStatus::Held if now < order.held_until.unwrap() => {
                order.status = OrderStatus::Success;
                order.confirmed_at = Some(at);
                self.sold(id);
                self.enter_confirmed(id);
            }
            OrderStatus::Held | OrderStatus::Expired => {
                let held_until = order.held_until.unwrap();
                return Err(Error::HoldExpired { held_until });
            }
            _ => return Err(Error::OrderState { status }),
        }
        Ok(self.orders.get(&id).cloned())
    }

    pub(super) fn extend(
        &mut self,
        id: OrderId,
        hold_time: HoldTime,
    ) -> Result<Option<Order>, Error> {
        let now = self.now();
        let Some(order) = self.orders.get_mut(&id) else {
            return Ok(None);
        };
        let status = order.status;
        match (status, order.held_until) {
            (OrderStatus::Held, Some(until)) if now < until => {
                let longer = now + TimeDelta::seconds(i64::from(hold_time.seconds()));
                if longer - order.held_at.unwrap() > TimeDelta::days(1) {
                    let reason = "would hold the order for more than 86400 seconds in all";
                    return Err(Error::invalid("hold_seconds", reason));
                }
                order.held_until = Some(until.max(longer));
                Ok(Some(order.clone()))
            }
            (OrderStatus::Held | OrderStatus::Expired, Some(held_until)) => {
                Err(Error::HoldExpired { held_until })
            }
            _ => Err(Error::OrderState { status }),
        }
    }
}
