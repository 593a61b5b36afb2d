//! A shop with a backlog, and everything that is done in it.

use std::{collections::BTreeMap, path::Path, time::Duration};

use chrono::{DateTime, Utc};
use order_core::{
    audit::{AuditQuery, AuditStore},
    clock::{Clock, SystemClock},
    domain::{
        AdjustmentId, ClientId, HoldTime, IdGenerator, IdempotencyKey, KeyId, NewOrder, NewProduct,
        OrderId, OrderRequest, OrderStatus, PageRequest, PageSize, Product, ProductChange,
        ProductId, ProductRequest, Quantity, RequestedLine, ReturnId, ReturnRequest, Sort,
        StockRequest, TimeRange,
    },
    heartbeat::{Heartbeat, WorkerCounts, WorkerStore},
    keys::{Client, KeyRequest, KeyStore, Secret},
    process::{
        AttemptOutcome, AttemptResult, Claim, Claimed, TaskKind, TaskQuery, TaskState, TaskStore,
    },
    queue::{DeadFilter, DeadLetter, DeadQuery, Lease, OrderQueue, Topic},
    stats::StatsStore,
    store::{
        OrderQuery, OrderStore, ProductQuery, ProductStore, Selection, SqliteQueue, SqliteStore,
        Strategy,
    },
};
use sqlx::{Connection, SqliteConnection};
use uuid::Uuid;

/// The client of most orders.
const CLIENT: ClientId = ClientId(Uuid::max());
/// How many orders share a transaction.
const GROUP: usize = 32;
/// How often each thing is done, so that what is counted in thousands is known well.
const ROUNDS: u64 = 10;

const LEASE: Duration = Duration::from_secs(30);

/// The steps that one round of each thing took.
pub type Costs = BTreeMap<&'static str, u64>;

pub struct Shop {
    store: SqliteStore,
    queue: SqliteQueue,
    ids: IdGenerator,
    product: ProductId,
    url: String,
    costs: Costs,
}

/// A line of one piece.
fn one_of(product_id: ProductId) -> RequestedLine {
    RequestedLine {
        product_id,
        quantity: Quantity::new(1).unwrap(),
    }
}

impl Shop {
    pub async fn new(store: SqliteStore, file: &Path) -> Self {
        let mut shop = Self {
            queue: store.queue(),
            store,
            ids: IdGenerator::default(),
            product: ProductId(Uuid::nil()),
            url: format!("sqlite://{}", file.display()),
            costs: Costs::new(),
        };
        shop.product = shop.new_product().await.id;
        shop
    }

    /// Does everything, and tells what it costs.
    pub async fn costs(&mut self) -> Costs {
        self.buy().await;
        self.do_tasks().await;
        self.wait_in_the_queue().await;
        self.cancel().await;
        self.hold().await;
        self.keep_to_limits().await;
        self.look().await;
        self.manage().await;
        std::mem::take(&mut self.costs)
    }

    async fn cost(&mut self, name: &'static str, round: impl AsyncFn(&Self)) {
        let before = self.store.steps();
        for _ in 0..ROUNDS {
            round(self).await;
        }
        let steps = (self.store.steps() - before) / ROUNDS;
        assert!(self.costs.insert(name, steps).is_none(), "{name} twice");
    }

    async fn buy(&mut self) {
        self.cost("purchase", async |shop| {
            shop.purchase(shop.group(), Strategy::Batch).await;
        })
        .await;
        self.cost("purchase by conditional update", async |shop| {
            shop.purchase(vec![shop.order()], Strategy::ConditionalUpdate)
                .await;
        })
        .await;
        self.cost("purchase with keys", async |shop| {
            let order = shop.keyed_order();
            shop.purchase(vec![order.clone()], Strategy::Batch).await;
            shop.purchase(vec![order], Strategy::Batch).await;
        })
        .await;
        for strategy in [Strategy::Batch, Strategy::ConditionalUpdate] {
            let name = match strategy {
                Strategy::ConditionalUpdate => "accept and decide by conditional update",
                _ => "accept and decide",
            };
            self.cost(name, async |shop| {
                let orders = shop.accept().await;
                let oldest = Selection::Oldest(GROUP);
                let decided = shop.store.decide(oldest, strategy, shop.now()).await;
                assert_eq!(decided.unwrap().results.len(), GROUP);
                let these = Selection::ByIds(&orders[..2]);
                let decided = shop.store.decide(these, strategy, shop.now()).await;
                assert!(decided.unwrap().results.len() <= 2);
            })
            .await;
        }
    }

