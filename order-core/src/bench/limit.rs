//! The limit of the database: the statements of a batch in a bare loop over the driver.
//!
//! Nothing of the library is around them: no retries, no frontier, no checked types. The
//! share of this rate that `batch` reaches is what the library costs.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use sqlx::{PgConnection, PgPool, types::Json};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{countdown::Countdown, figures::Sample};
use crate::{
    clock::{Clock, SystemClock},
    domain::ProductId,
    error::Error,
    store::{
        PostgresStore,
        postgres_statements::{CLAIM_OLDEST, LOCK, WRITE_DECISIONS},
    },
};

/// The statements of the row lock strategy as a script for `pgbench`, for orders of one piece
/// of `product`. The variable `id` is the order after which to claim.
#[must_use]
pub fn row_lock_statements(product: ProductId) -> String {
    let claim = CLAIM_OLDEST.replace("$1", ":id").replace("$2", "1");
    let lock = LOCK.replace("$1", &format!("ARRAY['{product}']::uuid[]"));
    let write = WRITE_DECISIONS
        .replace("$1", "now()")
        .replace("$2", &format!("ARRAY['{product}']::uuid[]"))
        .replace("$3", &format!(r#"'{{"{product}": 1}}'"#))
        .replace("$4", "ARRAY[:id]::uuid[]")
        .replace("$5", "'{}'::uuid[]")
        .replace("$6", "'{}'")
        .replace("$7", "'{}'::uuid[]")
        .replace("$8", "NULL::timestamptz")
        .replace("$9", "now()");
    format!("BEGIN;\n{claim} \\gset\n{lock};\n{write};\nCOMMIT;\n")
}

/// A bare loop over the driver.
#[derive(Debug)]
pub struct Limit {
    pool: PgPool,
}

impl Limit {
    /// Over the connections of a store.
    #[must_use]
    pub fn new(store: &PostgresStore) -> Self {
        Self {
            pool: store.pool().clone(),
        }
    }

    /// Decides `orders` of the oldest pending orders. Connections take turns as the batches of
    /// a worker do: one claims while another writes.
    pub(super) async fn decide(
        &self,
        orders: usize,
        connections: usize,
        batch: usize,
    ) -> Result<Sample, Error> {
        let (left, claim_mutex) = (Countdown::new(orders), Mutex::new(Uuid::nil()));
        let connection_loop = async || {
            let mut latencies: Vec<Duration> = Vec::new();
            while let Some(take) = left.take(batch) {
                let start = Instant::now();
                let decided = self.batch(take, &claim_mutex).await?;
                latencies.push(start.elapsed());
                left.give_back(take - decided);
            }
            Ok::<_, sqlx::Error>(latencies)
        };
        let start = Instant::now();
        let latencies = try_join_all((0..connections).map(|_| connection_loop())).await?;
        Ok(Sample {
            orders,
            elapsed: start.elapsed(),
            latencies: latencies.concat(),
        })
    }

    async fn batch(&self, limit: usize, claim_mutex: &Mutex<Uuid>) -> Result<usize, sqlx::Error> {
        let mut after = claim_mutex.lock().await;
        let mut tx = self.pool.begin().await?;
        let rows: Vec<(Uuid, Uuid, i32, Option<i32>)> = sqlx::query_as(CLAIM_OLDEST)
            .bind(*after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
        let mut pieces: HashMap<Uuid, i64> = HashMap::new();
        for (_, product, quantity, _) in &rows {
            *pieces.entry(*product).or_default() += i64::from(*quantity);
        }
        let mut products: Vec<Uuid> = pieces.keys().copied().collect();
        products.sort_unstable();
        let locked = sqlx::query(LOCK).bind(&products).fetch_all(&mut *tx);
        let locked = locked.await?;
        *after = rows.last().map_or(*after, |row| row.0);
        drop(after);
        // There is stock for all, by the measure of the bench.
        assert_eq!(locked.len(), products.len());
        let orders: Vec<Uuid> = rows.iter().map(|row| row.0).collect();
        write(&mut tx, &orders, products, pieces).await?;
        tx.commit().await?;
        Ok(orders.len())
    }
}

async fn write(
    connection: &mut PgConnection,
    orders: &[Uuid],
    products: Vec<Uuid>,
    pieces: HashMap<Uuid, i64>,
) -> Result<(), sqlx::Error> {
    sqlx::query(WRITE_DECISIONS)
        .bind(SystemClock.now())
        .bind(products)
        .bind(Json(pieces))
        .bind(orders)
        .bind(Vec::<Uuid>::new())
        .bind(Json(HashMap::<Uuid, i64>::new()))
        .bind(Vec::<Uuid>::new())
        .bind(None::<DateTime<Utc>>)
        .bind(SystemClock.now())
        .fetch_all(connection)
        .await?;
    Ok(())
}
