//! What becomes of orders that were placed before, as plain functions that both stores share:
//! by an earlier request with the same key, by an earlier attempt of this one, or twice within
//! one batch.
//!
//! Keys are looked up before anything is written, and inserted with what is written, sorted,
//! as the last thing that a transaction may wait for: whoever inserts a key holds all else
//! that it needs, so that waiting for another's key ends when that one commits. Its key is
//! then refused as a duplicate, and the next attempt finds it by looking.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::retry::Retry;
use crate::{
    domain::{
        Fingerprint, IdempotencyKey, NewOrder, Order, OrderId, OrderMode, RequestedLine,
        StockAdjustment,
    },
    error::Error,
};

/// What a key was used for: the fingerprint, and what its request made.
pub(super) type Used = (Vec<u8>, Uuid);
/// A key that was used: its scope, itself, and what for.
pub(super) type UsedRow = (Uuid, String, Vec<u8>, Uuid);

/// A key to keep.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) key: IdempotencyKey,
    pub(super) fingerprint: Fingerprint,
    pub(super) target_id: Uuid,
    pub(super) created_at: DateTime<Utc>,
}

impl Kept {
    /// The key of a request that cancelled an order.
    pub(super) fn of_cancel(key: &IdempotencyKey, id: OrderId, created_at: DateTime<Utc>) -> Self {
        Self {
            key: key.clone(),
            fingerprint: Fingerprint::of_cancel(id),
            target_id: id.0,
            created_at,
        }
    }

    /// The key of an adjustment, if it has one.
    pub(super) fn of_adjustment(adjustment: &StockAdjustment) -> Option<Self> {
        Some(Self {
            key: adjustment.key.clone()?,
            fingerprint: Fingerprint::of_adjustment(adjustment),
            target_id: adjustment.id.0,
            created_at: adjustment.created_at,
        })
    }
}

/// What the request with this key made, if there was one before.
///
/// # Errors
/// [`Error::IdempotencyKeyReused`] when that one asked for something else.
pub(super) fn earlier(
    used: Option<&Used>,
    fingerprint: Fingerprint,
) -> Result<Option<Uuid>, Error> {
    match used {
        Some((before, target_id)) if before == fingerprint.as_bytes() => Ok(Some(*target_id)),
        Some(_) => Err(Error::IdempotencyKeyReused),
        None => Ok(None),
    }
}

/// What is known of an order before it has its turn.
#[derive(Clone, Copy, Debug)]
enum Known {
    Nothing,
    /// A request with its key was carried out.
    Stored(OrderId),
    /// Its key belongs to another request.
    Refused,
}

/// A batch of orders, and what is known of each.
pub(super) struct Batch<'a> {
    orders: &'a [NewOrder],
    mode: OrderMode,
    known: Vec<Known>,
}

/// What became of a batch.
pub(super) struct Settled {
    /// The result of each order, in their order.
    pub(super) results: Vec<Result<Order, Error>>,
    /// Which of them are to be written.
    made: Vec<usize>,
    /// The keys to keep with them, sorted.
    pub(super) kept: Vec<Kept>,
}

impl Settled {
    /// The orders to write.
    pub(super) fn made(&self) -> impl Iterator<Item = &Order> {
        self.made
            .iter()
            .filter_map(|at| self.results[*at].as_ref().ok())
    }
}

impl<'a> Batch<'a> {
    /// `used` are those of the orders' keys that were used before.
    pub(super) fn new(orders: &'a [NewOrder], mode: OrderMode, used: Vec<UsedRow>) -> Self {
        let used: HashMap<IdempotencyKey, Used> = used
            .into_iter()
            .map(|(scope, key, fingerprint, target)| {
                (IdempotencyKey { scope, key }, (fingerprint, target))
            })
            .collect();
        let known = orders.iter().map(|order| {
            let Some(key) = &order.key else {
                return Known::Nothing;
            };
            match earlier(used.get(key), order.fingerprint(mode)) {
                Ok(None) => Known::Nothing,
                Ok(Some(target)) => Known::Stored(OrderId(target)),
                Err(_) => Known::Refused,
            }
        });
        Self {
            orders,
            mode,
            known: known.collect(),
        }
    }

    /// The keys to look up.
    pub(super) fn keys(orders: &[NewOrder]) -> impl Iterator<Item = &IdempotencyKey> {
        orders.iter().filter_map(|order| order.key.as_ref())
    }

    /// The orders to read: those that keys lead to, and, after a commit in doubt, all that an
    /// attempt may have stored.
    pub(super) fn to_read(&self, retry: &Retry) -> Vec<Uuid> {
        let mut ids: Vec<Uuid> = self
            .orders
            .iter()
            .zip(&self.known)
            .filter_map(|(order, known)| match known {
                Known::Stored(id) => Some(id.0),
                Known::Nothing if retry.resolving() => Some(order.id.0),
                _ => None,
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The lines of the orders that may have their turn.
    pub(super) fn lines(&self) -> impl Iterator<Item = &'a RequestedLine> {
        self.orders
            .iter()
            .zip(&self.known)
            .filter(|(_, known)| matches!(known, Known::Nothing))
            .flat_map(|(order, _)| &order.lines)
    }

    /// Gives each order that is not among the `stored` ones its `turn`, in their order. One
    /// whose key an order ahead of it in the batch has kept gets what that one got.
    pub(super) fn settle(
        self,
        stored: &HashMap<OrderId, Order>,
        mut turn: impl FnMut(&NewOrder) -> Result<Order, Error>,
    ) -> Settled {
        let missing = || Error::corrupt("a key leads to an order that is not there");
        let mut results: Vec<Result<Order, Error>> = Vec::with_capacity(self.orders.len());
        let mut made = Vec::with_capacity(self.orders.len());
        let mut ahead: BTreeMap<&IdempotencyKey, (usize, Fingerprint)> = BTreeMap::new();
        for (at, (order, known)) in self.orders.iter().zip(self.known).enumerate() {
            let twin = order.key.as_ref().and_then(|key| ahead.get(key));
            let result = match (known, twin, stored.get(&order.id)) {
                (Known::Refused, ..) => Err(Error::IdempotencyKeyReused),
                (Known::Stored(id), ..) => match stored.get(&id) {
                    Some(first) => Ok(first.clone().when_placed(self.mode)),
                    None => Err(missing()),
                },
                (Known::Nothing, _, Some(stored)) => Ok(stored.clone()),
                (Known::Nothing, Some((twin, fingerprint)), None) => {
                    if *fingerprint == order.fingerprint(self.mode) {
                        results[*twin].clone()
                    } else {
                        Err(Error::IdempotencyKeyReused)
                    }
                }
                (Known::Nothing, None, None) => {
                    let result = turn(order);
                    if result.is_ok() {
                        made.push(at);
                        if let Some(key) = &order.key {
                            ahead.insert(key, (at, order.fingerprint(self.mode)));
                        }
                    }
                    result
                }
            };
            results.push(result);
        }
        let kept = ahead.into_iter().map(|(key, (at, fingerprint))| Kept {
            key: key.clone(),
            fingerprint,
            target_id: self.orders[at].id.0,
            created_at: self.orders[at].created_at,
        });
        Settled {
            kept: kept.collect(),
            results,
            made,
        }
    }
}
