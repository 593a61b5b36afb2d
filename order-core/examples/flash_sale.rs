//! A crowd on one product: 2 000 customers want one of 500 lamps, all at once.
//! `cargo run --release --example flash_sale`.

use std::{error::Error, sync::Arc, time::Instant};

use comfy_table::Table;
use indicatif::ProgressBar;
use order_core::{
    Error as OrderError, OrderService,
    domain::{OrderRequest, ProductRequest, Quantity},
    store,
};
use tokio::task::JoinSet;

const CUSTOMERS: usize = 2_000;
const LAMPS: i64 = 500;

/// The results of a sale.
#[derive(Debug, Default)]
pub struct Results {
    /// The orders that were sold.
    pub sold: usize,
    /// The customers who came too late.
    pub sold_out: usize,
    /// The lamps that the store still has.
    pub left: i64,
}

/// Sells the lamps, and counts.
///
/// # Errors
/// Those of the store.
pub async fn sell(database_url: &str) -> Result<Results, Box<dyn Error>> {
    let store = store::connect(database_url).await?;
    store.migrate().await?;
    let shop = Arc::new(OrderService::builder(store).build());
    let lamp = ProductRequest::new("Lamp", "19.99".parse()?, LAMPS, None)?;
    let lamp = shop.create_product(lamp).await?;
    let order = OrderRequest::one(lamp.id, Quantity::new(1)?);

    let mut customers = JoinSet::new();
    for _ in 0..CUSTOMERS {
        let (shop, order) = (Arc::clone(&shop), order.clone());
        customers.spawn(async move { shop.purchase(order).await });
    }
    let served = ProgressBar::new(CUSTOMERS as u64);
    let mut results = Results::default();
    while let Some(purchase) = customers.join_next().await {
        served.inc(1);
        match purchase? {
            Ok(_) => results.sold += 1,
            Err(OrderError::InsufficientStock { .. }) => results.sold_out += 1,
            Err(error) => return Err(error.into()),
        }
    }
    served.finish_and_clear();
    results.left = shop.product(lamp.id).await?.map_or(0, |lamp| lamp.stock);
    assert!(shop.verify().await?.is_empty(), "the books balance");
    Ok(results)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::temp_dir().join(format!("flash-sale-{}.db", std::process::id()));
    let start = Instant::now();
    let results = sell(&format!("sqlite://{}", file.display())).await?;
    let seconds = start.elapsed().as_secs_f64();

    let mut table = Table::new();
    table.set_header(["customers", "sold", "sold out", "left", "seconds"]);
    table.add_row([
        CUSTOMERS.to_string(),
        results.sold.to_string(),
        results.sold_out.to_string(),
        results.left.to_string(),
        format!("{seconds:.2}"),
    ]);
    println!("{table}");
    Ok(())
}
