//! Archiving orders that are at their end.
//!
//! A transaction that deletes orders locks them in id order, and then the row of their file: nobody who
//! holds that waits for an order. It locks no product: what it takes from the orders of a customer it
//! adds, in the same transaction, to what is read in the same statement.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    slice,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    audit::record,
    backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
    erase::erase,
    orders::{read_orders, with_lines},
    retry::{Attempt, reading_at_once, with_retry},
    rows::OrderRow,
    tasks::AttemptRow,
    value::{StoredTime, Value},
    verify::VerifySteps,
};
use crate::{
    audit::AuditChange,
    domain::{IdempotencyKey, OrderId, ProductId, ReturnId},
    error::Error,
    history::{
        ArchiveFile, ArchivedOrder, ArchivedReturn, Ended, Erased, HistoryStore, Manifest,
        ProductSums, StoredOrder,
    },
    process,
};

/// The condition that an order is in a final state, without a task.
macro_rules! is_ended {
    () => {
        " AND status IN ('completed', 'failed', 'cancelled', 'expired')
          AND NOT EXISTS (SELECT 1 FROM queue_entries
                          WHERE topic IN ('validate', 'process') AND order_id = orders.id)"
    };
}

const NEXT_ENDED: &str = concat!(
    "SELECT id FROM orders WHERE id > $1 AND id < $2",
    is_ended!(),
    " ORDER BY id LIMIT $3"
);

const ENDED: &str = concat!(
    "SELECT id FROM orders WHERE id >= $1 AND id <= $2",
    is_ended!(),
    " ORDER BY id"
);

const ATTEMPTS: &str = "SELECT order_id, attempt, started_at, ended_at, error, worker_id
     FROM process_attempts WHERE order_id >= $1 AND order_id <= $2 ORDER BY order_id, attempt";

const RETURNS: &str = "SELECT order_id, id, product_id, quantity, created_at
     FROM stock_returns WHERE order_id >= $1 AND order_id <= $2 ORDER BY order_id, id, product_id";

const OPEN: &str =
    "SELECT number, first_id, last_id, sha256 FROM archive_files WHERE is_open IS NOT NULL";

const BEGIN: &str = "INSERT INTO archive_files (number, is_open, first_id, last_id)
     SELECT coalesce(max(number), 0) + 1, $1, $2, $3 FROM archive_files WHERE true
     ON CONFLICT DO NOTHING RETURNING number, first_id, last_id, sha256";

const ABANDON: &str = "DELETE FROM archive_files WHERE number = $1 AND sha256 IS NULL";

const SEAL_OF: &str = "SELECT sha256 FROM archive_files WHERE number = $1";

const SEAL: &str = "UPDATE archive_files SET sha256 = $2, orders = $3
     WHERE number = $1 AND is_open AND sha256 IS NULL";

const FINISH: &str = "UPDATE archive_files SET is_open = NULL, left_out = $2
     WHERE number = $1 AND is_open AND sha256 IS NOT NULL";

/// The orders that are read at once.
const ORDERS_AT_ONCE: usize = 2_000;
/// The idempotency keys that one transaction deletes.
const KEYS_AT_ONCE: usize = 1_000;

#[async_trait]
impl<B: VerifySteps> HistoryStore for B {
    async fn time(&self) -> Result<DateTime<Utc>, Error> {
        let now: (StoredTime,) = reading_at_once(self, || async {
            let mut connection = self.read().await?;
            connection.fetch_one(B::SQL.holds.now, &[Value::Now]).await
        })
        .await?;
        Ok(now.0.0)
    }

    async fn next_ended(
        &self,
        after: OrderId,
        before: OrderId,
        limit: usize,
    ) -> Result<Option<(OrderId, OrderId)>, Error> {
        let mut snapshot = self.snapshot_by_keys().await?;
        let values = [Value::Id(after.0), Value::Id(before.0), Value::count(limit)];
        let ids = snapshot.fetch_ids(NEXT_ENDED, &values).await?;
        let bounds = ids.first().zip(ids.last());
        Ok(bounds.map(|(first, last)| (OrderId(*first), OrderId(*last))))
    }

