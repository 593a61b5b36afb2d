//! The shop in which contestants are measured.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use tokio::sync::Mutex;

use super::{
    contestant::{Case, Contestant},
    countdown::Countdown,
    figures::Sample,
    limit::Limit,
    shape::Shape,
};
use crate::{
    clock::{Clock, SystemClock},
    domain::{MAX_STOCK, OrderRequest, ProductId, ProductRequest},
    error::Error,
    service::OrderService,
    store::{Selection, Store, Strategy},
    worker::WorkerOptions,
};

/// The requests that are under way at once when they share groups.
const GROUPED_TASKS: usize = 512;

/// A shop to measure in.
pub struct Bench {
    store: Arc<dyn Store>,
    /// Stores by the number of transactions that they serve at once.
    sized: HashMap<usize, Arc<dyn Store>>,
    limit: Option<Limit>,
    shape: Shape,
    products: Vec<ProductId>,
    grouped: OrderService,
    /// Orders that are accepted and not decided.
    pending: Mutex<usize>,
}

impl Bench {
    /// Stocks up in `store`, which nobody else uses. With a `limit`, the bare driver can be
    /// measured, too.
    ///
    /// # Errors
    /// The store's.
    pub async fn new(
        store: Arc<dyn Store>,
        limit: Option<Limit>,
        shape: Shape,
    ) -> Result<Self, Error> {
        let grouped = OrderService::builder(Arc::clone(&store))
            .max_wait(Duration::MAX)
            .without_compaction()
            .build();
        let mut products = Vec::with_capacity(shape.products());
        for number in 0..shape.products() {
            let name = format!("Product {number}");
            let request = ProductRequest::new(name, "1".parse()?, MAX_STOCK, None)?;
            products.push(grouped.create_product(request).await?.id);
        }
        Ok(Self {
            store,
            sized: HashMap::new(),
            limit,
            shape,
            products,
            grouped,
            pending: Mutex::new(0),
        })
    }

    /// Lets whoever has `tasks` transactions at once have them over `store`: the same database
    /// through just so many connections. A pool hands out all of its connections in turn, and
    /// sessions that were not in use for a while are slower.
    #[must_use]
    pub fn with_sized(mut self, tasks: usize, store: Arc<dyn Store>) -> Self {
        self.sized.insert(tasks, store);
        self
    }

    /// The store over which `contestant` is measured.
    fn store_of(&self, contestant: Contestant) -> &Arc<dyn Store> {
        match contestant {
            Contestant::Single(_, tasks) => self.sized.get(&tasks).unwrap_or(&self.store),
            _ => &self.store,
        }
    }

    /// Measures how `contestant` serves `orders` orders. A backlog is filled up to `orders`
    /// before, unmeasured.
    ///
    /// # Errors
    /// The store's; [`Error::Invalid`] for a contestant that this database does not have.
    pub async fn measure(
        &self,
        case: Case,
        contestant: Contestant,
        orders: usize,
    ) -> Result<Sample, Error> {
        match case {
            Case::Decide => self.decide(contestant, orders).await,
            Case::Accept | Case::Purchase => self.request(case, contestant, orders).await,
        }
    }

    async fn decide(&self, contestant: Contestant, orders: usize) -> Result<Sample, Error> {
        let mut pending = self.pending.lock().await;
        self.fill(&mut pending, orders).await?;
        let options = WorkerOptions::default();
        let (strategy, tasks, batch) = match contestant {
            Contestant::Batch => (
                Strategy::Batch,
                options.max_concurrent_batches,
                options.batch_orders,
            ),
            Contestant::Sized(batch) => (Strategy::Batch, options.max_concurrent_batches, batch),
            Contestant::Single(strategy, tasks) => (strategy, tasks, 1),
            Contestant::Limit(connections) => {
                let limit = self.limit.as_ref();
                let limit = limit.ok_or_else(|| Error::invalid("contestant", "needs Postgres"))?;
                let sample = limit
                    .decide(orders, connections, options.batch_orders)
                    .await?;
                *pending -= sample.orders;
                return Ok(sample);
            }
        };
        let left = Arc::new(Countdown::new(orders));
        let start = Instant::now();
        let loops = (0..tasks).map(|_| {
            let (store, left) = (Arc::clone(self.store_of(contestant)), Arc::clone(&left));
            spawn(decide_until_none_is_left(store, strategy, batch, left))
        });
        let latencies = try_join_all(loops).await?;
        let elapsed = start.elapsed();
        *pending -= orders;
        Ok(Sample {
            orders,
            elapsed,
            latencies: latencies.concat(),
        })
    }

    /// Fills the backlog up to `orders`.
    async fn fill(&self, pending: &mut usize, orders: usize) -> Result<(), Error> {
        let missing = orders.saturating_sub(*pending);
        let requests = self.shape.orders(&self.products, missing)?;
        for result in self.grouped.accept_all(requests).await {
            result?;
            *pending += 1;
        }
        Ok(())
    }

    async fn request(
        &self,
        case: Case,
        contestant: Contestant,
        orders: usize,
    ) -> Result<Sample, Error> {
        let (service, tasks) = match contestant {
            Contestant::Batch => (self.grouped.clone(), GROUPED_TASKS),
            Contestant::Single(strategy, tasks) => {
                let builder = OrderService::builder(Arc::clone(self.store_of(contestant)));
                let builder = builder.strategy(strategy).max_wait(Duration::MAX);
                (builder.without_compaction().build(), tasks)
            }
            Contestant::Limit(_) | Contestant::Sized(_) => {
                return Err(Error::invalid("contestant", "only decides"));
            }
        };
        let requests = self.shape.orders(&self.products, orders)?;
        let share = orders.div_ceil(tasks.max(1));
        let start = Instant::now();
        let tasks = requests.chunks(share.max(1)).map(|mine| {
            let (service, mine) = (service.clone(), mine.to_vec());
            spawn(one_by_one(case, service, mine))
        });
        let latencies = try_join_all(tasks).await?;
        let elapsed = start.elapsed();
        if case == Case::Accept {
            *self.pending.lock().await += orders;
        }
        Ok(Sample {
            orders,
            elapsed,
            latencies: latencies.concat(),
        })
    }
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench")
            .field("products", &self.products.len())
            .finish_non_exhaustive()
    }
}

async fn spawn(
    work: impl Future<Output = Result<Vec<Duration>, Error>> + Send + 'static,
) -> Result<Vec<Duration>, Error> {
    tokio::spawn(work)
        .await
        .unwrap_or_else(|panic| Err(Error::backend(panic)))
}

async fn decide_until_none_is_left(
    store: Arc<dyn Store>,
    strategy: Strategy,
    batch: usize,
    left: Arc<Countdown>,
) -> Result<Vec<Duration>, Error> {
    let mut latencies = Vec::new();
    while let Some(take) = left.take(batch) {
        let start = Instant::now();
        let (pick, now) = (Selection::Oldest(take), SystemClock.now());
        let decided = store.decide(pick, strategy, now).await?.results.len();
        latencies.push(start.elapsed());
        left.give_back(take - decided);
    }
    Ok(latencies)
}

async fn one_by_one(
    case: Case,
    service: OrderService,
    requests: Vec<OrderRequest>,
) -> Result<Vec<Duration>, Error> {
    let mut latencies = Vec::with_capacity(requests.len());
    for request in requests {
        let start = Instant::now();
        match case {
            Case::Purchase => service.purchase(request).await?,
            Case::Accept | Case::Decide => service.accept(request).await?,
        };
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}