    async fn do_tasks(&mut self) {
        self.cost("tasks that are done", async |shop| {
            shop.end(&shop.claim().await, AttemptOutcome::Done).await;
        })
        .await;
        self.cost("tasks that are tried again", async |shop| {
            let retry = AttemptOutcome::Retry(Duration::from_hours(1), "away".to_owned());
            shop.end(&shop.claim().await, retry).await;
        })
        .await;
        self.cost("tasks that are given up", async |shop| {
            shop.end(&shop.claim().await, AttemptOutcome::Dead("no".to_owned()))
                .await;
        })
        .await;
        self.cost("a task is asked for and looked at", async |shop| {
            let id = shop.purchase(vec![shop.order()], Strategy::Batch).await[0];
            let put = shop.store.put_task(id).await;
            assert!(put.unwrap().is_some());
            let history = shop.store.task_history(id).await;
            assert!(history.unwrap().unwrap().task.is_some());
        })
        .await;
        self.cost("heartbeats", async |shop| {
            shop.store.heartbeat(&shop.beat()).await.unwrap();
            assert_eq!(shop.store.workers().await.unwrap().len(), 1);
        })
        .await;
    }

    async fn wait_in_the_queue(&mut self) {
        let lease = LEASE;
        self.cost("entries that are consumed", async |shop| {
            let orders: Vec<OrderId> = shop.group().iter().map(NewOrder::id).collect();
            shop.queue.push(Topic::Validate, &orders).await.unwrap();
            let leases = shop.queue.claim(Topic::Validate, GROUP, lease, lease).await;
            let acked = shop.queue.ack(Topic::Validate, leases.unwrap()).await;
            assert_eq!(acked.unwrap(), GROUP);
        })
        .await;
        self.cost("entries that come back", async |shop| {
            let leases = shop.queue.claim(Topic::Validate, GROUP, lease, lease).await;
            let retried = shop.queue.retry(Topic::Validate, leases.unwrap(), lease);
            assert_eq!(retried.await.unwrap(), GROUP);
        })
        .await;
        self.cost("entries that die and are redriven", async |shop| {
            let leases = shop.queue.claim(Topic::Validate, GROUP, lease, lease).await;
            let leases = leases.unwrap();
            let orders: Vec<OrderId> = leases.iter().map(|lease| lease.order_id).collect();
            let died = shop.queue.dead_letter(Topic::Validate, leases, "no").await;
            assert_eq!(died.unwrap(), GROUP);
            let dead = shop
                .queue
                .dead(Topic::Validate, &DeadQuery::latest(GROUP))
                .await;
            assert_eq!(dead.unwrap().len(), GROUP);
            let redriven = shop.queue.redrive(Topic::Validate, &orders).await;
            assert_eq!(redriven.unwrap(), GROUP);
        })
        .await;
        self.cost("pauses", async |shop| {
            shop.queue.pause(Topic::Process).await.unwrap();
            assert!(shop.claim().await.is_empty());
            shop.queue.resume(Topic::Process).await.unwrap();
        })
        .await;
    }

    async fn cancel(&mut self) {
        self.cost("cancel", async |shop| {
            shop.cancel_one_of_many().await;
            let sold = shop.purchase(vec![shop.order()], Strategy::Batch).await[0];
            let key = shop.key();
            for _ in 0..2 {
                let cancelled = shop.store.cancel(sold, shop.now(), Some(&key)).await;
                assert!(cancelled.unwrap().is_some());
            }
            shop.give_back_some().await;
            let pending = shop.accept().await[0];
            let cancelled = shop.store.cancel(pending, shop.now(), None).await;
            assert!(cancelled.unwrap().is_some());
        })
        .await;
    }

