//! A load of many tasks that buy both ways at once, and the checks after it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    domain::{
        Order, OrderId, OrderRequest, OrderStatus, PageRequest, PageSize, PageStart, ProductId,
        ProductRequest, Quantity, RequestedLine,
    },
    error::Error,
    service::OrderService,
    store::{OrderQuery, Store},
};

/// The size of a load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Orders in all.
    pub orders: usize,
    /// Tasks that place them, each one after the other.
    pub tasks: usize,
    /// Products that they choose from.
    pub products: usize,
    /// Pieces of each product.
    pub stock: i64,
}

impl Load {
    /// 5 000 orders of 1 to 5 lines from 64 tasks for 20 products, with stock for about half.
    pub const STANDARD: Self = Self {
        orders: 5_000,
        tasks: 64,
        products: 20,
        stock: 1_100,
    };
}

/// A product that had too little, the pieces asked for, and the pieces left.
pub type Refusal = (ProductId, i64, i64);

/// A shop that takes the load: the library, or a server that is made of it.
#[async_trait]
pub trait Shop: Send + Sync {
    /// Orders in the background; panics at any error.
    async fn accept(&self, lines: Vec<RequestedLine>) -> OrderId;

    /// Buys at once; panics at any error but the refusal.
    async fn purchase(&self, lines: Vec<RequestedLine>) -> Result<OrderId, Refusal>;
}

#[async_trait]
impl Shop for OrderService {
    async fn accept(&self, lines: Vec<RequestedLine>) -> OrderId {
        let request = OrderRequest::new(lines, None).unwrap();
        Self::accept(self, request).await.unwrap().id
    }

    async fn purchase(&self, lines: Vec<RequestedLine>) -> Result<OrderId, Refusal> {
        let request = OrderRequest::new(lines, None).unwrap();
        match Self::purchase(self, request).await {
            Ok(order) => Ok(order.id),
            Err(Error::InsufficientStock {
                product_id,
                requested,
                available,
            }) => Err((product_id, requested, available)),
            Err(error) => panic!("a purchase failed: {error:?}"),
        }
    }
}

/// The responses to a load.
#[derive(Debug, Default)]
pub struct Responses {
    accepted: Vec<OrderId>,
    sold: Vec<OrderId>,
    refused: Vec<Refusal>,
}

/// Creates the products that a load asks for.
///
/// # Panics
/// When the store refuses.
pub async fn create_products(service: &OrderService, load: Load) -> Vec<ProductId> {
    let mut products = Vec::new();
    for number in 0..load.products {
        let request = ProductRequest::new(
            format!("Product {number}"),
            "1.50".parse().unwrap(),
            load.stock,
            None,
        );
        let product = service.create_product(request.unwrap()).await.unwrap();
        products.push(product.id);
    }
    products
}

/// Places the orders of a load: half of them are accepted, half are purchased, by turns through
/// each of `shops`.
///
/// # Panics
/// At any error but a refusal for lack of stock.
pub async fn place_orders(
    shops: &[Arc<dyn Shop>],
    products: &[ProductId],
    load: Load,
) -> Responses {
    let mut tasks = JoinSet::new();
    for number in 0..load.tasks {
        let shop = Arc::clone(&shops[number % shops.len()]);
        let products = products.to_vec();
        let share = load.orders / load.tasks + usize::from(number < load.orders % load.tasks);
        tasks.spawn(async move { buy(shop.as_ref(), &products, share, number as u64).await });
    }
    let mut all = Responses::default();
    while let Some(responses) = tasks.join_next().await {
        let responses = responses.unwrap();
        all.accepted.extend(responses.accepted);
        all.sold.extend(responses.sold);
        all.refused.extend(responses.refused);
    }
    all
}

async fn buy(shop: &dyn Shop, products: &[ProductId], orders: usize, seed: u64) -> Responses {
    let mut random = StdRng::seed_from_u64(seed);
    let mut responses = Responses::default();
    for _ in 0..orders {
        let lines = (0..random.random_range(1..=5))
            .map(|_| RequestedLine {
                product_id: products[random.random_range(0..products.len())],
                quantity: Quantity::new(random.random_range(1..=5)).unwrap(),
            })
            .collect();
        if random.random() {
            responses.accepted.push(shop.accept(lines).await);
            continue;
        }
        match shop.purchase(lines).await {
            Ok(id) => responses.sold.push(id),
            Err(refusal) => responses.refused.push(refusal),
        }
    }
    responses
}

/// Waits until nothing is pending.
///
/// # Panics
/// When that takes longer than `limit`.
pub async fn wait_until_decided(store: &Arc<dyn Store>, limit: Duration) {
    let deadline = Instant::now() + limit;
    let pending = OrderQuery {
        status: Some(OrderStatus::Pending),
        ..OrderQuery::default()
    };
    while !store.orders(&pending).await.unwrap().items.is_empty() {
        assert!(
            Instant::now() < deadline,
            "orders are still pending after {limit:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Checks a store after a load that nobody restocked for: the books balance, every order
/// that was promised is there and decided, none is there that was refused, stock never fell
/// below zero, and no order failed that fitted.
///
/// Stock only fell, so that an order that was refused with "`available` left" was given a number
/// between what was left at the end and what there was at first, and less than it asked for.
///
/// # Panics
/// When it does not hold.
pub async fn check(
    store: &Arc<dyn Store>,
    products: &[ProductId],
    load: Load,
    responses: &Responses,
) {
    assert_eq!(store.verify().await.unwrap(), [], "the books balance");
    let mut left = HashMap::new();
    for id in products {
        let stock = store.product(*id).await.unwrap().unwrap().stock;
        assert!((0..=load.stock).contains(&stock), "{id} has {stock} left");
        left.insert(*id, stock);
    }
    let orders = all_orders(store).await;
    assert_eq!(
        orders.len(),
        responses.accepted.len() + responses.sold.len()
    );
    for id in &responses.sold {
        assert!(orders[id].status.holds_stock(), "{id} was sold");
    }
    let mut refused = responses.refused.clone();
    for id in &responses.accepted {
        let order = &orders[id];
        match (order.status, order.failure) {
            (OrderStatus::Success | OrderStatus::Completed, None) => {}
            (OrderStatus::Failed, Some(f)) => {
                refused.push((f.product_id, f.requested, f.available));
            }
            _ => panic!("{order:?} is not decided"),
        }
    }
    for (product_id, requested, available) in &refused {
        assert!(
            available < requested && (left[product_id]..=load.stock).contains(available),
            "{requested} of {product_id} failed with {available} left, {} at the end",
            left[product_id]
        );
    }
    let share = refused.len() * 100 / load.orders;
    assert!(
        (20..=80).contains(&share),
        "{share} % failed: the load is no test"
    );
}

/// Every order of the store, by the pages of the list.
async fn all_orders(store: &Arc<dyn Store>) -> HashMap<OrderId, Order> {
    let mut orders = HashMap::new();
    let mut start = PageStart::First;
    loop {
        let query = OrderQuery {
            page: PageRequest {
                size: PageSize::new(100).unwrap(),
                start,
            },
            ..OrderQuery::default()
        };
        let page = store.orders(&query).await.unwrap();
        orders.extend(page.items.into_iter().map(|order| (order.id, order)));
        match page.next {
            Some(id) => start = PageStart::After(id),
            None => return orders,
        }
    }
}
