//! Products and orders in Postgres.
//!
//! The lock order, kept by every transaction of this module: rows of `orders` first, in id
//! order; then tasks; then rows of `products`, in id order; nobody who holds a product row waits
//! for an order row or a task. Two transactions can therefore wait for each other in one direction
//! only.
//!
//! `FOR NO KEY UPDATE` is the lock of both: it excludes every other writer, and lets the
//! foreign key checks of rows that refer to the product pass.

mod accept;
mod conditional;
pub(crate) mod connections;
mod due;
mod frontier;
mod idempotency;
mod keys;
mod orders;
mod products;
mod read;
mod search;
mod stats;
pub(crate) mod steps;
pub(crate) mod task_batches;
mod tasks;
mod turn;
mod workers;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Connection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use self::{connections::Connections, due::Due, frontier::Frontier};
use super::{Imbalance, PoolStats, Store};
use tokio::sync::Mutex;

use crate::{
    domain::ProductId,
    error::Error,
    queue::{OrderQueue, PostgresQueue},
};

/// Settings of every session.
///
/// - Answers promise durability: a server that is set to `synchronous_commit = off` is overruled.
/// - A process that hangs with a product locked loses its session, and the rest goes on.
/// - Each statement of the hot path looks up rows by key. The planner, when it has stale or
///   no statistics, takes tables for small and reads them whole: such plans are ruled out.
/// - Such a statement is done before helpers have started, and a page of a list stops early.
/// - With one plan left, there is nothing to choose by the values: planning once is enough.
const SESSION: &str = "
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') = 'off'
    UNION ALL SELECT set_config('idle_in_transaction_session_timeout', '10s', false)
    UNION ALL SELECT set_config('lock_timeout', '10s', false)
    UNION ALL SELECT set_config('enable_seqscan', 'off', false)
    UNION ALL SELECT set_config('enable_hashjoin', 'off', false)
    UNION ALL SELECT set_config('enable_mergejoin', 'off', false)
    UNION ALL SELECT set_config('enable_bitmapscan', 'off', false)
    UNION ALL SELECT set_config('enable_sort', 'off', false)
    UNION ALL SELECT set_config('max_parallel_workers_per_gather', '0', false)
    UNION ALL SELECT set_config('plan_cache_mode', 'force_generic_plan', false)
    UNION ALL SELECT set_config('jit', 'off', false)";

/// How long an idle connection is taken to be alive.
const TRUSTED_WHILE_IDLE: Duration = Duration::from_secs(1);

/// How to use the database.
#[derive(Clone, Copy, Debug)]
pub struct PostgresOptions {
    /// The most connections to hold open.
    pub max_connections: u32,
    /// How long an operation waits for a free connection before it fails as unavailable.
    pub acquire_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            max_connections: 10,
            acquire_timeout: Duration::from_secs(5),
        }
    }
}

/// Products and orders in a Postgres database.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    connections: Connections,
    frontier: Arc<Frontier>,
    due: Arc<Due>,
    packed: Arc<Due>,
    /// Held from the claim of a batch until its products are locked: batches of this process
    /// have their turns in the order of their claims, and one claims while another writes.
    turnstile: Arc<Mutex<()>>,
}

impl PostgresStore {
    /// Connects to `url` (`postgres://user:password@host:port/database`).
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `database_url`; [`Error::Unavailable`] when nobody answers.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self, Error> {
        // The driver's message may quote the URL, and the URL holds a password.
        let connect: PgConnectOptions = url
            .parse()
            .map_err(|_| Error::invalid("database_url", "is not a Postgres URL"))?;
        let connect = connect.application_name("orders");
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            // A connection that was just in use is taken as it is, without asking whether it
            // still lives: that would be one more round trip for every operation, and one
            // that died is found out and replaced by the retry.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for < TRUSTED_WHILE_IDLE {
                        return Ok(true);
                    }
                    Ok(connection.ping().await.is_ok())
                })
            })
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::query(SESSION).execute(connection).await.map(drop) })
            })
            .connect_with(connect)
            .await?;
        Ok(Self {
            connections: Connections::new(pool),
            frontier: Arc::default(),
            due: Arc::default(),
            packed: Arc::default(),
            turnstile: Arc::default(),
        })
    }

    /// The queue with leases that this database can be.
    #[must_use]
    pub fn queue(&self) -> PostgresQueue {
        PostgresQueue::over(self.connections.clone())
    }

    /// The connections, for what the traits do not offer.
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        self.connections.pool()
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn queue(&self) -> Arc<dyn OrderQueue> {
        Arc::new(self.queue())
    }

    async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1")
            .execute(&mut *self.connections.acquire().await?)
            .await?;
        Ok(())
    }

    async fn migrate(&self) -> Result<(), Error> {
        sqlx::migrate!("./migrations/postgres")
            .run(self.pool())
            .await?;
        search::fold_all_names(self).await
    }

    async fn verify(&self) -> Result<Vec<Imbalance>, Error> {
        let mut connection = self.connections.acquire().await?;
        let mut tx = connection.begin().await?;
        // One statement sees one snapshot; it reads everything, so that it wants the plans
        // that sessions rule out otherwise.
        sqlx::query(
            "SELECT set_config(name, 'on', true)
             FROM unnest('{enable_seqscan, enable_hashjoin, enable_sort}'::text[]) name
             UNION ALL SELECT set_config(name, reset_val, true) FROM pg_settings
             WHERE name = 'max_parallel_workers_per_gather'",
        )
        .execute(&mut *tx)
        .await?;
        let rows: Vec<(uuid::Uuid, i64, i64, i64)> = sqlx::query_as(
            "SELECT p.id, p.stock, coalesce(a.adjusted, 0)::bigint, coalesce(h.held, 0)::bigint
             FROM products p
             LEFT JOIN (SELECT product_id, sum(delta) AS adjusted
                        FROM stock_adjustments GROUP BY product_id) a ON a.product_id = p.id
             LEFT JOIN (SELECT l.product_id, sum(l.quantity) AS held
                        FROM order_lines l JOIN orders o ON o.id = l.order_id
                        WHERE o.status IN ('success', 'completed') GROUP BY l.product_id) h
                    ON h.product_id = p.id
             WHERE p.stock <> coalesce(a.adjusted, 0) - coalesce(h.held, 0)
             ORDER BY p.id",
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(rows
            .into_iter()
            .map(|(id, stock, adjusted, held)| Imbalance {
                product_id: ProductId(id),
                stock,
                adjusted,
                held,
            })
            .collect())
    }

    fn pools(&self) -> Vec<PoolStats> {
        vec![PoolStats::of("database", self.pool())]
    }
}
