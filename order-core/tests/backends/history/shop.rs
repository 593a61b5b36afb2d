//! A shop that was open two months ago, on either database.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use order_core::{
    CancellationToken, OrderService, WorkerOptions,
    clock::{Clock, ManualClock, SystemClock},
    domain::{
        HoldTime, IdempotencyKey, OrderId, OrderRequest, OrderStatus, PageRequest, PageSize,
        PageStart, ProductId, ProductRequest, Quantity, RequestedLine, ReturnRequest, SaleTerms,
    },
    history::ArchiveOptions,
    process::{AttemptOutcome, Claim, LogProcessor, ProcessOptions, Processing},
    store::{OrderQuery, PostgresStore, SqliteStore, Store},
    testing::{PostgresServer, PostgresTime, SqliteTime, conformance::Time},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

/// A database, past the store.
pub enum Raw {
    Postgres(String),
    Sqlite(String),
}

impl Raw {
    pub fn id(&self, id: Uuid) -> String {
        match self {
            Self::Postgres(_) => format!("'{id}'"),
            Self::Sqlite(_) => format!("x'{}'", id.simple()),
        }
    }

    pub const fn now(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "now()",
            Self::Sqlite(_) => "unixepoch() * 1000000",
        }
    }

    pub async fn execute(&self, sql: &str) -> Result<u64, sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let done = sqlx::raw_sql(sql).execute(&mut connection).await?;
                Ok(done.rows_affected())
            }
            Self::Sqlite(url) => {
                let mut connection = SqliteConnection::connect(url).await.unwrap();
                let done = sqlx::raw_sql(sql).execute(&mut connection).await?;
                Ok(done.rows_affected())
            }
        }
    }

    pub async fn count(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let count = sqlx::query_scalar(sql);
                count.fetch_one(&mut connection).await.unwrap()
            }
            Self::Sqlite(url) => {
                let mut connection = SqliteConnection::connect(url).await.unwrap();
                let count = sqlx::query_scalar(sql);
                count.fetch_one(&mut connection).await.unwrap()
            }
        }
    }

    pub fn time(&self) -> Box<dyn Time> {
        match self {
            Self::Postgres(url) => Box::new(PostgresTime::new(url)),
            Self::Sqlite(url) => Box::new(SqliteTime::new(url)),
        }
    }
}

/// A database of each kind, in a directory of its own.
pub struct Place {
    pub store: Arc<dyn Store>,
    pub raw: Raw,
    pub dir: tempfile::TempDir,
}

impl Place {
    pub async fn each() -> [Self; 2] {
        let dir = || tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let url = PostgresServer::shared().database().await;
        let postgres = Self {
            store: Arc::new(PostgresStore::connect(&url).await.unwrap()),
            raw: Raw::Postgres(url),
            dir: dir(),
        };
        let dir = dir();
        let url = format!("sqlite://{}", dir.path().join("orders.db").display());
        let store = SqliteStore::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        let sqlite = Self {
            store: Arc::new(store),
            raw: Raw::Sqlite(url),
            dir,
        };
        [postgres, sqlite]
    }

    /// Where its orders are archived to.
    pub fn archive(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    /// Archives what is 40 days old, three orders to a file.
    pub fn options(&self) -> ArchiveOptions {
        ArchiveOptions {
            orders_per_file: 3,
            ..ArchiveOptions::new(days_ago(40), self.archive())
        }
    }

    /// A service of now.
    pub fn today(&self) -> OrderService {
        let builder = OrderService::builder(Arc::clone(&self.store));
        builder.without_compaction().build()
    }

    /// A service whose clock is late.
    pub fn long_ago(&self) -> OrderService {
        let clock = Arc::new(ManualClock::new(days_ago(60)));
        let builder = OrderService::builder(Arc::clone(&self.store)).clock(clock);
        builder.without_compaction().build()
    }

    /// No lease holds any more.
    pub async fn later(&self) {
        self.raw.time().advance(TimeDelta::hours(2)).await;
    }

    /// The orders that are there, by their ids.
    pub async fn stored(&self) -> BTreeSet<OrderId> {
        let mut query = OrderQuery {
            page: PageRequest {
                size: PageSize::new(100).unwrap(),
                ..PageRequest::default()
            },
            ..OrderQuery::default()
        };
        let mut ids = BTreeSet::new();
        loop {
            let page = self.store.orders(&query).await.unwrap();
            ids.extend(page.items.iter().map(|order| order.id));
            let Some(next) = page.next else {
                return ids;
            };
            query.page = PageRequest {
                size: query.page.size,
                start: PageStart::After(next),
            };
        }
    }
}

pub fn days_ago(days: i64) -> DateTime<Utc> {
    SystemClock.now() - TimeDelta::days(days)
}

/// The lines of the files of an archive, in the order of the files.
pub fn archived(dir: &Path) -> Vec<serde_json::Value> {
    let mut lines = Vec::new();
    for (file, contents) in files(dir, ".ndjson") {
        assert!(!file.starts_with('.'), "{file} is unfinished");
        for line in contents.lines() {
            lines.push(serde_json::from_str(line).unwrap());
        }
    }
    lines
}

/// The files of an archive whose names end so, and what is in them.
pub fn files(dir: &Path, end: &str) -> BTreeMap<String, String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return BTreeMap::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let named = names.filter(|name| name.ends_with(end));
    named
        .map(|name| {
            let contents = std::fs::read_to_string(dir.join(&name)).unwrap();
            (name, contents)
        })
        .collect()
}

