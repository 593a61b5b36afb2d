//! The queries of the dashboard, in a shop with five million orders.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use order_core::{
    Error, OrderService,
    bench::{Figures, Sample, Shape},
    domain::{MAX_STOCK, OrderId, OrderStatus, PageRequest, PageSize, ProductRequest},
    queue::{DeadQuery, Topic},
    stats::StatsStore,
    store::{OrderQuery, OrderStore, PostgresStore, Selection, Strategy},
    testing::PostgresServer,
};
use uuid::Uuid;

use super::{Bar, Measured, database};

/// Times that each question is asked.
const TIMES: usize = 50;
/// Orders that are accepted besides, and how many of them are decided: the rest is a backlog.
const ACCEPTED: usize = 20_000;
const DECIDED: usize = 10_000;
const BAR_MS: f64 = 50.0;

/// The questions, and what is claimed of each.
const QUESTIONS: [(&str, &str); 9] = [
    ("tallies", "tallies, worst of 50, ms"),
    ("oldest pending", "oldest pending, worst of 50, ms"),
    ("waits", "waits, worst of 50, ms"),
    ("hot products", "hot products, worst of 50, ms"),
    ("recent orders", "recent orders, worst of 50, ms"),
    (
        "recent failed orders",
        "recent failed orders, worst of 50, ms",
    ),
    ("queues", "queues, worst of 50, ms"),
    ("dead letters", "dead letters, worst of 50, ms"),
    (
        "workers, an order and its attempts",
        "workers, an order and its attempts, worst of 50, ms",
    ),
];

struct Shop {
    store: PostgresStore,
    service: OrderService,
    /// The order at the head of the backlog.
    head: OrderId,
}

/// Each question by itself, on a database that holds old orders, new ones, and a backlog.
pub async fn queries() -> anyhow::Result<Measured> {
    let postgres = PostgresServer::start(true);
    let shop = Shop::open(&postgres.database().await).await?;
    let mut rows = Vec::new();
    for (number, (name, _)) in QUESTIONS.iter().enumerate() {
        // The first of a session plans its statements.
        shop.ask(number).await?;
        let mut latencies = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let start = Instant::now();
            shop.ask(number).await?;
            latencies.push(start.elapsed());
        }
        let sample = Sample {
            orders: TIMES,
            elapsed: latencies.iter().sum(),
            latencies,
        };
        let worst = sample.latencies.iter().max().copied();
        rows.push((name, Figures::of(&[sample]), worst.unwrap_or(Duration::MAX)));
    }
    let named = rows
        .iter()
        .map(|(name, figures, _)| ((**name).to_owned(), *figures));
    let mut measured = Measured::new("dashboard-queries", named.collect());
    for ((_, claim), (_, _, worst)) in QUESTIONS.iter().zip(&rows) {
        measured.claim(claim, worst.as_secs_f64() * 1e3, Bar::AtMost(BAR_MS));
    }
    Ok(measured)
}

impl Shop {
    async fn open(url: &str) -> anyhow::Result<Self> {
        let store = database::store(url, 10).await?;
        let service = OrderService::builder(Arc::new(store.clone())).build();
        let mut products = Vec::new();
        for number in 0..100 {
            let product = ProductRequest::new(format!("{number}"), "1".parse()?, MAX_STOCK, None)?;
            products.push(service.create_product(product).await?.id);
        }
        let scarce = ProductRequest::new("scarce", "1".parse()?, 1, None)?;
        products.push(service.create_product(scarce).await?.id);
        database::fill_with_old_orders(url).await?;
        for result in service
            .accept_all(Shape::Spread(products.len()).orders(&products, ACCEPTED)?)
            .await
        {
            result?;
        }
        let at = store.counters(Duration::ZERO).await?.at;
        for _ in 0..DECIDED / 1_000 {
            let decided = store
                .decide(Selection::Oldest(1_000), Strategy::Batch, at)
                .await?;
            ensure!(decided.results.len() == 1_000, "there is a backlog");
        }
        // What years leave, and what 2 000 statements a second leave until they are folded.
        sqlx::query(
            "INSERT INTO order_counters
             SELECT extract(epoch FROM now())::bigint - n / 2000, 0, 0, 0, 0, 0, 0, 0
             FROM generate_series(1, 14000) AS n",
        )
        .execute(store.pool())
        .await?;
        let head = store
            .oldest_pending()
            .await?
            .context("there is a backlog")?;
        Ok(Self {
            store,
            service,
            head: head.id,
        })
    }

    async fn ask(&self, question: usize) -> Result<(), Error> {
        match question {
            0 => drop(self.store.counters(Duration::from_secs(300)).await?),
            1 => {
                self.store.oldest_pending().await?;
            }
            2 => {
                // Before the backlog, and after it.
                self.store.waits(self.head, 1_000).await?;
                self.store.waits(OrderId(Uuid::max()), 1_000).await?;
            }
            3 => drop(self.store.hot_products(1_000, 10).await?),
            4 => drop(self.orders(None).await?),
            5 => drop(self.orders(Some(OrderStatus::Failed)).await?),
            6 => drop(self.service.queue_stats().await?),
            7 => {
                for topic in Topic::ALL {
                    self.service
                        .dead_letters(topic, &DeadQuery::latest(50))
                        .await?;
                }
            }
            _ => {
                self.service.workers().await?;
                self.service.order(self.head).await?;
                self.service.task_history(self.head).await?;
            }
        }
        Ok(())
    }

    async fn orders(&self, status: Option<OrderStatus>) -> Result<(), Error> {
        let page = PageRequest {
            size: PageSize::new(12)?,
            ..PageRequest::default()
        };
        let query = OrderQuery {
            status,
            page,
            ..OrderQuery::default()
        };
        self.store.orders(&query).await.map(drop)
    }
}
