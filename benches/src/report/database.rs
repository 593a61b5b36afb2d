//! Deciding a backlog, straight on the database.

use std::{fmt, sync::Arc};

use order_core::{
    bench::{Bench, Case, Contestant, Limit, SINGLE_TASKS, Sample, Shape},
    store::{ConnectOptions, PostgresStore, SqliteStore, Store, Strategy},
    testing::PostgresServer,
};

use super::{Bar, Measured, pgbench::Pgbench, sqlite_file, take_turns};

const BACKLOG: usize = 200_000;
/// The orders of a sample that decides one at a time.
const SAMPLE: usize = 2_000;
/// The connections of a service.
const CONNECTIONS: usize = 10;
const OLD_ORDERS: i64 = 5_000_000;

pub const SHAPES: [(&str, Shape); 3] = [
    ("decide-hot", Shape::Hot),
    ("decide-spread-1000", Shape::Spread(1_000)),
    ("decide-zipf-1000", Shape::Zipf(1_000)),
];

fn orders_of(contestant: Contestant) -> usize {
    match contestant {
        Contestant::Single(..) => SAMPLE,
        Contestant::Sized(batch) => BACKLOG.min(batch * SAMPLE),
        Contestant::Batch | Contestant::Limit(_) => BACKLOG,
    }
}

pub(super) async fn store(url: &str, connections: usize) -> anyhow::Result<PostgresStore> {
    let options = ConnectOptions::default().with_max_connections(u32::try_from(connections)?);
    Ok(PostgresStore::connect_with(url, options).await?)
}

async fn bench(url: &str, shape: Shape) -> anyhow::Result<Bench> {
    let store = store(url, CONNECTIONS).await?;
    let limit = Limit::new(&store);
    let mut bench = Bench::new(Arc::new(store), Some(limit), shape).await?;
    for tasks in SINGLE_TASKS {
        bench = bench.with_sized(tasks, Arc::new(self::store(url, tasks).await?));
    }
    Ok(bench)
}

/// The next contestant to measure.
#[derive(Clone, Copy)]
enum Turn {
    Ours(Contestant),
    /// The row lock by `pgbench`, with so many clients.
    Pgbench(usize),
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(who) => who.fmt(f),
            Self::Pgbench(clients) => write!(f, "pgbench: row_lock x{clients}"),
        }
    }
}

/// The library, the bare driver, the classical strategies, and the row lock by `pgbench`.
///
/// Contestants that decide one order at a time have a database of their own, which stays small:
/// they need not pay for the garbage that the backlogs of the others leave.
pub async fn decide(name: &str, shape: Shape, runs: usize) -> anyhow::Result<Measured> {
    let postgres = PostgresServer::start(true);
    let batches = bench(&postgres.database().await, shape).await?;
    let singles = bench(&postgres.database().await, shape).await?;
    // pgbench decides what is there by itself, in a database of its own.
    let pgbench = match shape {
        Shape::Hot => Some(Pgbench::new(&postgres.database().await).await?),
        _ => None,
    };
    let batched = [
        Contestant::Batch,
        Contestant::Limit(1),
        Contestant::Limit(2),
    ];
    let mut turns: Vec<Turn> = batched.map(Turn::Ours).to_vec();
    // Who is held against each other has one turn after the other.
    for tasks in SINGLE_TASKS {
        let single = |strategy| Turn::Ours(Contestant::Single(strategy, tasks));
        turns.push(single(Strategy::RowLock));
        turns.extend(pgbench.is_some().then_some(Turn::Pgbench(tasks)));
        turns.push(single(Strategy::ConditionalUpdate));
    }
    let names = turns.iter().map(ToString::to_string).collect();
    let rows = take_turns(names, runs, async |turn| match (turns[turn], &pgbench) {
        (Turn::Pgbench(tasks), Some(pgbench)) => pgbench.row_lock(tasks, SAMPLE).await,
        (Turn::Ours(who @ Contestant::Single(..)), _) => {
            Ok(singles.measure(Case::Decide, who, orders_of(who)).await?)
        }
        (Turn::Ours(who), _) => Ok(batches.measure(Case::Decide, who, orders_of(who)).await?),
        (Turn::Pgbench(_), None) => anyhow::bail!("pgbench has no turn here"),
    })
    .await?;
    let mut measured = Measured::new(name, rows);
    let (batch, row_lock) = (measured.rate("batch"), measured.rate("row_lock"));
    let bar = match shape {
        Shape::Hot => 60.0,
        Shape::Zipf(_) => 20.0,
        // Where nobody waits for anybody, a lock per order costs the least.
        Shape::Spread(_) => 10.0,
    };
    measured.claim("batch / best row_lock", batch / row_lock, Bar::AtLeast(bar));
    let bare = measured.rate("bare driver");
    measured.claim("batch / bare driver", batch / bare, Bar::AtLeast(0.9));
    if pgbench.is_some() {
        let ratio = row_lock / measured.rate("pgbench");
        measured.claim("row_lock / the same by pgbench", ratio, Bar::AtLeast(0.8));
    }
    Ok(measured)
}