pub fn pieces(product: ProductId, pieces: i64) -> OrderRequest {
    OrderRequest::one(product, Quantity::new(pieces).unwrap())
}

pub fn lines(product_id: ProductId, pieces: i64) -> Vec<RequestedLine> {
    let quantity = Quantity::new(pieces).unwrap();
    vec![RequestedLine {
        product_id,
        quantity,
    }]
}

/// Orders of two months ago, in every state.
pub struct OldShop {
    pub lamp: ProductId,
    /// Two for each customer.
    pub ticket: ProductId,
    /// At their end.
    pub ended: BTreeSet<OrderId>,
    /// Not at their end.
    pub open: BTreeSet<OrderId>,
    /// The order of the key `old`.
    pub keyed: OrderId,
    /// Two tickets that zoe bought.
    pub adas: OrderId,
}

/// The key of an old order.
pub fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey::new(Uuid::nil(), name).unwrap()
}

impl OldShop {
    pub async fn new(place: &Place) -> Self {
        let shop = place.long_ago();
        let price = || "9.99".parse().unwrap();
        let lamp = ProductRequest::new("Lamp", price(), 10_000, None).unwrap();
        let lamp = shop.create_product(lamp).await.unwrap().id;
        let ticket = ProductRequest::new("Ticket", price(), 100, None).unwrap();
        let terms = SaleTerms {
            limit_per_customer: Some(2),
            ..SaleTerms::default()
        };
        let ticket = shop.create_product(ticket.on_terms(terms).unwrap()).await;
        let ticket = ticket.unwrap().id;
        let keyed = shop.purchase(pieces(lamp, 2).with_key(key("old"))).await;
        let keyed = keyed.unwrap().id;
        let for_ada = OrderRequest::new(lines(ticket, 2), Some("zoe@example.com".to_owned()));
        let for_ada = for_ada
            .unwrap()
            .for_customer(Some("zoe".to_owned()))
            .unwrap();
        let adas = shop
            .purchase(for_ada.with_key(key("adas")))
            .await
            .unwrap()
            .id;
        let mut old = Self {
            lamp,
            ticket,
            ended: BTreeSet::from([keyed, adas]),
            open: BTreeSet::new(),
            keyed,
            adas,
        };
        old.end_some(place, &shop).await;
        old.leave_some_open(place, &shop).await;
        let stored = place.stored().await;
        assert_eq!(stored, old.ended.union(&old.open).copied().collect());
        assert_eq!(place.store.verify().await.unwrap(), []);
        old
    }

