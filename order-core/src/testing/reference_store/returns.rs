//! What comes back in the reference store.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{queue_entry::QueueEntry, state::State};
use crate::{
    domain::{
        MAX_STOCK, Money, Order, OrderId, OrderLine, OrderStatus, ProductId, RequestedLine,
        RuleViolation, StockEntryKind,
    },
    error::Error,
    queue::Topic,
};

impl State {
    /// Takes pieces back of an order, or all that are left of it; gives it as it is then.
    pub(super) fn cancel(
        &mut self,
        id: Uuid,
        mut order: Order,
        lines: Option<&[RequestedLine]>,
        at: DateTime<Utc>,
    ) -> Result<Order, Error> {
        let status = order.status;
        let mut wanted: Vec<(ProductId, i64)> = match lines {
            Some(lines) => lines
                .iter()
                .map(|l| (l.product_id, l.quantity.get()))
                .collect(),
            None => order
                .lines
                .iter()
                .map(|l| (l.product_id, l.kept()))
                .collect(),
        };
        let is_possible = match status {
            OrderStatus::Held | OrderStatus::Success | OrderStatus::Completed => true,
            OrderStatus::Pending => lines.is_none(),
            OrderStatus::Cancelled => lines.is_some(),
            OrderStatus::Failed | OrderStatus::Expired => false,
        };
        if !is_possible {
            return Err(Error::OrderState { status });
        }
        let mut back: BTreeMap<ProductId, i64> = BTreeMap::new();
        for (place, (id, pieces)) in wanted.iter_mut().enumerate() {
            let own = || order.lines.iter().filter(|line| line.product_id == *id);
            if own().count() == 0 {
                return Err(RuleViolation::NotInOrder { line: place }.into());
            }
            let left = own().map(OrderLine::kept).sum::<i64>();
            if lines.is_some() && *pieces > left {
                return Err(RuleViolation::MoreThanLeft { line: place, left }.into());
            }
            *back.entry(*id).or_default() += *pieces;
            for line in order.lines.iter_mut().filter(|line| line.product_id == *id) {
                while *pieces > 0 && line.kept() > 0 {
                    line.cancelled_quantity += 1;
                    *pieces -= 1;
                }
            }
        }
        let left = order
            .lines
            .iter()
            .map(|line| line.unit_price.minor_units() * line.kept());
        order.total_price = Money::from_minor_units(left.sum()).unwrap();
        if status.holds_stock() {
            back.retain(|_, pieces| *pieces > 0);
            self.restock(&back, at)?;
            self.enter(id, order.id, StockEntryKind::Return, &back, at);
        }
        let nothing_left = order.lines.iter().all(|line| line.kept() == 0);
        if nothing_left && status != OrderStatus::Completed {
            order.status = OrderStatus::Cancelled;
            order.cancelled_at = Some(at);
            if status.is_sold() {
                self.unsold(order.id);
            }
        } else if status.is_sold() {
            self.gave_back(order.id, status == OrderStatus::Completed);
        }
        self.orders.insert(order.id, order.clone());
        Ok(order)
    }

    fn restock(&mut self, back: &BTreeMap<ProductId, i64>, at: DateTime<Utc>) -> Result<(), Error> {
        let full = |(id, pieces): (&ProductId, &i64)| {
            let product = self.products.get(id).or_else(|| self.archived.get(id));
            (product.unwrap().stock + pieces > MAX_STOCK).then_some(*id)
        };
        if let Some(product_id) = back.iter().find_map(full) {
            return Err(Error::StockLimit { product_id });
        }
        for (id, pieces) in back {
            let product = self.product_mut(*id);
            product.stock += pieces;
            product.version += 1;
            product.updated_at = at;
        }
        Ok(())
    }

    /// Whoever did something for the order, or is about to end, is told what came back.
    fn gave_back(&mut self, id: OrderId, is_completed: bool) {
        let (now, key) = (self.now(), (Topic::Process, id));
        let tried = self.attempts.range((id, 0)..=(id, u32::MAX)).last();
        let runs = tried.map_or(0, |((_, attempt), _)| *attempt);
        match self.entries.get_mut(&key) {
            Some(entry) => {
                let may_know = entry.runs > 0 || is_completed;
                entry.returned |= may_know && (entry.claim.is_some() || !entry.compensates);
            }
            None => {
                let entry = QueueEntry {
                    runs,
                    compensates: is_completed,
                    ..QueueEntry::due(now)
                };
                self.entries.insert(key, entry);
            }
        }
    }

    fn unsold(&mut self, id: OrderId) {
        let now = self.now();
        let Some(entry) = self.entries.get_mut(&(Topic::Process, id)) else {
            return;
        };
        if entry.runs == 0 {
            self.entries.remove(&(Topic::Process, id));
            return;
        }
        entry.compensates = true;
        entry.returned = false;
        entry.attempts = 0;
        entry.dead = None;
        if entry.claim.is_none() {
            entry.visible_at = now;
        }
    }
}
