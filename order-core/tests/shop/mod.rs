//! A shop on a private Postgres, with one product.
#![allow(dead_code)] // Each test file uses a part of it.

use std::{sync::Arc, time::Duration};

use order_core::{
    OrderService,
    clock::{Clock, SystemClock},
    domain::{IdGenerator, NewOrder, OrderId, OrderRequest, ProductId, ProductRequest, Quantity},
    store::PostgresStore,
    testing::PostgresServer,
};

pub struct Shop {
    pub url: String,
    pub store: PostgresStore,
    pub service: OrderService,
    pub ids: IdGenerator,
    pub product: ProductId,
}

pub async fn shop(stock: i64) -> Shop {
    let url = PostgresServer::shared().database().await;
    let store = PostgresStore::connect(&url).await.unwrap();
    let service = OrderService::builder(Arc::new(store.clone())).build();
    let product = ProductRequest::new("p", "1".parse().unwrap(), stock, None).unwrap();
    let product = service.create_product(product).await.unwrap().id;
    Shop {
        url,
        store,
        service,
        ids: IdGenerator::default(),
        product,
    }
}

impl Shop {
    /// One piece.
    pub fn order(&self) -> OrderRequest {
        OrderRequest::one(self.product, Quantity::new(1).unwrap())
    }

    /// The same, to be stored as it comes now.
    pub fn new_order(&self) -> NewOrder {
        let now = SystemClock.now();
        self.order()
            .into_new_order(OrderId(self.ids.next(now)), now)
    }

    /// Returns when a session waits for a lock of another.
    pub async fn somebody_waits(&self) {
        let waits = "SELECT count(*) > 0 FROM pg_locks JOIN pg_stat_activity USING (pid)
                     WHERE NOT granted AND datname = current_database()";
        while !sqlx::query_scalar::<_, bool>(waits)
            .fetch_one(self.store.pool())
            .await
            .unwrap()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