    async fn hold(&mut self) {
        self.cost(
            "holds that are confirmed, extended and cancelled",
            async |shop| {
                let held = shop.purchase(shop.held_group(), Strategy::Batch).await;
                let confirmed = shop.store.confirm(&held[2..], shop.now()).await.unwrap();
                assert!(confirmed.iter().all(Result::is_ok));
                let longer = HoldTime::new(600).unwrap();
                assert!(shop.store.extend(held[0], longer).await.unwrap().is_some());
                for id in &held[..2] {
                    shop.store.cancel(*id, shop.now(), None).await.unwrap();
                }
                shop.give_back_held().await;
            },
        )
        .await;
        self.cost("holds that lapse", async |shop| {
            let accepted = shop.store.accept(&shop.held_group()).await.unwrap();
            let held: Vec<OrderId> = accepted.into_iter().map(|r| r.unwrap().id).collect();
            let these = Selection::ByIds(&held);
            let decided = shop.store.decide(these, Strategy::Batch, shop.now()).await;
            assert_eq!(decided.unwrap().results.len(), GROUP);
            shop.lapse(&held).await;
            let expired = shop.store.expire(None, 100, shop.now()).await.unwrap();
            assert_eq!(expired.orders.len(), GROUP);
        })
        .await;
        self.cost(
            "a hold that lapses while its stock is wanted",
            async |shop| {
                let product = shop.new_product().await;
                let few = ProductChange::default().stock(1).unwrap();
                let adjustment = AdjustmentId(shop.ids.next(shop.now()));
                let few = shop
                    .store
                    .update_product(product.id, &few, adjustment, shop.now());
                let product = few.await.unwrap().unwrap();
                let all = |hold| shop.order_of(product.id, product.stock, hold, None);
                let held = shop.purchase(vec![all(true)], Strategy::Batch).await;
                shop.lapse(&held).await;
                shop.purchase(vec![all(false)], Strategy::Batch).await;
            },
        )
        .await;
    }

    async fn keep_to_limits(&mut self) {
        let product = self.new_product().await;
        let limit = ProductChange::default().limit_per_customer(Some(2));
        let adjustment = AdjustmentId(self.ids.next(self.now()));
        let changed = self
            .store
            .update_product(product.id, &limit.unwrap(), adjustment, self.now())
            .await;
        assert!(changed.unwrap().is_some());
        self.cost("a limit per customer", async |shop| {
            let customer = shop.ids.next(shop.now()).to_string();
            for _ in 0..2 {
                let order = shop.order_of(product.id, 1, false, Some(customer.clone()));
                shop.purchase(vec![order], Strategy::Batch).await;
            }
        })
        .await;
    }

    /// Makes holds end a while ago.
    async fn lapse(&self, orders: &[OrderId]) {
        let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
        for id in orders {
            for lapse in [
                "UPDATE orders SET held_until = 1 WHERE id = $1",
                "UPDATE holds SET held_until = 1 WHERE order_id = $1",
                "UPDATE products SET lapses_at = 1
                 WHERE id IN (SELECT product_id FROM order_lines WHERE order_id = $1)",
            ] {
                let lapsed = sqlx::query(lapse).bind(id.0).execute(&mut connection);
                lapsed.await.unwrap();
            }
        }
        connection.close().await.unwrap();
    }

    fn order_of(
        &self,
        product_id: ProductId,
        pieces: i64,
        hold: bool,
        customer: Option<String>,
    ) -> NewOrder {
        let quantity = Quantity::new(pieces).unwrap();
        let hold_time = hold.then(|| HoldTime::new(60).unwrap());
        let request = OrderRequest::one(product_id, quantity).held_for(hold_time);
        let request = request.for_customer(customer).unwrap();
        request.into_new_order(OrderId(self.ids.next(self.now())), self.now())
    }

    fn held_group(&self) -> Vec<NewOrder> {
        let held = || self.order_of(self.product, 1, true, None);
        (0..GROUP).map(|_| held()).collect()
    }