    async fn ended_orders(&self, first: OrderId, last: OrderId) -> Result<Ended, Error> {
        ended_orders(self, first, last).await
    }

    async fn open_file(&self) -> Result<Option<ArchiveFile>, Error> {
        reading_at_once(self, || async {
            let mut connection = self.read().await?;
            open_file(&mut *connection).await
        })
        .await
    }

    async fn begin_file(&self, first: OrderId, last: OrderId) -> Result<ArchiveFile, Error> {
        with_retry(self, |attempt| begin_file(self, first, last, attempt)).await
    }

    async fn abandon_file(&self, file: &ArchiveFile) -> Result<(), Error> {
        let number = [Value::Int(file.number)];
        with_retry(self, |_| {
            self.execute_single(Priority::Background, ABANDON, &number)
        })
        .await?;
        Ok(())
    }

    async fn seal_file(
        &self,
        file: &ArchiveFile,
        manifest: &Manifest,
    ) -> Result<ArchiveFile, Error> {
        with_retry(self, |_| seal_file(self, file, manifest)).await
    }

    async fn forget_keys(
        &self,
        file: &ArchiveFile,
        orders: &HashSet<OrderId>,
    ) -> Result<u64, Error> {
        let values = [
            Value::Id(file.first.0),
            Value::Id(file.last.0),
            Value::Ago(IdempotencyKey::KEPT_FOR),
        ];
        let mut connection = self.snapshot_by_keys().await?;
        let keys: Vec<(Uuid, String, Uuid)> = connection
            .fetch_all(B::SQL.history.old_keys, &values)
            .await?;
        drop(connection);
        let theirs = keys
            .into_iter()
            .filter(|(.., order)| orders.contains(&OrderId(*order)));
        let (scopes, keys): (Vec<Uuid>, Vec<String>) =
            theirs.map(|(scope, key, _)| (scope, key)).unzip();
        for (scopes, keys) in scopes.chunks(KEYS_AT_ONCE).zip(keys.chunks(KEYS_AT_ONCE)) {
            let values = [Value::Ids(scopes.to_vec()), Value::Texts(keys)];
            let delete = B::SQL.history.delete_keys;
            with_retry(self, |_| {
                self.execute_single(Priority::Background, delete, &values)
            })
            .await?;
        }
        Ok(keys.len() as u64)
    }

    async fn delete_orders(
        &self,
        file: &ArchiveFile,
        orders: &[StoredOrder],
    ) -> Result<Vec<OrderId>, Error> {
        with_retry(self, |attempt| delete_orders(self, file, orders, attempt)).await
    }

    async fn finish_file(&self, file: &ArchiveFile, left_out: usize) -> Result<(), Error> {
        let values = [Value::Int(file.number), Value::count(left_out)];
        with_retry(self, |_| {
            self.execute_single(Priority::Background, FINISH, &values)
        })
        .await?;
        Ok(())
    }

    async fn erase_customer(&self, customer: &str) -> Result<Erased, Error> {
        erase(self, customer).await
    }
}

/// Reads orders that are at their end, and what is theirs, from one snapshot.
async fn ended_orders<B: VerifySteps>(
    backend: &B,
    first: OrderId,
    last: OrderId,
) -> Result<Ended, Error> {
    let mut snapshot = backend.snapshot_by_keys().await?;
    let connection = &mut *snapshot;
    let bounds = [
        Value::Id(first.0),
        Value::Id(last.0),
        Value::Ago(IdempotencyKey::KEPT_FOR),
    ];
    let mut ids = connection.fetch_ids(ENDED, &bounds[..2]).await?;
    let kept = connection
        .fetch_ids(B::SQL.history.young_keys, &bounds)
        .await?;
    let kept: HashSet<Uuid> = kept.into_iter().collect();
    ids.retain(|id| !kept.contains(id));
    let mut ended = Ended::default();
    let mut attempts = attempts(connection, &bounds[..2]).await?;
    let mut returns = returns(connection, &bounds[..2]).await?;
    for some in ids.chunks(ORDERS_AT_ONCE) {
        for order in read_orders(connection, some.to_vec()).await? {
            ended.orders.push(ArchivedOrder {
                attempts: attempts.remove(&order.id.0).unwrap_or_default(),
                returns: returns.remove(&order.id.0).unwrap_or_default(),
                order,
            });
        }
        add_sums(connection, some, &mut ended.products).await?;
    }
    Ok(ended)
}

