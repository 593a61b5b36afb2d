//! Selling by an unlocked read and one statement that locks, checks, writes and commits: the usual
//! way of a purchase. Nobody waits for a lock while an answer is read.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{
    error::on_commit,
    orders::{by_id, first_lapse, insert_arguments, insert_orders, take_stock, write_holds},
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
            plan::{self, LockedProducts},
            purchase::{PurchaseSteps, settle},
            retry::Attempt,
            rows::{self, product_columns},
            value::Value,
        },
    },
};

/// With the time, by the clock of the database.
const READ_UNLOCKED: &str =
    "SELECT id, price, stock, archived_at IS NOT NULL AS archived, lapses_at,
            limit_per_customer, on_sale_from, on_sale_until,
            clock_timestamp() AS read_at
     FROM products WHERE id = ANY($1)";

/// The time for which products that were read without a lock may be sold from.
const SNAPSHOT_TTL: Duration = Duration::from_millis(500);

/// The steps that lock the products and check them.
macro_rules! locked_and_checked {
    () => {
        "locked AS MATERIALIZED (
             SELECT id, price, stock, archived_at, limit_per_customer, on_sale_from, on_sale_until
             FROM products
             WHERE id = ANY($25) ORDER BY id FOR NO KEY UPDATE),
         checked AS MATERIALIZED (
             SELECT count(*) FILTER (
                        WHERE archived_at IS NULL AND price = ($29::jsonb -> id::text)::bigint
                          AND stock >= ($26::jsonb -> id::text)::bigint
                          AND limit_per_customer IS NULL
                          AND (on_sale_from IS NULL OR on_sale_from <= clock_timestamp())
                          AND (on_sale_until IS NULL OR on_sale_until > clock_timestamp()))
                    = cardinality($25) AND clock_timestamp() < $30 AS is_well
             FROM locked), "
    };
}

/// Inserts sold orders, and takes their stock, if each product has as much as is taken and still
/// costs what it did when it was read; if not, or later than at `$30`, it writes nothing and gives
/// no product.
///
/// The rows of the products are locked in id order before anything is written, since each step asks
/// whether all is well, which is known once all are locked. `taken` then changes the rows as they
/// were locked, also where they are newer than what the statement began with.
const INSERT_CHECKED: &str = insert_orders!(
    concat!(
        locked_and_checked!(),
        take_stock!("(SELECT is_well FROM checked)")
    ),
    "(SELECT is_well FROM checked)",
    product_columns!(""),
    " FROM taken"
);

/// The same, of orders that are held, some or all.
const INSERT_HELD_CHECKED: &str = insert_orders!(
    concat!(
        locked_and_checked!(),
        take_stock!("(SELECT is_well FROM checked)"),
        write_holds!("(SELECT is_well FROM checked)")
    ),
    "(SELECT is_well FROM checked)",
    product_columns!(""),
    " FROM taken"
);

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
        let lines = orders.iter().flat_map(|order| &order.lines);
        if !plan::short(&snapshot, lines).is_empty() || snapshot.has_limits() {
            // There is more to be had from holds that lapsed, and what customers have is read, under
            // locks.
            return Ok(None);
        }
        let (settled, taken) = settle(&mut *connection, orders, &snapshot, attempt).await?;
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
) -> Result<LockedProducts, Error> {
    let ids = plan::products_of(orders.iter().flat_map(|order| &order.lines));
    let ids = Value::Ids(ids.iter().map(|id| id.0).collect());
    let rows = connection.fetch_all(READ_UNLOCKED, &[ids]).await?;
    rows::locked(rows)
}

/// Executes [`INSERT_CHECKED`], which commits by itself. It gives no product when it wrote nothing.
async fn insert_checked(
    connection: &mut PgConnection,
    settled: &BatchResult,
    taken: &Pieces,
    snapshot: &LockedProducts,
    at: DateTime<Utc>,
) -> Changed {
    let sold: Vec<&Order> = settled.made().collect();
    let prices: HashMap<Uuid, i64> = snapshot
        .products
        .iter()
        .map(|product| (product.id.0, product.price.minor_units()))
        .collect();
    let (ids, pieces) = by_id(taken);
    let arguments = insert_arguments(&sold, &settled.records)?;
    let lapses_at = first_lapse(&sold);
    let insert = match lapses_at {
        None => INSERT_CHECKED,
        Some(_) => INSERT_HELD_CHECKED,
    };
    let inserted = sqlx::query_as_with(insert, arguments)
        .bind(ids)
        .bind(pieces)
        .bind(at)
        .bind(lapses_at)
        .bind(Json(prices))
        .bind(snapshot.now + SNAPSHOT_TTL)
        .fetch_all(connection)
        .await;
    match inserted {
        Ok(rows) => rows::products(rows),
        Err(error) if is_short(&error) => Ok(Vec::new()),
        Err(error) => Err(on_commit(error.into())),
    }
}

/// Tells whether a product had less than was taken. Under its lock it had enough; but an update first
/// makes a row of what its snapshot shows, and checks that: when stock was gone by then, and came back
/// while the statement waited for the lock, the row that is refused is not the one to be written.
fn is_short(error: &sqlx::Error) -> bool {
    let constraint = error
        .as_database_error()
        .and_then(|error| error.constraint());
    constraint == Some("products_stock_range")
}
