//! Requests that come again: orders that were placed by an earlier request with the same key, by an
//! earlier attempt of this one, or twice within one batch.
//!
//! Keys are looked up before anything is written, and inserted with what is written, sorted,
//! as the last thing that a transaction may wait for: a transaction that inserts a key holds all
//! else that it needs, so that waiting for the key of another ends when that one commits. The key
//! is then refused as a duplicate, and the next attempt finds it by looking.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::{
    backend::SqlConnection,
    idempotency_record::{IdempotencyRecord, UsedKey},
    orders::read_orders,
    value::Value,
};
use crate::{
    domain::{Fingerprint, IdempotencyKey, NewOrder, Order, OrderId, OrderMode, RequestedLine},
    error::Error,
};

/// The request that used a key: its fingerprint, and the id of what it made.
type Used = (Vec<u8>, Uuid);
/// The id of what an earlier request with this key made, if there was one.
///
/// # Errors
/// [`Error::IdempotencyKeyReused`] when that one asked for something else.
fn earlier(used: Option<&Used>, fingerprint: Fingerprint) -> Result<Option<Uuid>, Error> {
    match used {
        Some((before, target_id)) if before == fingerprint.as_bytes() => Ok(Some(*target_id)),
        Some(_) => Err(Error::IdempotencyKeyReused),
        None => Ok(None),
    }
}

/// Tells whether the request of `record` was carried out before.
///
/// # Errors
/// [`Error::IdempotencyKeyReused`] when its key was used for something else.
pub(super) async fn is_replay<C: SqlConnection>(
    connection: &mut C,
    record: &IdempotencyRecord,
) -> Result<bool, Error> {
    const KEY: &str = "SELECT fingerprint, target_id FROM idempotency_keys
         WHERE scope = $1 AND key = $2";
    let key = [Value::Id(record.key.scope), Value::text(&record.key.key)];
    let used: Option<Used> = connection.fetch_optional(KEY, &key).await?;
    Ok(earlier(used.as_ref(), record.fingerprint)?.is_some())
}

/// Stores a key.
pub(super) async fn insert_key<C: SqlConnection>(
    connection: &mut C,
    record: &IdempotencyRecord,
) -> Result<(), Error> {
    const INSERT_KEY: &str =
        "INSERT INTO idempotency_keys (scope, key, fingerprint, target_id, created_at)
         VALUES ($1, $2, $3, $4, $5)";
    let values = [
        Value::Id(record.key.scope),
        Value::text(&record.key.key),
        Value::Bytes(record.fingerprint.as_bytes()),
        Value::Id(record.target_id),
        Value::Time(record.created_at),
    ];
    connection.execute(INSERT_KEY, &values).await.map(drop)
}

/// Looks orders up that were placed before: gives the batch, and the orders that are stored of it.
pub(super) async fn look_up<'a, C: SqlConnection>(
    connection: &mut C,
    orders: &'a [NewOrder],
    mode: OrderMode,
    resolving: bool,
) -> Result<(Batch<'a>, HashMap<OrderId, Order>), Error> {
    let keys: Vec<_> = orders.iter().filter_map(|o| o.key.as_ref()).collect();
    let used = if keys.is_empty() {
        Vec::new()
    } else {
        connection.used_keys(&keys).await?
    };
    let batch = Batch::new(orders, mode, used);
    let ids = batch.to_read(resolving);
    let stored = if ids.is_empty() {
        Vec::new()
    } else {
        read_orders(connection, ids).await?
    };
    let stored = stored.into_iter().map(|order| (order.id, order));
    Ok((batch, stored.collect()))
}

/// The outcome that an order had before it is decided.
#[derive(Clone, Copy, Debug)]
enum PriorOutcome {
    Nothing,
    /// A request with its key was carried out.
    Stored(OrderId),
    /// Its key belongs to another request.
    Refused,
}

/// A batch of orders, and the prior outcome of each.
pub(super) struct Batch<'a> {
    orders: &'a [NewOrder],
    mode: OrderMode,
    prior: Vec<PriorOutcome>,
}