/// One transaction per order against a batch of them, in a file.
pub async fn decide_sqlite(runs: usize) -> anyhow::Result<Measured> {
    // Not in /tmp: that may be memory, which never waits for a disk.
    let (_dir, url) = sqlite_file()?;
    let store = SqliteStore::connect(&url).await?;
    store.migrate().await?;
    let bench = Bench::new(Arc::new(store), None, Shape::Hot).await?;
    let contestants = [
        Contestant::Batch,
        Contestant::Single(Strategy::RowLock, 1),
        Contestant::Single(Strategy::ConditionalUpdate, 1),
    ];
    let rows = measure(&bench, &contestants, runs).await?;
    let mut measured = Measured::new("decide-sqlite", rows);
    let ratio = measured.rate("batch") / measured.rate("row_lock");
    measured.claim(
        "batch / one transaction per order",
        ratio,
        Bar::AtLeast(40.0),
    );
    Ok(measured)
}

/// An empty table against one that holds old orders, in two databases of one server.
pub async fn decide_with_old_orders(runs: usize) -> anyhow::Result<Measured> {
    let postgres = PostgresServer::start(true);
    let (empty, full) = (postgres.database().await, postgres.database().await);
    let shops = [
        bench(&empty, Shape::Hot).await?,
        bench(&full, Shape::Hot).await?,
    ];
    fill_with_old_orders(&full).await?;
    let names = ["empty", "5 000 000 old orders"]
        .map(str::to_owned)
        .to_vec();
    let rows = take_turns(names, runs, async |turn| {
        Ok(shops[turn]
            .measure(Case::Decide, Contestant::Batch, BACKLOG)
            .await?)
    })
    .await?;
    let mut measured = Measured::new("decide-old-orders", rows);
    let ratio = measured.rate("5") / measured.rate("empty");
    measured.claim("with old orders / without", ratio, Bar::AtLeast(0.9));
    Ok(measured)
}

/// Old orders that are done with, all of the first product.
pub(super) async fn fill_with_old_orders(url: &str) -> anyhow::Result<()> {
    let pool = sqlx::PgPool::connect(url).await?;
    // Ids of years ago; in parts, so that no statement holds too much.
    for part in 0..10 {
        sqlx::query(
            "WITH old AS MATERIALIZED (
                 SELECT (lpad(to_hex(n), 12, '0') || '7000800000000000' || '0000')::uuid AS id,
                        to_timestamp(n / 1000.0) AS at
                 FROM generate_series($1::bigint + 1, $1 + $2) AS n),
             inserted AS (
                 INSERT INTO orders (id, status, total_price, created_at, decided_at,
                                     completed_at)
                 SELECT id, 'completed', 100, at, at, at FROM old)
             INSERT INTO order_lines
             SELECT old.id, 1, product.id, 1, 100
             FROM old, (SELECT id FROM products LIMIT 1) product",
        )
        .bind(part * (OLD_ORDERS / 10))
        .bind(OLD_ORDERS / 10)
        .execute(&pool)
        .await?;
    }
    sqlx::query("VACUUM ANALYZE").execute(&pool).await?;
    sqlx::query("CHECKPOINT").execute(&pool).await?;
    Ok(())
}

/// The rate by the size of the batch.
pub async fn decide_by_batch_size(runs: usize) -> anyhow::Result<Measured> {
    let postgres = PostgresServer::start(true);
    let bench = bench(&postgres.database().await, Shape::Hot).await?;
    let contestants = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000].map(Contestant::Sized);
    let rows = measure(&bench, &contestants, runs).await?;
    Ok(Measured::new("decide-batch-size", rows))
}

async fn measure(
    bench: &Bench,
    contestants: &[Contestant],
    runs: usize,
) -> anyhow::Result<Vec<(String, order_core::bench::Figures)>> {
    let names = contestants.iter().map(ToString::to_string).collect();
    take_turns(names, runs, async |turn| -> anyhow::Result<Sample> {
        let who = contestants[turn];
        Ok(bench.measure(Case::Decide, who, orders_of(who)).await?)
    })
    .await
}