    /// Whose tasks lie in one row.
    async fn cancel_one_of_many(&self) {
        let sold = self.purchase(self.group(), Strategy::Batch).await[0];
        let cancelled = self.store.cancel(sold, self.now(), None).await;
        assert!(cancelled.unwrap().is_some());
    }

    /// The history of a product's stock.
    async fn look_back(&self) {
        let page = PageRequest::default();
        let history = self.store.stock_history(self.product, &page).await;
        assert!(!history.unwrap().items.is_empty());
    }

    /// A piece of a sold order, and one of an order whose task is done.
    async fn give_back_some(&self) {
        let two = Quantity::new(2).unwrap();
        let order = || {
            let order = OrderRequest::one(self.product, two);
            order.into_new_order(OrderId(self.ids.next(self.now())), self.now())
        };
        let orders = vec![order(), order()];
        let sold = self.purchase(orders, Strategy::Batch).await;
        // Whoever lost a claim, and did the task all the same, completes the order.
        let lost = Claimed {
            lease: Lease {
                order_id: sold[1],
                attempts: 1,
                claim_id: self.ids.next(self.now()),
            },
            kind: TaskKind::Process,
            run: 1,
            order: None,
        };
        let done = lost.result(Uuid::max(), Duration::ZERO, AttemptOutcome::Done);
        assert_eq!(self.store.end_tasks(&[done], self.now()).await.unwrap(), 1);
        for id in sold {
            self.give_back_one(id, self.product).await;
        }
    }

    /// A piece of an order, of which something is left.
    async fn give_back_one(&self, id: OrderId, product_id: ProductId) {
        let request = ReturnRequest::new(vec![one_of(product_id)]).unwrap();
        let returned = ReturnId(self.ids.next(self.now()));
        let returned = request.into_return(returned, id, self.now());
        let given = self.store.give_back(&returned).await.unwrap().unwrap();
        assert!(given.order.status.holds_stock());
    }

    /// A held order of which one product comes back, and then the other.
    async fn give_back_held(&self) {
        let lines = vec![one_of(self.product), one_of(self.new_product().await.id)];
        let request = OrderRequest::new(lines.clone(), None).unwrap();
        let request = request.held_for(HoldTime::new(60).ok());
        let order = request.into_new_order(OrderId(self.ids.next(self.now())), self.now());
        let held = self.purchase(vec![order], Strategy::Batch).await[0];
        self.give_back_one(held, lines[1].product_id).await;
        self.store.cancel(held, self.now(), None).await.unwrap();
    }

    async fn look(&mut self) {
        self.cost("orders", async |shop| {
            let id = shop.purchase(vec![shop.order()], Strategy::Batch).await[0];
            assert!(shop.store.order(id).await.unwrap().is_some());
            shop.look_back().await;
            assert_eq!(shop.store.progress(&[id]).await.unwrap().len(), 1);
            let day = Duration::from_hours(24);
            for (age, found) in [(9_000 * day, 0), (300 * day, GROUP)] {
                let pending = shop.store.pending_for(age, None, GROUP).await;
                assert_eq!(pending.unwrap().len(), found);
            }
        })
        .await;
        self.look_at_lists().await;
        self.look_at_tasks().await;
        self.cost("what operators see", async |shop| {
            let window = Duration::from_mins(1);
            shop.store.counters(window).await.unwrap();
            shop.store.oldest_pending().await.unwrap();
            let newest = OrderId(shop.ids.next(shop.now()));
            shop.store.waits(newest, 1_000).await.unwrap();
            shop.store.hot_products(100, 10).await.unwrap();
        })
        .await;
        self.cost("counters are folded", async |shop| {
            let ahead = Duration::from_hours(24_000);
            shop.store.compact_counters(ahead).await.unwrap();
        })
        .await;
    }

