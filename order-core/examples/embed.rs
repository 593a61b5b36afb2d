//! Sells the last lamp, once, from inside another program: `cargo run --example embed`.
use order_core::domain::{OrderRequest, ProductRequest, Quantity};
use order_core::{OrderService, WorkerOptions, store};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::temp_dir().join(format!("embed-{}.db", std::process::id()));
    let store = store::connect(&format!("sqlite://{}", file.display())).await?;
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
    let decided = worker.drain(&Default::default()).await?;
    println!("later: {} sold, {} failed", decided.sold, decided.failed);
    for id in [last.id, late.id] {
        println!("{id}: {:?}", shop.order(id).await?.map(|o| o.status));
    }
    Ok(())
}
