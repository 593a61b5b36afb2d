//! Sells the last lamp, once, from inside another program: `cargo run --example embed`.
use order_core::{
    OrderService, WorkerOptions,
    domain::{OrderRequest, ProductRequest, Quantity},
    store,
};

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
    let (last, late) = (shop.accept(one.clone()).await?, shop.accept(one).await?);
    let decided = shop
        .worker(WorkerOptions::default())
        .drain(&Default::default())
        .await?;
    println!(
        "in the background: {} sold, {} failed",
        decided.sold, decided.failed
    );
    let late = shop.order(late.id).await?.and_then(|order| order.failure);
    println!(
        "{} was the last; the late one: {:?}",
        last.id,
        late.map(|f| f.code)
    );
    Ok(())
}