async fn attempts<C: SqlConnection>(
    connection: &mut C,
    bounds: &[Value<'_>],
) -> Result<HashMap<Uuid, Vec<process::Attempt>>, Error> {
    #[derive(FromRow)]
    struct OfOrder {
        order_id: Uuid,
        #[sqlx(flatten)]
        attempt: AttemptRow,
    }
    let rows: Vec<OfOrder> = connection.fetch_all(ATTEMPTS, bounds).await?;
    let mut attempts: HashMap<Uuid, Vec<process::Attempt>> = HashMap::new();
    for row in rows {
        attempts
            .entry(row.order_id)
            .or_default()
            .push(row.attempt.into());
    }
    Ok(attempts)
}

async fn returns<C: SqlConnection>(
    connection: &mut C,
    bounds: &[Value<'_>],
) -> Result<HashMap<Uuid, Vec<ArchivedReturn>>, Error> {
    let rows: Vec<(Uuid, Uuid, Uuid, i64, StoredTime)> =
        connection.fetch_all(RETURNS, bounds).await?;
    let mut returns: HashMap<Uuid, Vec<ArchivedReturn>> = HashMap::new();
    for (order, id, product, quantity, created_at) in rows {
        returns.entry(order).or_default().push(ArchivedReturn {
            id: ReturnId(id),
            product_id: ProductId(product),
            quantity,
            created_at: created_at.0,
        });
    }
    Ok(returns)
}

/// Adds what orders took of products and gave back, as the database counts it.
async fn add_sums<C: SqlConnection>(
    connection: &mut C,
    orders: &[Uuid],
    sums: &mut BTreeMap<ProductId, ProductSums>,
) -> Result<(), Error> {
    let ids = [Value::Ids(orders.to_vec())];
    let rows: Vec<(Uuid, i64, i64, i64, i64)> =
        connection.fetch_all(C::SQL.history.sums, &ids).await?;
    for (product, lines, quantity, kept, returned) in rows {
        sums.entry(ProductId(product))
            .or_default()
            .add(ProductSums {
                lines: lines.unsigned_abs(),
                quantity,
                kept,
                returned,
            });
    }
    Ok(())
}

#[derive(FromRow)]
struct FileRow {
    number: i64,
    first_id: Uuid,
    last_id: Uuid,
    sha256: Option<Vec<u8>>,
}

impl TryFrom<FileRow> for ArchiveFile {
    type Error = Error;

    fn try_from(row: FileRow) -> Result<Self, Error> {
        let sha256 = row.sha256.map(<[u8; 32]>::try_from).transpose();
        Ok(Self {
            number: row.number,
            first: OrderId(row.first_id),
            last: OrderId(row.last_id),
            sha256: sha256.map_err(|_| Error::corrupt("SHA-256 of a file"))?,
        })
    }
}

async fn open_file<C: SqlConnection>(connection: &mut C) -> Result<Option<ArchiveFile>, Error> {
    let row: Option<FileRow> = connection.fetch_optional(OPEN, &[]).await?;
    row.map(ArchiveFile::try_from).transpose()
}

async fn begin_file<B: SqlBackend>(
    backend: &B,
    first: OrderId,
    last: OrderId,
    attempt: Attempt,
) -> Result<ArchiveFile, Error> {
    let mut tx = backend
        .begin(Priority::Background, attempt.lock_wait)
        .await?;
    let values = [Value::Bool(true), Value::Id(first.0), Value::Id(last.0)];
    let row: Option<FileRow> = tx.fetch_optional(BEGIN, &values).await?;
    if let Some(row) = row {
        tx.commit().await?;
        return row.try_into();
    }
    // It may be that of an attempt in doubt.
    let open = open_file(&mut *tx).await?;
    let is_own = |open: &ArchiveFile| {
        attempt.resolving && (open.first, open.last, open.sha256) == (first, last, None)
    };
    tx.confirm().await?;
    open.filter(is_own).ok_or(Error::Locked)
}

/// A file that is sealed with the same contents is sealed: by an attempt in doubt, or by somebody else
/// who has them, too.
async fn seal_file<B: SqlBackend>(
    backend: &B,
    file: &ArchiveFile,
    manifest: &Manifest,
) -> Result<ArchiveFile, Error> {
    let sha256 = manifest.digest();
    let sealed = ArchiveFile {
        sha256: Some(sha256),
        ..*file
    };
    let mut tx = backend.begin(Priority::Background, None).await?;
    let kept: Option<(Option<Vec<u8>>,)> = tx
        .fetch_optional(SEAL_OF, &[Value::Int(file.number)])
        .await?;
    if kept.and_then(|(kept,)| kept).as_deref() == Some(&sha256) {
        tx.confirm().await?;
        return Ok(sealed);
    }
    let orders = Value::Int(manifest.orders.cast_signed());
    let values = [Value::Int(file.number), Value::Bytes(&sha256), orders];
    if tx.execute(SEAL, &values).await? != 1 {
        return Err(Error::Locked);
    }
    let told = json!({
        "orders": manifest.orders, "lines": manifest.lines, "first_id": manifest.first_id,
        "last_id": manifest.last_id, "sha256": manifest.sha256,
    });
    record(
        &mut *tx,
        &AuditChange::orders_archived(&manifest.file, told),
    )
    .await?;
    tx.commit().await?;
    Ok(sealed)
}

/// Orders of the file that are not there are gone already, with an earlier transaction.
async fn delete_orders<B: SqlBackend>(
    backend: &B,
    file: &ArchiveFile,
    orders: &[StoredOrder],
    attempt: Attempt,
) -> Result<Vec<OrderId>, Error> {
    let history = &B::SQL.history;
    let mut tx = backend
        .begin(Priority::Background, attempt.lock_wait)
        .await?;
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id.0).collect();
    let ids = [Value::Ids(ids)];
    let rows: Vec<OrderRow> = tx.fetch_all(history.lock, &ids).await?;
    let found = with_lines(&mut *tx, rows).await?;
    let busy = tx.fetch_ids(history.entries, &ids).await?;
    let busy: HashSet<Uuid> = busy.into_iter().collect();
    let stored: HashMap<OrderId, &StoredOrder> =
        orders.iter().map(|order| (order.id, order)).collect();
    let (mut gone, mut left) = (Vec::new(), Vec::new());
    for order in found {
        match stored.get(&order.id) {
            Some(stored) if stored.is_same(&order) && !busy.contains(&order.id.0) => {
                gone.push(*stored)
            }
            _ => left.push(order.id),
        }
    }
    let Some(last) = gone.last() else {
        tx.confirm().await?;
        return Ok(left);
    };
    let last = Value::Id(last.id.0);
    let ids = Value::Ids(gone.iter().map(|order| order.id.0).collect());
    let with = |other: Value<'static>| [ids.clone(), other];
    tx.execute(history.carry_sales, &with(last)).await?;
    tx.execute(history.carry_purchases, slice::from_ref(&ids))
        .await?;
    let counted = with(Value::Int(file.number));
    if tx.execute(history.carry_counts, &counted).await? != 1 {
        return Err(Error::Locked);
    }
    let returns = gone.iter().flat_map(|order| &order.returns);
    let (products, returns): (Vec<Uuid>, Vec<Uuid>) =
        returns.map(|back| (back.product_id.0, back.id.0)).unzip();
    if !returns.is_empty() {
        let returns = [Value::Ids(products), Value::Ids(returns)];
        tx.execute(history.delete_returns, &returns).await?;
    }
    tx.execute(history.delete_attempts, slice::from_ref(&ids))
        .await?;
    tx.execute(history.delete_lines, slice::from_ref(&ids))
        .await?;
    tx.execute(history.delete_orders, &[ids]).await?;
    tx.commit().await?;
    Ok(left)
}