    async fn look_at_lists(&mut self) {
        let filters = [
            (None, None, None),
            (Some(OrderStatus::Pending), None, None),
            (Some(OrderStatus::Cancelled), Some(self.product), None),
            (None, Some(self.product), None),
            (None, None, Some("reference".to_owned())),
        ];
        self.cost("lists of orders", async |shop| {
            let sorted = filters
                .iter()
                .flat_map(|filters| Sort::ALL.map(|sort| (sort, filters.clone())));
            for (sort, (status, product_id, reference)) in sorted {
                let query = OrderQuery {
                    status,
                    product_id,
                    reference,
                    sort,
                    ..OrderQuery::default()
                };
                assert!(!shop.store.orders(&query).await.unwrap().items.is_empty());
            }
            let query = OrderQuery {
                client: Some(CLIENT),
                ..OrderQuery::default()
            };
            assert!(!shop.store.orders(&query).await.unwrap().items.is_empty());
        })
        .await;
        self.cost("the audit log", async |shop| {
            let text = |text: &str| Some(text.to_owned());
            for (action, subject) in [
                (None, None),
                (text("order.cancel"), None),
                (None, text("s7")),
                (text("order.cancel"), text("s7")),
            ] {
                let query = AuditQuery {
                    action,
                    subject,
                    ..AuditQuery::default()
                };
                let page = shop.store.audit_entries(&query).await.unwrap();
                assert!(!page.items.is_empty());
            }
        })
        .await;
    }

    async fn look_at_tasks(&mut self) {
        self.cost("tasks that wait, and those given up", async |shop| {
            shop.tasks(TaskState::Waiting).await;
            shop.tasks(TaskState::Dead).await;
        })
        .await;
        self.cost("dead letters of a moment", async |shop| {
            let latest = shop.dead(&DeadQuery::latest(GROUP)).await;
            let last = latest.last().unwrap();
            let given_up = TimeRange {
                from: Some(last.dead_at),
                until: Some(shop.now()),
            };
            let filter = DeadFilter {
                given_up,
                ..DeadFilter::default()
            };
            let (after, limit) = (Some(last.place()), GROUP);
            for query in [
                DeadQuery {
                    filter: filter.clone(),
                    after: None,
                    limit,
                },
                DeadQuery {
                    filter: DeadFilter::default(),
                    after,
                    limit,
                },
            ] {
                assert!(!shop.dead(&query).await.is_empty());
            }
        })
        .await;
    }

    async fn tasks(&self, state: TaskState) {
        let (delay, limit) = (Duration::ZERO, GROUP);
        let query = TaskQuery {
            state,
            delay,
            limit,
        };
        let tasks = self.store.tasks(&query).await.unwrap();
        assert!(tasks.iter().all(|task| task.state == state));
    }

    async fn dead(&self, query: &DeadQuery) -> Vec<DeadLetter> {
        self.queue.dead(Topic::Process, query).await.unwrap()
    }