/// The results of a batch.
pub(super) struct BatchResult {
    /// The result of each order, in their order.
    pub(super) results: Vec<Result<Order, Error>>,
    /// The positions of those that are to be written.
    made: Vec<usize>,
    /// The keys to store with them, sorted.
    pub(super) records: Vec<IdempotencyRecord>,
}

impl BatchResult {
    /// The orders to write.
    pub(super) fn made(&self) -> impl Iterator<Item = &Order> {
        self.made
            .iter()
            .filter_map(|at| self.results[*at].as_ref().ok())
    }
}

impl<'a> Batch<'a> {
    /// `used` are those of the orders' keys that were used before.
    fn new(orders: &'a [NewOrder], mode: OrderMode, used: Vec<UsedKey>) -> Self {
        let used: HashMap<IdempotencyKey, Used> = used
            .into_iter()
            .map(|(scope, key, fingerprint, target)| {
                (IdempotencyKey { scope, key }, (fingerprint, target))
            })
            .collect();
        let prior = orders.iter().map(|order| {
            let Some(key) = &order.key else {
                return PriorOutcome::Nothing;
            };
            match earlier(used.get(key), order.fingerprint(mode)) {
                Ok(None) => PriorOutcome::Nothing,
                Ok(Some(target)) => PriorOutcome::Stored(OrderId(target)),
                Err(_) => PriorOutcome::Refused,
            }
        });
        Self {
            orders,
            mode,
            prior: prior.collect(),
        }
    }

    /// The orders to read: those that keys lead to, and, after a commit in doubt, all that an
    /// attempt may have stored.
    fn to_read(&self, resolving: bool) -> Vec<Uuid> {
        let mut ids: Vec<Uuid> = self
            .orders
            .iter()
            .zip(&self.prior)
            .filter_map(|(order, prior)| match prior {
                PriorOutcome::Stored(id) => Some(id.0),
                PriorOutcome::Nothing if resolving => Some(order.id.0),
                _ => None,
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The lines of the orders that are not decided yet.
    pub(super) fn lines(&self) -> impl Iterator<Item = &'a RequestedLine> {
        self.orders
            .iter()
            .zip(&self.prior)
            .filter(|(_, prior)| matches!(prior, PriorOutcome::Nothing))
            .flat_map(|(order, _)| &order.lines)
    }

    /// Makes `turn` of each order that is not among the `stored` ones, in their order. One
    /// whose key an order ahead of it in the batch has kept gets what that one got.
    pub(super) fn settle(
        self,
        stored: &HashMap<OrderId, Order>,
        mut turn: impl FnMut(&NewOrder) -> Result<Order, Error>,
    ) -> BatchResult {
        let missing = || Error::corrupt("a key leads to an order that is not there");
        let mut results: Vec<Result<Order, Error>> = Vec::with_capacity(self.orders.len());
        let mut made = Vec::with_capacity(self.orders.len());
        let mut ahead: BTreeMap<&IdempotencyKey, (usize, Fingerprint)> = BTreeMap::new();
        for (at, (order, prior)) in self.orders.iter().zip(self.prior).enumerate() {
            let twin = order.key.as_ref().and_then(|key| ahead.get(key));
            let result = match (prior, twin, stored.get(&order.id)) {
                (PriorOutcome::Refused, ..) => Err(Error::IdempotencyKeyReused),
                (PriorOutcome::Stored(id), ..) => match stored.get(&id) {
                    Some(first) => Ok(first.clone().when_placed(self.mode)),
                    None => Err(missing()),
                },
                (PriorOutcome::Nothing, _, Some(stored)) => Ok(stored.clone()),
                (PriorOutcome::Nothing, Some((twin, fingerprint)), None) => {
                    if *fingerprint == order.fingerprint(self.mode) {
                        results[*twin].clone()
                    } else {
                        Err(Error::IdempotencyKeyReused)
                    }
                }
                (PriorOutcome::Nothing, None, None) => {
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
        let records = ahead
            .into_iter()
            .map(|(key, (at, fingerprint))| IdempotencyRecord {
                key: key.clone(),
                fingerprint,
                target_id: self.orders[at].id.0,
                created_at: self.orders[at].created_at,
            });
        BatchResult {
            records: records.collect(),
            results,
            made,
        }
    }
}
