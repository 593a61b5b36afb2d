//! History that ends, as an operator ends it: killed in between, and tried again.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shell;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use order_core::{
    OrderService,
    clock::{Clock, ManualClock, SystemClock},
    domain::{OrderRequest, PageRequest, PageSize, PageStart, ProductRequest, Quantity},
    store::{self, OrderQuery, Store},
    testing::PostgresServer,
};
use serde_json::json;

use shell::{command, lines};

const ORDERS: usize = 2_000;

/// A shop that was open two months ago, and whose orders all failed or were cancelled since.
async fn old_shop(url: &str) -> Arc<dyn Store> {
    let store = store::connect(url).await.unwrap();
    store.migrate().await.unwrap();
    let clock = Arc::new(ManualClock::new(SystemClock.now() - TimeDelta::days(60)));
    let shop = OrderService::builder(Arc::clone(&store)).clock(clock);
    let shop = shop.without_compaction().build();
    let lamp = ProductRequest::new("Lamp", "19.99".parse().unwrap(), 10, None).unwrap();
    let lamp = shop.create_product(lamp).await.unwrap().id;
    let one = || OrderRequest::one(lamp, Quantity::new(1).unwrap());
    let zoe = one().for_customer(Some("zoe".to_owned())).unwrap();
    let sold = shop.purchase(zoe).await.unwrap();
    shop.cancel(sold.id).await.unwrap().unwrap();
    for request in 0..6 {
        shop.purchase(one())
            .await
            .unwrap_or_else(|error| panic!("{request}: {error}"));
    }
    let many = OrderRequest::one(lamp, Quantity::new(10).unwrap());
    for accepted in shop.accept_all(vec![many; ORDERS]).await {
        accepted.unwrap();
    }
    let worker = shop.worker(order_core::WorkerOptions::default());
    let stop = order_core::CancellationToken::new();
    worker.drain(&stop).await.unwrap();
    store
}

/// The ids in the files, each as often as it is there.
fn in_files(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut ids = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".ndjson") && !name.starts_with('.') {
            let orders = lines(&fs::read(&path).unwrap());
            ids.extend(
                orders
                    .iter()
                    .map(|order| order["id"].as_str().unwrap().to_owned()),
            );
        }
    }
    ids
}

/// The ids in the database.
async fn in_database(store: &dyn Store) -> BTreeSet<String> {
    let mut query = OrderQuery {
        page: PageRequest {
            size: PageSize::new(100).unwrap(),
            start: PageStart::First,
        },
        ..OrderQuery::default()
    };
    let mut ids = BTreeSet::new();
    loop {
        let page = store.orders(&query).await.unwrap();
        ids.extend(page.items.iter().map(|order| order.id.to_string()));
        let Some(next) = page.next else {
            return ids;
        };
        query.page.start = PageStart::After(next);
    }
}

fn archive(dir: &Path, url: &str) -> Command {
    let day = (SystemClock.now() - TimeDelta::days(40))
        .format("%F")
        .to_string();
    let arguments = [
        "archive",
        "--before",
        &day,
        "--orders-per-file",
        "400",
        "--yes",
    ];
    let mut archive = command(dir, &arguments);
    archive
        .env("DATABASE_URL", url)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    archive
}

/// Killed again and again, a little later each time, until it is done: each order is in the database
/// or in a file all the time, and in the end in one of them.
async fn survives_being_killed(url: &str) {
    let store = old_shop(url).await;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let all = in_database(&*store).await;
    assert_eq!(all.len(), ORDERS + 7);
    let (mut kills, mut wait) = (0, Duration::from_millis(40));
    loop {
        let mut child = archive(dir, url).spawn().unwrap();
        let until = Instant::now() + wait;
        let ended = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if Instant::now() >= until => break None,
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        };
        if let Some(status) = ended {
            assert!(status.success(), "{status}");
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        wait += wait / 4;
        assert_eq!(store.verify().await.unwrap(), [], "after {kills} kills");
        let mut there = in_database(&*store).await;
        there.extend(in_files(&dir.join("archive")));
        assert_eq!(there, all, "after {kills} kills");
    }
    assert!(kills > 3, "killed {kills} times only");
    assert_eq!(store.verify().await.unwrap(), []);
    // Those that were sold have their tasks.
    let left = in_database(&*store).await;
    assert_eq!(left.len(), 6);
    let files = in_files(&dir.join("archive"));
    let once: BTreeSet<String> = files.iter().cloned().collect();
    assert_eq!((files.len(), once.len()), (ORDERS + 1, ORDERS + 1));
    assert!(once.is_disjoint(&left));
    eprintln!("killed {kills} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_survives_being_killed_on_postgres() {
    survives_being_killed(&PostgresServer::shared().database().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_survives_being_killed_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    survives_being_killed(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_archives_and_erases() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let url = format!("sqlite://{}", dir.join("orders.db").display());
    old_shop(&url).await;
    let run = |arguments: &[&str]| {
        command(dir, arguments)
            .env("DATABASE_URL", &url)
            .output()
            .unwrap()
    };
    let told = |arguments: &[&str]| String::from_utf8(run(arguments).stderr).unwrap();
    assert!(told(&["archive", "--before", "soon"]).contains("is neither a day"));
    let refused = told(&["archive", "--before", "2999-01-01", "--yes"]);
    assert!(refused.contains("before must be in the past"), "{refused}");
    let day = (SystemClock.now() - TimeDelta::days(20))
        .format("%F")
        .to_string();
    let refused = told(&["archive", "--before", &day, "--yes"]);
    assert!(
        refused.contains("retention of idempotency keys"),
        "{refused}"
    );
    let day = (SystemClock.now() - TimeDelta::days(40))
        .format("%F")
        .to_string();
    let asked = run(&["archive", "--before", &day]);
    assert_eq!(asked.status.code(), Some(1), "nobody was there to say yes");

    let dry = lines(&run(&["archive", "--before", &day, "--dry-run"]).stdout);
    let orders = ORDERS + 1;
    assert_eq!(dry, [json!({"orders": orders, "lines": orders})]);
    assert!(!dir.join("archive").exists());
    let erased = run(&["erase", "--customer", "zoe", "--yes"]);
    let erased = lines(&erased.stdout);
    assert_eq!(
        erased,
        [json!({"orders": 1, "archived_products": 0, "files": 0})]
    );
    let files = run(&["archive", "--before", &day, "--dir", "old", "--yes"]);
    let told = String::from_utf8_lossy(&files.stderr).into_owned();
    assert!(
        told.contains(&format!("archived {orders} orders")),
        "{told}"
    );
    let files = lines(&files.stdout);
    assert_eq!(files.len(), 1);
    assert_eq!(files[0]["orders"], orders);
    let file = dir.join("old").join(files[0]["file"].as_str().unwrap());
    assert!(!fs::read_to_string(file).unwrap().contains("zoe"));
    let verified = lines(&run(&["verify"]).stdout);
    assert_eq!(verified[0]["archived_orders"], orders);
    let audited = lines(&run(&["audit", "--action", "customer.erase"]).stdout);
    assert_eq!(audited.len(), 1);
    assert!(!audited[0].to_string().contains("zoe"));
}