    #[allow(clippy::too_many_lines)] // Each is a thing to measure.
    async fn manage(&mut self) {
        self.cost("products", async |shop| {
            let product = shop.new_product().await;
            let sku = product.sku.clone().unwrap();
            assert!(shop.store.product(product.id).await.unwrap().is_some());
            let found = shop.store.product_with_sku(&sku).await.unwrap();
            assert_eq!(found.unwrap().id, product.id);
            for (sort, part) in [(Sort::NewestFirst, "p "), (Sort::OldestFirst, "n")] {
                let list = ProductQuery {
                    search: Some(part.to_owned()),
                    sort,
                    page: PageRequest {
                        size: PageSize::new(1).unwrap(),
                        ..PageRequest::default()
                    },
                    ..ProductQuery::default()
                };
                assert_eq!(shop.store.products(&list).await.unwrap().items.len(), 1);
            }
            let listed = ProductQuery {
                ids: Some(vec![product.id]),
                ..ProductQuery::default()
            };
            assert_eq!(shop.store.products(&listed).await.unwrap().items.len(), 1);
            let change = ProductChange::default().stock(7).unwrap();
            let (id, adjustment) = (product.id, AdjustmentId(shop.ids.next(shop.now())));
            let changed = shop
                .store
                .update_product(id, &change, adjustment, shop.now());
            assert_eq!(changed.await.unwrap().unwrap().stock, 7);
            let request = StockRequest::new(2, None).unwrap().with_key(shop.key());
            let adjustment = AdjustmentId(shop.ids.next(shop.now()));
            let adjusted = request.into_adjustment(adjustment, id, shop.now());
            assert!(shop.store.adjust_stock(&adjusted).await.unwrap().is_some());
            assert!(
                shop.store
                    .archive_product(id, &[], shop.now())
                    .await
                    .unwrap()
            );
        })
        .await;
        self.cost("an import", async |shop| shop.import().await)
            .await;
        self.cost("names that an older version wrote", async |shop| {
            let product = shop.new_product().await;
            let mut older = SqliteConnection::connect(&shop.url).await.unwrap();
            sqlx::query("UPDATE products SET name = 'Ä' WHERE id = ?1")
                .bind(product.id.0)
                .execute(&mut older)
                .await
                .unwrap();
            assert_eq!(shop.store.fold_names().await.unwrap(), 1);
        })
        .await;
        let secret = Secret::generate().unwrap();
        let request = KeyRequest::new("k", "read".parse().unwrap()).unwrap();
        let client = ClientId(self.ids.next(self.now()));
        let client = Client::new(client, client.to_string(), self.now()).unwrap();
        let id = KeyId(self.ids.next(self.now()));
        let key = request.into_hashed_key(id, &client, &secret, self.now());
        self.cost("keys", async |shop| {
            assert!(shop.store.access().await.is_ok());
            assert_eq!(shop.store.create_client(&client).await.unwrap(), client);
            assert!(!shop.store.clients().await.unwrap().is_empty());
            shop.store.create_key(&key).await.unwrap();
            assert!(!shop.store.keys().await.unwrap().is_empty());
            shop.store.note_use(&[key.key.id]).await.unwrap();
            let revoked = shop.store.revoke_key(key.key.id, shop.now()).await;
            assert!(revoked.unwrap().is_some());
        })
        .await;
    }

    async fn import(&self) {
        let new: Vec<NewProduct> = (0..GROUP).map(|_| self.unstored_product()).collect();
        let created = self.store.create_products(&new).await.unwrap();
        let created: Vec<Product> = created.into_iter().map(Result::unwrap).collect();
        let skus: Vec<String> = created.iter().filter_map(|new| new.sku.clone()).collect();
        let ids: Vec<ProductId> = created.iter().map(|new| new.id).collect();
        let named = self.store.products_named(&skus[1..], &ids[..1]).await;
        assert_eq!(named.unwrap().len(), GROUP);
        let change = ProductChange::default().stock(7).unwrap();
        let change = |id| (id, change.clone(), AdjustmentId(self.ids.next(self.now())));
        let changes: Vec<_> = ids.into_iter().map(change).collect();
        let changed = self.store.update_products(&changes, self.now()).await;
        assert!(changed.unwrap().iter().all(Result::is_ok));
    }

    /// What may count up to a limit, or reads pages by number: grows, but not past that. Or looks for
    /// a text, or for tasks of a state among all that are not due: these are as many as a worker
    /// holds, and as fail.
    pub async fn count(&self) {
        for state in [
            TaskState::Scheduled,
            TaskState::InFlight,
            TaskState::Retrying,
        ] {
            self.tasks(state).await;
        }
        for given_up in [
            TimeRange::default(),
            TimeRange {
                from: Some(DateTime::UNIX_EPOCH),
                until: Some(self.now()),
            },
        ] {
            let filter = DeadFilter {
                reason: Some("O".to_owned()),
                given_up,
            };
            let mut query = DeadQuery {
                filter: filter.clone(),
                after: None,
                limit: 1,
            };
            query.after = Some(self.dead(&query).await[0].place());
            self.dead(&query).await;
            let summary = self.queue.dead_summary(Topic::Process, &filter, 10);
            assert!(summary.await.unwrap().count > 0);
        }
        let all = DeadFilter::default();
        self.queue
            .dead_summary(Topic::Process, &all, 10)
            .await
            .unwrap();
        self.store.backlog().await.unwrap();
        self.queue.stats(Topic::Process).await.unwrap();
        let page = PageRequest::numbered(2, PageSize::default()).unwrap();
        let products = ProductQuery {
            search: None,
            page: PageRequest::numbered(2, PageSize::default()).unwrap(),
            ..ProductQuery::default()
        };
        self.store.products(&products).await.unwrap();
        for product_id in [None, Some(self.product)] {
            let query = OrderQuery {
                product_id,
                page,
                ..OrderQuery::default()
            };
            self.store.orders(&query).await.unwrap();
        }
    }

