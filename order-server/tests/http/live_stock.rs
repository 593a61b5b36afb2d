//! Watching products live: price, stock and window, as they change.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, future::join_all, stream};
use order_server::config::HttpLimits;
use serde_json::{Value, json};

use crate::shop::{Shop, events::Events, on_each_store};

const NOBODY: &str = "/products/01900000-0000-7000-8000-000000000000/events";
/// Looks in a second, and events of a product.
const A_SECOND: u128 = 5;

async fn watch(shop: &Shop, product: &str, seen: Option<&str>) -> Events {
    Events::open(shop, &format!("/products/{product}/events"), seen).await
}

async fn patch(shop: &Shop, product: &str, change: &Value) {
    let path = format!("/products/{product}");
    let changed = shop.send("PATCH", &path, &[], Some(change)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
}

async fn buy(shop: &Shop, product: &str) {
    let order = json!({"product_id": product, "quantity": 1});
    let bought = shop.post("/orders/purchase", &order).await;
    assert_eq!(bought.status, 201, "{}", bought.body);
}

/// Says that the event tells the product as it is.
async fn tells_what_is(shop: &Shop, product: &str, event: Option<(String, Value)>) {
    let (id, told) = event.unwrap();
    let product = shop.get(&format!("/products/{product}")).await.body;
    assert_eq!(id, product["version"].to_string());
    for (field, value) in told.as_object().unwrap() {
        assert_eq!(*value, product[field], "{field} in {told}");
    }
    for field in ["price", "stock", "on_sale_from", "on_sale_until", "version"] {
        assert!(told.get(field).is_some(), "no {field} in {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_watched_until_it_is_archived() {
    on_each_store(async |shop| {
        let product = shop.product("p", 5).await;
        let mut events = watch(shop, &product, None).await;
        tells_what_is(shop, &product, events.next().await).await;
        for change in [
            json!({"price": "9.99"}),
            json!({"stock": 50}),
            json!({"on_sale_until": "2998-01-01T00:00:00Z"}),
            json!({"limit_per_customer": 2}),
            json!({"limit_per_customer": null}),
        ] {
            patch(shop, &product, &change).await;
            let (id, told) = events.next().await.unwrap();
            let field = change.as_object().unwrap().keys().next().unwrap();
            let said = told[field]
                .as_str()
                .unwrap_or_default()
                .replace(".000000", "");
            assert!(
                told[field] == change[field] || json!(said) == change[field],
                "{change}: {told}"
            );
            tells_what_is(shop, &product, Some((id, told))).await;
        }
        buy(shop, &product).await;
        let (seen, told) = events.next().await.unwrap();
        assert_eq!(told["stock"], 49);
        drop(events);

        // One that comes back gets what it has not seen.
        let mut same = watch(shop, &product, Some(&seen)).await;
        let mut older = watch(shop, &product, Some("1")).await;
        let mut nonsense = watch(shop, &product, Some("pending")).await;
        let mut later = watch(shop, &product, Some("1000000")).await;
        for events in [&mut older, &mut nonsense, &mut later] {
            assert_eq!(events.next().await.unwrap(), (seen.clone(), told.clone()));
        }
        buy(shop, &product).await;
        for events in [&mut same, &mut older, &mut nonsense, &mut later] {
            assert_eq!(events.next().await.unwrap().1["stock"], 48);
        }
        let path = format!("/products/{product}");
        assert_eq!(shop.send("DELETE", &path, &[], None).await.status, 204);
        for mut events in [same, older, nonsense, later] {
            assert_eq!(events.next().await, None, "it is archived");
        }
        for gone in [&format!("{path}/events"), NOBODY] {
            let gone = shop.get(gone).await;
            assert_eq!(gone.status, 404);
            gone.is_problem("product_not_found");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rush_is_told_five_times_a_second() {
    on_each_store(async |shop| {
        let product = shop.product("p", 400).await;
        let (start, mut events) = (Instant::now(), watch(shop, &product, None).await);
        let rush = async {
            for _ in 0..20 {
                join_all((0..20).map(|_| buy(shop, &product))).await;
            }
        };
        let told = async {
            let (mut versions, mut stock) = (Vec::new(), 400);
            while stock > 0 {
                let (id, data) = events.next().await.unwrap();
                versions.push(id.parse::<i64>().unwrap());
                stock = data["stock"].as_i64().unwrap();
            }
            versions
        };
        let (told, ()) = tokio::join!(told, rush);
        let took = start.elapsed().as_millis();
        assert!(told.is_sorted_by(|one, next| one < next), "{told:?}");
        let most = 1 + took * A_SECOND / 1_000;
        assert!(told.len() as u128 <= most, "{} in {took} ms", told.len());
    })
    .await;
}

/// How many watch, and the time in which 99 of 100 hear of a sale; `SOAK_WATCHERS` makes them more,
/// and has the machine for itself.
fn watchers() -> (usize, Duration) {
    match std::env::var("SOAK_WATCHERS") {
        Ok(watchers) => (watchers.parse().unwrap(), Duration::from_millis(500)),
        Err(_) => (500, Duration::from_secs(5)),
    }
}

/// Hundreds watch ten products for the queries that one costs, and hear in time of what was sold.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_watches_at_the_cost_of_one() {
    // Each is a connection with two ends.
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let (watchers, limit) = watchers();
    on_each_store(async |shop| {
        let mut products = Vec::new();
        for number in 0..10 {
            products.push(shop.product(&format!("p{number}"), 5).await);
        }
        let open = (0..watchers).map(async |number: usize| {
            let mut events = watch(shop, &products[number % 10], None).await;
            assert_eq!(events.next().await.unwrap().1["stock"], 5);
            events
        });
        let opened: Vec<Events> = stream::iter(open).buffered(32).collect().await;
        let (start, before) = (Instant::now(), shop.service.watch_stats());
        assert_eq!(before.products, 10);
        let told = join_all(opened.into_iter().map(async |mut events| {
            assert_eq!(events.next().await.unwrap().1["stock"], 4);
            (events, Instant::now())
        }));
        let sold = join_all(products.iter().map(async |product| {
            buy(shop, product).await;
            Instant::now()
        }));
        let (told, sold) = tokio::join!(told, sold);
        let took = start.elapsed().as_millis();
        let queries = shop.service.watch_stats().product_queries - before.product_queries;
        let most = 1 + took * A_SECOND / 1_000;
        assert!(u128::from(queries) <= most, "{queries} in {took} ms");
        let (streams, heard): (Vec<Events>, Vec<Instant>) = told.into_iter().unzip();
        let heard = heard.iter().enumerate();
        let delays = heard.map(|(number, at)| at.saturating_duration_since(sold[number % 10]));
        let mut delays: Vec<Duration> = delays.collect();
        delays.sort_unstable();
        let p99 = delays[watchers * 99 / 100];
        eprintln!("{watchers} heard within {p99:?} at p99, for {queries} queries");
        assert!(p99 < limit, "{p99:?} at p99");
        drop(streams);
        let start = Instant::now();
        while shop.service.watch_stats().products > 0 {
            assert!(start.elapsed().as_secs() < 30, "nobody watches any more");
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// It takes turns with the streams of orders.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_too_many_ends_the_quietest_one() {
    let limits = HttpLimits {
        max_streams_per_key: 2,
        ..HttpLimits::default()
    };
    let (shop, _dir) = Shop::open_on_sqlite(limits).await;
    let product = shop.product("p", 5).await;
    let order = json!({"product_id": product, "quantity": 1, "hold_seconds": 600});
    let order = shop.post("/orders/purchase", &order).await.body["id"].clone();
    let path = format!("/orders/{}/events", order.as_str().unwrap());
    let mut first = Events::open(&shop, &path, None).await;
    assert_eq!(first.next().await.unwrap().0, "held");
    let mut second = watch(&shop, &product, None).await;
    assert_eq!(second.next().await.unwrap().1["stock"], 4);
    let mut third = watch(&shop, &product, None).await;
    assert_eq!(first.next().await, None);
    assert_eq!(third.next().await.unwrap().1["stock"], 4);
    buy(&shop, &product).await;
    for events in [&mut second, &mut third] {
        assert_eq!(events.next().await.unwrap().1["stock"], 3);
    }
    shop.close().await;
    for mut events in [second, third] {
        assert_eq!(events.next().await, None, "it ends with the server");
    }
}
