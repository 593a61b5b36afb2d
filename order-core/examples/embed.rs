//! Sells the last lamp, once, from inside another program: `cargo run --example embed`.

use std::error::Error;

use order_core::{
    CancellationToken, OrderService, WorkerOptions,
    domain::{OrderRequest, ProductRequest, Quantity},
    store,
    worker::DecisionCounts,
};

/// Sells one of two lamps at once, and lets two customers wait for the other.
///
/// # Errors
/// Those of the store.
pub async fn sell(database_url: &str) -> Result<DecisionCounts, Box<dyn Error>> {
    let store = store::connect(database_url).await?;
    store.migrate().await?;
    let shop = OrderService::builder(store).build();

    let lamp = ProductRequest::new("Lamp", "19.99".parse()?, 2, None)?;
    let lamp = shop.create_product(lamp).await?;
    let one = OrderRequest::one(lamp.id, Quantity::new(1)?);

    let bought = shop.purchase(one.clone()).await?;
    println!("at once: {} for {}", bought.status, bought.total_price);
    let last = shop.accept(one.clone()).await?;
    let late = shop.accept(one).await?;
    let worker = shop.worker(WorkerOptions::default());
    let decided = worker.drain(&CancellationToken::new()).await?;
    println!("later: {} sold, {} failed", decided.sold, decided.failed);
    for id in [last.id, late.id] {
        println!("{id}: {:?}", shop.order(id).await?.map(|o| o.status));
    }
    Ok(decided)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::temp_dir().join(format!("embed-{}.db", std::process::id()));
    sell(&format!("sqlite://{}", file.display())).await?;
    Ok(())
}
