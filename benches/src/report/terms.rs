//! What holds, limits per customer and confirmations cost, against a plain purchase: over HTTP, by
//! many clients, all of one product.

use std::{sync::Arc, time::Duration};

use order_core::{
    domain::MAX_STOCK,
    store::{Store, Strategy, connect},
    testing::PostgresServer,
};
use orders_benches::{
    holding::hold_orders,
    http::{Amount, Connection, Request, load, load_each},
    server::{ServerProcess, create},
};

use super::{Bar, Measured, Place, take_turns};

const TURN: Amount = Amount::Time(Duration::from_secs(3));
const MANY: usize = 512;
/// More than buy in a turn.
const CUSTOMERS: usize = 100_000;
/// Confirmed in a turn.
const HELD: usize = 40_000;
const PURCHASE: &str = "/api/v1/orders/purchase";

/// On Postgres.
pub async fn on_postgres(runs: usize) -> anyhow::Result<Measured> {
    let postgres = PostgresServer::start(true);
    measured("http-terms-postgres", &Place::Postgres(&postgres), runs).await
}

/// On `SQLite`.
pub async fn on_sqlite(runs: usize) -> anyhow::Result<Measured> {
    measured("http-terms-sqlite", &Place::Sqlite, runs).await
}

async fn measured(name: &str, place: &Place<'_>, runs: usize) -> anyhow::Result<Measured> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let (url, _dir) = place.url().await?;
    let server = ServerProcess::start(&url, Strategy::Batch).await?;
    let store = connect(&url).await?;
    let servers = [server.address];
    let plain = server.order(PURCHASE, 201);
    let held = format!(
        r#"{{"product_id":"{}","quantity":1,"hold_seconds":3600}}"#,
        server.product
    );
    let held = Request::post(PURCHASE, &held, 201);
    let customers = of_customers(&server).await?;
    let names = ["plain", "hold_seconds", "customer and limit", "confirm"];
    let rows = take_turns(
        names.map(str::to_owned).to_vec(),
        runs,
        async |turn| match turn {
            0 => load(&servers, &plain, MANY, TURN, 1).await,
            1 => load(&servers, &held, MANY, TURN, 1).await,
            2 => load_each(&servers, &customers, MANY, TURN, 1).await,
            _ => {
                let confirmations = confirmations(&store, &server).await?;
                let amount = Amount::Requests(confirmations.len());
                load_each(&servers, &confirmations, MANY, amount, 1).await
            }
        },
    )
    .await?;
    let mut measured = Measured::new(name, rows);
    let plain = measured.rate("plain");
    for (what, row, bar) in [
        ("with hold_seconds / plain", "hold_seconds", 0.85),
        ("with customer and limit / plain", "customer", 0.6),
        ("confirm / plain purchase", "confirm", 0.6),
    ] {
        let ratio = measured.rate(row) / plain;
        measured.claim(what, ratio, Bar::AtLeast(bar));
    }
    Ok(measured)
}

/// A purchase for each of many customers, of a product that has a limit.
async fn of_customers(server: &ServerProcess) -> anyhow::Result<Vec<Request>> {
    let mut connection = Connection::open(server.address).await?;
    let product = format!(
        r#"{{"name":"limited","price":"9.99","stock":{MAX_STOCK},"limit_per_customer":100}}"#
    );
    let product = create(&mut connection, &product).await?;
    let purchase = |customer: usize| {
        let order = format!(
            r#"{{"product_id":"{product}","quantity":1,"customer":"customer-{customer}"}}"#
        );
        Request::post(PURCHASE, &order, 201)
    };
    Ok((0..CUSTOMERS).map(purchase).collect())
}

/// A confirmation of each of many orders, which are held now.
async fn confirmations(
    store: &Arc<dyn Store>,
    server: &ServerProcess,
) -> anyhow::Result<Vec<Request>> {
    let orders = hold_orders(store, server.product.parse()?, HELD).await?;
    let confirm = |id| Request::post(&format!("/api/v1/orders/{id}/confirm"), "", 200);
    Ok(orders.into_iter().map(confirm).collect())
}
