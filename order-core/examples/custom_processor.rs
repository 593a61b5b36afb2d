//! A post-sale task of one's own: each sold order gets a licence key, and a cancelled one loses it.
//! `cargo run --example custom_processor`.

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use order_core::{
    CancellationToken, OrderService, WorkerOptions,
    domain::{OrderId, OrderRequest, OrderStatus, ProductRequest, Quantity},
    process::{OrderProcessor, ProcessError, ProcessOptions, Processing, Task},
    store,
};

/// Issues licence keys. A task may be attempted more than once, so an order that has a key
/// keeps it.
#[derive(Debug, Default)]
pub struct Licences {
    issued: Mutex<HashMap<OrderId, String>>,
}

impl Licences {
    /// The key of an order, if it has one.
    pub fn of(&self, order: OrderId) -> Option<String> {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.get(&order).cloned()
    }
}

#[async_trait]
impl OrderProcessor for Licences {
    async fn process(&self, task: &Task) -> Result<(), ProcessError> {
        let mut issued = self
            .issued
            .lock()
            .map_err(|_| ProcessError::retry("an attempt panicked"))?;
        let order = task.order.id;
        issued
            .entry(order)
            .or_insert_with(|| format!("LICENCE-{order}"));
        Ok(())
    }

    async fn compensate(&self, task: &Task) -> Result<(), ProcessError> {
        let mut issued = self
            .issued
            .lock()
            .map_err(|_| ProcessError::retry("an attempt panicked"))?;
        issued.remove(&task.order.id);
        Ok(())
    }
}

/// Sells a licence, and waits until its order is completed; gives its key.
///
/// # Errors
/// Those of the store.
pub async fn sell(database_url: &str) -> Result<Option<String>, Box<dyn Error>> {
    let store = store::connect(database_url).await?;
    store.migrate().await?;
    let shop = OrderService::builder(store).build();
    let licence = ProductRequest::new("Licence", "99".parse()?, 10, None)?;
    let licence = shop.create_product(licence).await?;

    let licences = Arc::new(Licences::default());
    let processing = Processing::new(licences.clone(), ProcessOptions::default());
    let worker = shop.worker(WorkerOptions::default()).processing(processing);
    let stop = CancellationToken::new();
    let working = tokio::spawn({
        let stop = stop.clone();
        async move { worker.run(stop).await }
    });

    let one = OrderRequest::one(licence.id, Quantity::new(1)?);
    let sold = shop.purchase(one).await?;
    while shop.order(sold.id).await?.map(|order| order.status) != Some(OrderStatus::Completed) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    working.await?;
    Ok(licences.of(sold.id))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::temp_dir().join(format!("licences-{}.db", std::process::id()));
    let key = sell(&format!("sqlite://{}", file.display())).await?;
    println!(
        "{}",
        key.unwrap_or_else(|| "no licence was issued".to_owned())
    );
    Ok(())
}