    fn now(&self) -> DateTime<Utc> {
        SystemClock.now()
    }

    fn key(&self) -> IdempotencyKey {
        let key = self.ids.next(self.now()).to_string();
        IdempotencyKey::new(Uuid::nil(), key).unwrap()
    }

    fn request(&self) -> OrderRequest {
        let line = RequestedLine {
            product_id: self.product,
            quantity: Quantity::new(1).unwrap(),
        };
        OrderRequest::new(vec![line], Some("reference".to_owned())).unwrap()
    }

    fn order(&self) -> NewOrder {
        let id = OrderId(self.ids.next(self.now()));
        let request = self.request().of_client(Some(CLIENT));
        request.into_new_order(id, self.now())
    }

    fn keyed_order(&self) -> NewOrder {
        let id = OrderId(self.ids.next(self.now()));
        self.request()
            .with_key(self.key())
            .into_new_order(id, self.now())
    }

    fn group(&self) -> Vec<NewOrder> {
        (0..GROUP).map(|_| self.order()).collect()
    }

    fn unstored_product(&self) -> NewProduct {
        let now = self.now();
        let sku = self.ids.next(now).to_string();
        let request =
            ProductRequest::new(format!("p {sku}"), "1".parse().unwrap(), 1 << 30, Some(sku));
        let adjustment = AdjustmentId(self.ids.next(now));
        let id = ProductId(self.ids.next(now));
        request.unwrap().into_new_product(id, adjustment, now)
    }

    async fn new_product(&self) -> Product {
        let product = self.unstored_product();
        self.store.create_product(&product).await.unwrap()
    }

    async fn purchase(&self, orders: Vec<NewOrder>, strategy: Strategy) -> Vec<OrderId> {
        let outcome = self.store.purchase(&orders, strategy).await.unwrap();
        outcome.results.into_iter().map(|r| r.unwrap().id).collect()
    }

    async fn accept(&self) -> Vec<OrderId> {
        let mut orders = self.group();
        orders.push(self.keyed_order());
        let accepted = self.store.accept(&orders).await.unwrap();
        accepted.into_iter().map(|r| r.unwrap().id).collect()
    }

    /// As many as a group, packed ones and entries.
    async fn claim(&self) -> Vec<Claimed> {
        let mut claimed = Vec::new();
        while claimed.len() < GROUP {
            let claim = Claim {
                id: self.ids.next(self.now()),
                worker_id: Uuid::max(),
                max: GROUP - claimed.len(),
                ahead: 0,
                delay: Duration::ZERO,
                lease: LEASE,
            };
            let more = self.store.claim_tasks(&claim).await.unwrap();
            if more.is_empty() {
                break;
            }
            claimed.extend(more);
        }
        claimed
    }

    async fn end(&self, claimed: &[Claimed], outcome: AttemptOutcome) {
        let now = self.now();
        let ended: Vec<AttemptResult> = claimed
            .iter()
            .map(|claimed| claimed.result(Uuid::max(), Duration::ZERO, outcome.clone()))
            .collect();
        assert_eq!(ended.len(), GROUP);
        self.store.end_tasks(&ended, now).await.unwrap();
    }

    fn beat(&self) -> Heartbeat {
        Heartbeat {
            id: Uuid::max(),
            host: "here".to_owned(),
            pid: 1,
            version: "0".to_owned(),
            topics: Topic::ALL.to_vec(),
            has_stopped: false,
            counts: WorkerCounts::default(),
        }
    }
}
