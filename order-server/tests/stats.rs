//! Figures for operators, and what a key allows.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shop;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shop::{Shop, on_each_store};

/// The figures, once they tell of so many accepted orders, none of them pending.
async fn stats(shop: &Shop, accepted: u64) -> Value {
    let start = Instant::now();
    loop {
        let stats = shop.get("/stats").await;
        assert_eq!(stats.status, 200, "{}", stats.body);
        let totals = &stats.body["totals"];
        if totals["accepted"] == accepted && totals["pending"] == 0 {
            return stats.body;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{totals}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn sum(series: &Value) -> u64 {
    let counts = series.as_array().unwrap();
    assert_eq!(counts.len(), 300, "five minutes, second by second");
    counts.iter().map(|count| count.as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_tell_what_was_sold() {
    on_each_store(async |shop| {
        let empty = stats(shop, 0).await;
        assert_eq!(empty["oldest_pending_age_seconds"], Value::Null);
        assert_eq!(empty["wait"], Value::Null);
        assert_eq!(empty["hot_products"], json!([]));
        let lamp = shop.product("Lamp", 10).await;
        let chair = shop.product("Chair", 10).await;
        let order = |product: &str, quantity| json!({"product_id": product, "quantity": quantity});
        let mut ids = Vec::new();
        for _ in 0..3 {
            let accepted = shop.post("/orders", &order(&lamp, 2)).await;
            ids.push(shop.decided(&accepted).await["id"].clone());
        }
        let failed = shop.post("/orders", &order(&lamp, 5)).await;
        assert_eq!(shop.decided(&failed).await["status"], "failed");
        let bought = shop.post("/orders/purchase", &order(&chair, 1)).await;
        assert_eq!(bought.status, 201);
        let cancel = format!("/orders/{}/cancel", ids[0].as_str().unwrap());
        assert_eq!(shop.post(&cancel, &json!({})).await.status, 200);

        let told = stats(shop, 5).await;
        assert_eq!(
            told["totals"],
            json!({"pending": 0, "held": 0, "success": 3, "failed": 1, "expired": 0,
                   "cancelled": 1, "completed": 0, "accepted": 5, "sold": 4})
        );
        assert_eq!(told["oldest_pending_age_seconds"], Value::Null);
        let wait = &told["wait"];
        assert_eq!(wait["orders"], 4, "a purchase does not wait: {wait}");
        let [p50, p99] = ["p50_seconds", "p99_seconds"].map(|p| wait[p].as_f64().unwrap());
        assert!(0.0 <= p50 && p50 <= p99 && p99 < 5.0, "{wait}");
        let hot: Vec<_> = told["hot_products"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hot| {
                (
                    hot["name"].clone(),
                    hot["wanted"].clone(),
                    hot["stock"].clone(),
                )
            })
            .collect();
        let expected = [("Lamp", 11, 6), ("Chair", 1, 9)];
        assert_eq!(
            hot,
            expected.map(|(name, wanted, stock)| (json!(name), json!(wanted), json!(stock)))
        );
    })
    .await;
}

/// The second that is not over is not told yet.
#[tokio::test(flavor = "multi_thread")]
async fn seconds_are_told_when_they_are_over() {
    on_each_store(async |shop| {
        let lamp = shop.product("Lamp", 10).await;
        let order = json!({"product_id": lamp, "quantity": 1});
        for _ in 0..5 {
            shop.decided(&shop.post("/orders", &order).await).await;
        }
        shop.post("/orders/purchase", &order).await;
        let start = Instant::now();
        let told = loop {
            let told = stats(shop, 6).await;
            if sum(&told["series"]["sold"]) == 6 {
                break told;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{told}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(sum(&told["series"]["accepted"]), 6);
        assert_eq!(sum(&told["series"]["failed"]), 0);
        let waits = |name| {
            let waits = told["series"][name].as_array().unwrap();
            waits.iter().filter_map(Value::as_f64).collect::<Vec<f64>>()
        };
        let (mean, longest) = (waits("mean_wait_seconds"), waits("longest_wait_seconds"));
        assert!(!mean.is_empty(), "somebody had waited");
        assert!(
            mean.iter()
                .zip(&longest)
                .all(|(mean, longest)| mean <= longest)
        );
        assert_eq!(mean.len(), longest.len());
    })
    .await;
}

/// The sum of a series, and its last value.
fn told(history: &Value, name: &str) -> (u64, u64) {
    let counts = history[name].as_array().unwrap().iter();
    let counts: Vec<u64> = counts.map(|count| count.as_u64().unwrap()).collect();
    (counts.iter().sum(), *counts.last().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_over_time_add_up_in_every_range() {
    on_each_store(async |shop| {
        let lamp = shop.product("Lamp", 4).await;
        let order = json!({"product_id": lamp, "quantity": 1});
        for status in [201, 201, 201, 201, 409, 409] {
            assert_eq!(shop.post("/orders/purchase", &order).await.status, status);
        }
        assert_eq!(shop.get("/orders/nonsense").await.status, 400);
        // Until the second in which that was is over.
        let start = Instant::now();
        let path = |what: &str, range: &str| format!("/stats/{what}?range={range}");
        while told(&shop.get(&path("history", "5m")).await.body, "sold").0 < 4 {
            assert!(start.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for (range, step, count) in [
            ("5m", 1, 300),
            ("1h", 60, 60),
            ("24h", 900, 96),
            ("30d", 21_600, 120),
        ] {
            let history = shop.get(&path("history", range)).await.body;
            assert_eq!(history["step_seconds"], step, "{range}");
            let steps = history["from"]
                .as_str()
                .unwrap()
                .parse::<chrono::DateTime<chrono::Utc>>();
            assert_eq!(steps.unwrap().timestamp() % step, 0, "{range}");
            assert_eq!(history["sold"].as_array().unwrap().len(), count, "{range}");
            assert_eq!(told(&history, "sold").0, 4, "{range}");
            // The last values are those of now.
            assert_eq!(told(&history, "unprocessed").1, 4, "{range}");
            assert_eq!(history["unprocessed"][0], 0, "{range}");
            let requests = shop.get(&path("requests", range)).await.body;
            assert_eq!(
                requests["requests"].as_array().unwrap().len(),
                count,
                "{range}"
            );
        }
        let requests = shop.get(&path("requests", "5m")).await.body;
        // Other tests of this program count into the same process.
        assert!(told(&requests, "requests").0 >= 8, "{requests}");
        assert!(
            told(&requests, "conflicts").0 >= 2,
            "a sell-out is no error: {requests}"
        );
        assert!(told(&requests, "refused").0 >= 1, "{requests}");
        assert_eq!(told(&requests, "failed").0, 0);
        let times = |name: &str| {
            requests[name]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_f64)
        };
        let pairs: Vec<_> = times("p50_seconds").zip(times("p99_seconds")).collect();
        assert!(!pairs.is_empty() && pairs.iter().all(|(p50, p99)| 0.0 < *p50 && p50 <= p99));
        assert_eq!(shop.get("/stats/history?range=1y").await.status, 422);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_anybody_may_do_everything() {
    on_each_store(async |shop| {
        let access = shop.get("/access").await;
        let all = ["read", "orders", "products", "metrics", "operate", "admin"];
        let all = json!({"key": null, "client": null, "scopes": all});
        assert_eq!((access.status, access.body), (200, all));
    })
    .await;
}
