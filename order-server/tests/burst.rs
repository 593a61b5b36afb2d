//! After a burst, on `SQLite` and with the defaults: what follows the sales is done soon, and
//! whoever buys meanwhile hardly notices.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod program;

use std::time::{Duration, Instant};

use program::Program;
use serde_json::{Value, json};

/// How many tasks wait at once.
const BURST: usize = 4_000;
/// How long they may take, by a program that is not optimized.
const DRAIN_LIMIT: Duration = Duration::from_secs(15);
/// How long a task waits after its sale.
const DELAY: Duration = Duration::from_secs(2);
const IDLE_PURCHASES: usize = 150;
/// What a machine that has more to do may take on top.
const HICCUP: Duration = Duration::from_millis(20);

/// How many tasks are not done.
async fn tasks(server: &Program) -> u64 {
    let queue = server.get("/queue").await.body;
    let topics = queue["topics"].as_array().unwrap();
    let tasks = topics.iter().find(|topic| topic["topic"] == "process");
    let count = |what: &str| tasks.unwrap()[what].as_u64().unwrap();
    count("waiting") + count("scheduled") + count("in_flight") + count("delayed")
}

async fn buy(server: &Program, product: &Value) -> Duration {
    let sold = server.buy(product).await;
    assert_eq!(sold.status, 201, "{sold:?}");
    sold.took
}

/// The middle, and what one of a hundred takes longer than.
fn percentiles(mut took: Vec<Duration>) -> (Duration, Duration) {
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() * 99 / 100])
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_wait_are_done_soon_and_a_lone_client_hardly_notices() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start(dir.path()).await;
    let product = server.product(1_000_000).await;

    let mut idle = Vec::new();
    for _ in 0..IDLE_PURCHASES {
        idle.push(buy(&server, &product).await);
    }
    let (idle_half, idle_most) = percentiles(idle);

    let orders = vec![json!({"product_id": product, "quantity": 1}); BURST];
    let bulk = json!({ "orders": orders });
    assert_eq!(server.post("/orders/bulk", &bulk).await.status, 202);
    // Tasks wait for two seconds, so that all of them wait at once.
    let start = Instant::now();
    while tasks(&server).await < BURST as u64 {
        assert!(start.elapsed() < Duration::from_secs(10), "not all decided");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let (start, mut busy, mut bought_at) = (Instant::now(), Vec::new(), Vec::new());
    loop {
        // What this client bought lately waits, too: for its delay, and a moment more.
        let lately = |at: &&Instant| at.elapsed() < 2 * DELAY;
        let own = bought_at.iter().rev().take_while(lately).count();
        let waiting = tasks(&server).await;
        if waiting <= (own + BURST / 20) as u64 {
            break;
        }
        let took = start.elapsed();
        assert!(
            took < DRAIN_LIMIT,
            "{waiting} tasks wait, {own} of them new"
        );
        for _ in 0..20 {
            busy.push(buy(&server, &product).await);
            bought_at.push(Instant::now());
        }
    }
    let drained = start.elapsed();
    let purchases = busy.len();
    let (half, most) = percentiles(busy);
    let told = format!(
        "idle {idle_half:?} and {idle_most:?}; {purchases} purchases meanwhile {half:?} and \
         {most:?}; drained in {drained:?}"
    );
    assert!(half <= idle_half * 2 + HICCUP / 4, "half of {told}");
    assert!(most <= idle_most * 4 + HICCUP, "one of a hundred of {told}");
    println!("{told}");
}
