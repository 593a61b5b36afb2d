//! Selling by an unlocked read and one statement that locks, checks, writes and commits: the usual
//! way of a purchase. Nobody waits for a lock while an answer is read.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use super::{
    error::on_commit,
    orders::{by_id, insert_arguments, insert_orders, take_stock},
    session,
    store::PostgresStore,
};
use crate::{
    domain::{NewOrder, Order},
    error::Error,
    store::{
        orders::{Outcome, Purchase},
        sql::{
            backend::{Changed, Pieces, SqlConnection},
            idempotency::BatchResult,
            plan::{self, LockedProduct},
            purchase::{PurchaseSteps, settle},
            retry::Attempt,
            rows::{self, LockedRow, product_columns},
            value::{StoredTime, Value},
        },
    },
};

/// With the time, by the clock of the database.
const READ_UNLOCKED: &str = "SELECT id, price, stock, archived_at IS NOT NULL AS archived,
            clock_timestamp() AS read_at
     FROM products WHERE id = ANY($1)";

/// The time for which products that were read without a lock may be sold from.
const SNAPSHOT_TTL: Duration = Duration::from_millis(500);

/// Inserts sold orders, and takes their stock, if each product has as much as is taken and still
/// costs what it did when it was read; if not, or later than at `$22`, it writes nothing and gives
/// no product.
///
/// The rows of the products are locked in id order before anything is written, since each step asks
/// whether all is well, which is known once all are locked. `taken` then changes the rows as they
/// were locked, also where they are newer than what the statement began with.
const INSERT_CHECKED: &str = insert_orders!(
    concat!(
        "locked AS MATERIALIZED (
             SELECT id, price, stock, archived_at FROM products
             WHERE id = ANY($18) ORDER BY id FOR NO KEY UPDATE),
         checked AS MATERIALIZED (
             SELECT count(*) FILTER (
                        WHERE archived_at IS NULL AND price = ($21::jsonb -> id::text)::bigint
                          AND stock >= ($19::jsonb -> id::text)::bigint)
                    = cardinality($18) AND clock_timestamp() < $22 AS is_well
             FROM locked), ",
        take_stock!("(SELECT is_well FROM checked)")
    ),
    "(SELECT is_well FROM checked)",
    product_columns!(""),
    " FROM taken"
);

/// Products as they were at a time by the clock of the database, without a lock.
type Snapshot = (Vec<LockedProduct>, DateTime<Utc>);

#[derive(FromRow)]
struct SnapshotRow {
    #[sqlx(flatten)]
    product: LockedRow,
    read_at: StoredTime,
}

#[async_trait]
impl PurchaseSteps for PostgresStore {
    /// The products are locked within the last statement only: nobody waits while we read an
    /// answer and decide. Keys are looked up after the products are seen: a sale that shows in
    /// their stock shows in its key.
    ///
    /// When that one is in doubt, it may not even have begun, and so hold no lock that the next
    /// attempt would wait for. It sells nothing that the next one sold, whose orders have the same
    /// ids; but it could sell what that one refused, if stock came back in between. So it does
    /// nothing once it is older than [`SNAPSHOT_TTL`], by the clock of the database, which nobody
    /// sets back; and before the next attempt, we wait as long.
    async fn purchase_optimistically(
        &self,
        orders: &[NewOrder],
        attempt: Attempt,
    ) -> Result<Option<Outcome<Purchase>>, Error> {
        if attempt.resolving {
            tokio::time::sleep(SNAPSHOT_TTL).await;
            return Ok(None);
        }
        if attempt.lock_wait.is_some() {
            // Longer than a statement by itself waits.
            return Ok(None);
        }
        let mut connection = self.connections.acquire().await?;
        let snapshot = read_unlocked(&mut connection, orders).await?;
        let (settled, taken) = settle(&mut *connection, orders, &snapshot.0, attempt).await?;
        let mut changed = Vec::new();
        if settled.made().next().is_some() {
            if settled.results.iter().any(Result::is_err) {
                return Ok(None);
            }
            let at = plan::latest(orders);
            changed = insert_checked(&mut connection, &settled, &taken, &snapshot, at).await?;
            if changed.is_empty() {
                return Ok(None);
            }
        } else if settled.results.iter().any(Result::is_ok) {
            session::assure(&mut connection).await?;
        }
        Ok(Some(Outcome::new(settled.results, changed)))
    }
}

/// The products of orders, as they are.
async fn read_unlocked(
    connection: &mut PgConnection,
    orders: &[NewOrder],
) -> Result<Snapshot, Error> {
    let ids = plan::products_of(orders.iter().flat_map(|order| &order.lines));
    let ids = Value::Ids(ids.iter().map(|id| id.0).collect());
    let rows: Vec<SnapshotRow> = connection.fetch_all(READ_UNLOCKED, &[ids]).await?;
    let at = rows.first().map(|row| row.read_at.0).unwrap_or_default();
    let products = rows.into_iter().map(|row| row.product.try_into());
    Ok((products.collect::<Result<_, _>>()?, at))
}

/// Executes [`INSERT_CHECKED`], which commits by itself.
async fn insert_checked(
    connection: &mut PgConnection,
    settled: &BatchResult,
    taken: &Pieces,
    (products, read_at): &Snapshot,
    at: DateTime<Utc>,
) -> Changed {
    let sold: Vec<&Order> = settled.made().collect();
    let prices: HashMap<Uuid, i64> = products
        .iter()
        .map(|product| (product.id.0, product.price.minor_units()))
        .collect();
    let (ids, pieces) = by_id(taken);
    let arguments = insert_arguments(&sold, &settled.records)?;
    let inserted = sqlx::query_as_with(INSERT_CHECKED, arguments)
        .bind(ids)
        .bind(pieces)
        .bind(at)
        .bind(Json(prices))
        .bind(*read_at + SNAPSHOT_TTL)
        .fetch_all(connection)
        .await;
    rows::products(inserted.map_err(|error| on_commit(error.into()))?)
}