    async fn end_some(&mut self, place: &Place, shop: &OrderService) {
        let (lamp, ticket) = (self.lamp, self.ticket);
        let both = [lines(lamp, 3), lines(ticket, 1), lines(lamp, 1)].concat();
        let both = OrderRequest::new(both, None).unwrap();
        let both = both.for_customer(Some("bob".to_owned())).unwrap();
        let both = shop.purchase(both).await.unwrap().id;
        let confirmed = shop.purchase(held(lamp, 3_600)).await.unwrap().id;
        shop.confirm(confirmed).await.unwrap().unwrap();
        let cancelled = shop.purchase(pieces(lamp, 1)).await.unwrap().id;
        shop.cancel(cancelled).await.unwrap().unwrap();
        let released = shop.purchase(held(lamp, 3_600)).await.unwrap().id;
        shop.cancel(released).await.unwrap().unwrap();
        let withdrawn = shop.accept(pieces(lamp, 1)).await.unwrap().id;
        shop.cancel(withdrawn).await.unwrap().unwrap();
        let failed = shop.accept(pieces(lamp, 1_000_000)).await.unwrap().id;
        let expired = shop.purchase(held(lamp, 5)).await.unwrap().id;
        let back = ReturnRequest::new(lines(lamp, 1)).unwrap();
        shop.give_back(expired, back).await.unwrap().unwrap();
        place.raw.time().advance(TimeDelta::seconds(6)).await;
        let gone = place.store.expire(None, 100, days_ago(60)).await.unwrap();
        assert_eq!(gone.orders, [expired]);
        self.ended.extend([
            both, confirmed, cancelled, released, withdrawn, failed, expired,
        ]);
        work_off(shop).await;
        let back = ReturnRequest::new(lines(lamp, 2)).unwrap();
        shop.give_back(both, back).await.unwrap().unwrap();
        work_off(shop).await;
        let attempt = format!(
            "INSERT INTO process_attempts (order_id, attempt, started_at, ended_at, error) \
             VALUES ({}, 1, {now}, {now}, 'zoe was not at home')",
            place.raw.id(self.adas.0),
            now = place.raw.now(),
        );
        place.raw.execute(&attempt).await.unwrap();
    }

    /// With a dead task, a task under a lease, a compensation that waits, a hold, no decision, and a key
    /// of today.
    async fn leave_some_open(&mut self, place: &Place, shop: &OrderService) {
        let lamp = self.lamp;
        let dead = shop.purchase(pieces(lamp, 1)).await.unwrap().id;
        let undone = shop.purchase(pieces(lamp, 1)).await.unwrap().id;
        let tasks = Arc::clone(&place.store).task_store().unwrap();
        let worker = Uuid::from_u128(1);
        let claim = Claim {
            id: Uuid::from_u128(2),
            worker_id: worker,
            max: 10,
            ahead: 10,
            delay: Duration::ZERO,
            lease: Duration::from_secs(3_600),
        };
        let claimed = tasks.claim_tasks(&claim).await.unwrap();
        assert_eq!(claimed.len(), 2);
        let died = claimed
            .iter()
            .find(|one| one.lease.order_id == dead)
            .unwrap();
        let died = died.result(worker, Duration::ZERO, AttemptOutcome::Dead("e".to_owned()));
        tasks.end_tasks(&[died], days_ago(60)).await.unwrap();
        shop.cancel(undone).await.unwrap().unwrap();
        let sold = shop.purchase(pieces(lamp, 1)).await.unwrap().id;
        let holds = shop.purchase(held(lamp, 3_600)).await.unwrap().id;
        let pending = shop.accept(pieces(lamp, 1)).await.unwrap().id;
        let withdrawn = shop.accept(pieces(lamp, 1)).await.unwrap().id;
        let today = place.today();
        let today = today.cancel_or_replay(withdrawn, Some(key("today"))).await;
        today.unwrap().unwrap();
        self.open
            .extend([dead, undone, sold, holds, pending, withdrawn]);
    }
}

fn held(product: ProductId, seconds: i64) -> OrderRequest {
    pieces(product, 2).held_for(HoldTime::new(seconds).ok())
}

/// Decides what is pending, and does the tasks of what is sold.
pub async fn work_off(shop: &OrderService) {
    let options = ProcessOptions::default().with_delay(Duration::ZERO);
    let processing = Processing::new(Arc::new(LogProcessor), options);
    let worker = shop.worker(WorkerOptions::default()).processing(processing);
    let stop = CancellationToken::new();
    let work = tokio::spawn({
        let stop = stop.clone();
        async move {
            worker.run(stop).await;
        }
    });
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let stats = shop.queue_stats().await.unwrap();
        let busy = stats.iter().map(|topic| {
            let stats = topic.stats;
            stats.waiting + stats.scheduled + stats.in_flight + stats.delayed
        });
        let query = OrderQuery {
            status: Some(OrderStatus::Success),
            ..OrderQuery::default()
        };
        let sold = shop.orders(&query).await.unwrap().items.len() as u64;
        // An order whose task is dead stays sold.
        let dead: u64 = stats.iter().map(|topic| topic.stats.dead).sum();
        if busy.sum::<u64>() == 0 && sold <= dead {
            break;
        }
        assert!(Instant::now() < limit, "not worked off");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    work.await.unwrap();
}
