//! Emptying what is personal of a customer.
//!
//! Orders come last: what is theirs is found through them, so that whoever is killed in between is
//! followed by another run that finds the rest.

use uuid::Uuid;

use super::{
    audit::record,
    backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
    retry::{Attempt, reading_at_once, with_retry},
    rows::Count,
    value::Value,
    verify::VerifySteps,
};
use crate::{audit::AuditChange, error::Error, history::Erased};

/// The orders of a customer, among some or all, that are not at their end.
macro_rules! open_orders {
    () => {
        "SELECT count(*) FROM orders WHERE customer = $1
           AND (status IN ('pending', 'held', 'success') OR EXISTS (
               SELECT 1 FROM queue_entries
               WHERE topic IN ('validate', 'process') AND order_id = orders.id))"
    };
}

const OPEN: &str = open_orders!();
const OPEN_AMONG: &str = concat!(open_orders!(), " AND id >= $2 AND id <= $3");

const OF_CUSTOMER: &str = "SELECT id FROM orders WHERE customer = $1 ORDER BY id LIMIT $2";

const FORGET_PURCHASES: &str = "DELETE FROM archived_purchases WHERE customer = $1";

const COUNT_FILES: &str = "SELECT count(*) FROM archive_files WHERE sha256 IS NOT NULL";

/// The orders that one transaction empties.
const ORDERS_AT_ONCE: usize = 500;

/// No request has it: a key with it is refused when it comes again, as that of another request.
const NO_FINGERPRINT: [u8; 32] = [0; 32];

pub(super) async fn erase<B: VerifySteps>(backend: &B, customer: &str) -> Result<Erased, Error> {
    let open: Count = reading_at_once(backend, || async {
        let mut connection = backend.read().await?;
        connection.fetch_one(OPEN, &[Value::text(customer)]).await
    })
    .await?;
    refuse_open(open)?;
    let mut erased = Erased::default();
    loop {
        empty_keys(backend, customer).await?;
        match with_retry(backend, |attempt| empty_orders(backend, customer, attempt)).await? {
            0 => break,
            emptied => erased.orders += emptied,
        }
    }
    erased.archived_products = with_retry(backend, |_| forget_purchases(backend, customer)).await?;
    let (files,): Count = reading_at_once(backend, || async {
        backend.read().await?.fetch_one(COUNT_FILES, &[]).await
    })
    .await?;
    erased.files = files.unsigned_abs();
    Ok(erased)
}

fn refuse_open((orders,): Count) -> Result<(), Error> {
    match orders.unsigned_abs() {
        0 => Ok(()),
        orders => Err(Error::OpenOrders { orders }),
    }
}

/// Takes the fingerprints of what was asked for from the idempotency keys of the orders that are next.
async fn empty_keys<B: VerifySteps>(backend: &B, customer: &str) -> Result<(), Error> {
    let mut snapshot = backend.snapshot_by_keys().await?;
    let values = [Value::text(customer), Value::count(ORDERS_AT_ONCE)];
    let orders = snapshot.fetch_ids(OF_CUSTOMER, &values).await?;
    if orders.is_empty() {
        return Ok(());
    }
    let orders = [Value::Ids(orders)];
    let keys: Vec<(Uuid, String, Uuid)> =
        snapshot.fetch_all(B::SQL.history.keys_of, &orders).await?;
    drop(snapshot);
    let (scopes, keys): (Vec<Uuid>, Vec<String>) =
        keys.into_iter().map(|(scope, key, _)| (scope, key)).unzip();
    let values = [
        Value::Ids(scopes),
        Value::Texts(&keys),
        Value::Bytes(&NO_FINGERPRINT),
    ];
    let empty = B::SQL.history.empty_keys;
    with_retry(backend, |_| {
        backend.execute_single(Priority::Background, empty, &values)
    })
    .await?;
    Ok(())
}

/// Empties the next orders of a customer; gives their number.
async fn empty_orders<B: SqlBackend>(
    backend: &B,
    customer: &str,
    attempt: Attempt,
) -> Result<u64, Error> {
    let history = &B::SQL.history;
    let mut tx = backend
        .begin(Priority::Background, attempt.lock_wait)
        .await?;
    let values = [Value::text(customer), Value::count(ORDERS_AT_ONCE)];
    let orders = tx.fetch_ids(history.lock_of_customer, &values).await?;
    let (Some(first), Some(last)) = (orders.first(), orders.last()) else {
        tx.confirm().await?;
        return Ok(0);
    };
    let among = [Value::text(customer), Value::Id(*first), Value::Id(*last)];
    refuse_open(tx.fetch_one(OPEN_AMONG, &among).await?)?;
    let emptied = orders.len() as u64;
    let orders = [Value::Ids(orders)];
    tx.execute(history.empty_attempts, &orders).await?;
    tx.execute(history.empty_orders, &orders).await?;
    record(&mut *tx, &AuditChange::customer_erased(emptied, 0)).await?;
    tx.commit().await?;
    Ok(emptied)
}

/// Forgets what a customer keeps of archived orders; gives the number of products.
async fn forget_purchases<B: SqlBackend>(backend: &B, customer: &str) -> Result<u64, Error> {
    let mut tx = backend.begin(Priority::Background, None).await?;
    let forgotten = tx
        .execute(FORGET_PURCHASES, &[Value::text(customer)])
        .await?;
    if forgotten > 0 {
        record(&mut *tx, &AuditChange::customer_erased(0, forgotten)).await?;
    }
    tx.commit().await?;
    Ok(forgotten)
}
