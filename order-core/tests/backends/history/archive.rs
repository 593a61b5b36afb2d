//! Archiving, as whoever runs it sees it.

use std::{collections::BTreeSet, fs, sync::Arc};

use order_core::{
    Error, OrderService,
    audit::AuditQuery,
    domain::{OrderId, OrderStatus, PageRequest, PageSize, StockEntryKind},
    history::ArchiveOptions,
    store::{OrderQuery, Store},
    verify::{Check, VerifyOptions},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::shop::{OldShop, Place, archived, days_ago, files, key, pieces, work_off};

/// The history of the stock of each product: its kinds, and the sum of all.
async fn history(place: &Place, old: &OldShop) -> Vec<(usize, i64)> {
    let page = PageRequest {
        size: PageSize::new(100).unwrap(),
        ..PageRequest::default()
    };
    let mut sums = Vec::new();
    for product in [old.lamp, old.ticket] {
        let page = place.store.stock_history(product, &page).await.unwrap();
        let archive = |kind: StockEntryKind| usize::from(kind == StockEntryKind::Archive);
        let archives = page.items.iter().map(|entry| archive(entry.kind)).sum();
        sums.push((archives, page.items.iter().map(|entry| entry.delta).sum()));
    }
    sums
}

async fn stock(shop: &OrderService, old: &OldShop) -> Vec<i64> {
    let mut all = Vec::new();
    for product in [old.lamp, old.ticket] {
        all.push(shop.product(product).await.unwrap().unwrap().stock);
    }
    all
}

/// The files have these orders, once each, and are as their manifests say.
fn has(place: &Place, orders: &BTreeSet<OrderId>) {
    let lines = archived(&place.archive());
    let id = |line: &Value| OrderId(line["id"].as_str().unwrap().parse().unwrap());
    let ids: Vec<OrderId> = lines.iter().map(id).collect();
    assert_eq!(ids, orders.iter().copied().collect::<Vec<_>>());
    let manifests = files(&place.archive(), ".manifest.json");
    assert_eq!(manifests.len(), orders.len().div_ceil(3));
    for (at, (name, manifest)) in manifests.iter().enumerate() {
        let manifest: Value = serde_json::from_str(manifest).unwrap();
        let file = manifest["file"].as_str().unwrap();
        assert_eq!(
            name.strip_suffix(".manifest.json"),
            file.strip_suffix(".ndjson")
        );
        let contents = fs::read(place.archive().join(file)).unwrap();
        let digest: [u8; 32] = Sha256::digest(&contents).into();
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(manifest["sha256"], digest);
        assert_eq!(manifest["bytes"], contents.len());
        let own = &lines[at * 3..lines.len().min(at * 3 + 3)];
        assert_eq!(manifest["orders"], own.len());
        assert_eq!(manifest["first_id"], own[0]["id"]);
        let pieces = |line: &Value| line["quantity"].as_i64().unwrap();
        let of =
            |order: &Value| -> i64 { order["lines"].as_array().unwrap().iter().map(pieces).sum() };
        let products = manifest["products"].as_array().unwrap();
        let told: i64 = products.iter().map(pieces).sum();
        assert_eq!(told, own.iter().map(of).sum::<i64>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_leaves_and_the_books_go_on_balancing() {
    for place in Place::each().await {
        let old = OldShop::new(&place).await;
        let shop = place.today();
        let totals = shop.stats().await.unwrap().counters.totals;
        let (stocks, before) = (stock(&shop, &old).await, history(&place, &old).await);
        assert_eq!(before, [(0, stocks[0]), (0, stocks[1])]);

        let options = place.options();
        let dry = ArchiveOptions {
            is_dry_run: true,
            ..options.clone()
        };
        let counted = shop.archive(dry).await.unwrap();
        assert_eq!(counted.orders, old.ended.len() as u64);
        assert!(!place.archive().exists());
        assert_eq!(place.stored().await.len(), old.ended.len() + old.open.len());

        let done = shop.archive(options.clone()).await.unwrap();
        assert_eq!((done.orders, done.lines), (counted.orders, counted.lines));
        assert_eq!(place.stored().await, old.open);
        has(&place, &old.ended);
        let verified = place.store.verify_with(&VerifyOptions::default()).await;
        let verified = verified.unwrap();
        assert_eq!(verified.discrepancies, []);
        assert_eq!(verified.verified.archived_orders, old.ended.len() as u64);
        assert_eq!(shop.stats().await.unwrap().counters.totals, totals);
        assert_eq!(stock(&shop, &old).await, stocks);
        let after = history(&place, &old).await;
        assert_eq!(after, [(1, stocks[0]), (1, stocks[1])]);
        tells_all(&place, &old);
        is_forgotten(&place, &shop, &old).await;

        // Nothing is left to do.
        let contents = files(&place.archive(), "");
        let again = shop.archive(options).await.unwrap();
        assert_eq!((again.orders, again.files.len()), (0, 0));
        assert_eq!(files(&place.archive(), ""), contents);
        assert_eq!(place.store.verify().await.unwrap(), []);
    }
}

/// A line tells what the API told, and what else was the order's.
fn tells_all(place: &Place, old: &OldShop) {
    let lines = archived(&place.archive());
    let adas = lines.iter().find(|line| line["id"] == old.adas.to_string());
    let adas = adas.unwrap();
    assert_eq!(adas["customer"], "zoe");
    assert_eq!(adas["reference"], "zoe@example.com");
    assert_eq!(adas["total_price"], "19.98");
    assert_eq!(adas["attempts"][0]["error"], "zoe was not at home");
    let returned = lines
        .iter()
        .map(|line| line["returns"].as_array().unwrap().len());
    assert_eq!(returned.sum::<usize>(), 5);
    for status in ["completed", "failed", "cancelled", "expired"] {
        assert!(
            lines.iter().any(|line| line["status"] == status),
            "{status}"
        );
    }
}

/// What is archived is not found any more, and counts all the same.
async fn is_forgotten(place: &Place, shop: &OrderService, old: &OldShop) {
    assert_eq!(shop.order(old.keyed).await.unwrap(), None);
    let ticket = || {
        pieces(old.ticket, 1)
            .for_customer(Some("zoe".to_owned()))
            .unwrap()
    };
    let refused = shop.purchase(ticket()).await.unwrap_err();
    assert!(
        matches!(refused, Error::CustomerLimit { has: 2, .. }),
        "{refused:?}"
    );
    let bob = pieces(old.ticket, 1)
        .for_customer(Some("bob".to_owned()))
        .unwrap();
    shop.purchase(bob).await.unwrap();
    // The retention of its key is over: the request is a new one. That of the key of today is not.
    let keys = place
        .raw
        .count("SELECT count(*) FROM idempotency_keys")
        .await;
    assert_eq!(keys, 1);
    let again = pieces(old.lamp, 2).with_key(key("old"));
    assert!(!shop.purchase_or_replay(again).await.unwrap().replayed);
    let query = AuditQuery {
        action: Some("order.archive".to_owned()),
        ..AuditQuery::default()
    };
    let entries = shop.audit_entries(&query).await.unwrap().items;
    assert_eq!(entries.len(), files(&place.archive(), ".ndjson").len());
    for entry in entries {
        assert!(place.archive().join(&entry.subject).exists(), "{entry:?}");
    }
    // Pages go on past what is gone.
    let page = PageRequest {
        size: PageSize::new(2).unwrap(),
        ..PageRequest::default()
    };
    let query = OrderQuery {
        page,
        ..OrderQuery::default()
    };
    assert_eq!(shop.orders(&query).await.unwrap().items.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_archived_once_it_ended() {
    for place in Place::each().await {
        let old = OldShop::new(&place).await;
        let shop = place.today();
        shop.archive(place.options()).await.unwrap();
        for id in &old.open {
            let status = shop.order(*id).await.unwrap().unwrap().status;
            if status == OrderStatus::Held {
                shop.cancel(*id).await.unwrap();
            }
        }
        let process = order_core::queue::Topic::Process;
        shop.redrive_matching(process, &Default::default())
            .await
            .unwrap();
        place.later().await;
        work_off(&shop).await;
        // The key of today keeps its order.
        let done = shop.archive(place.options()).await.unwrap();
        assert_eq!(done.orders, old.open.len() as u64 - 1);
        assert_eq!(place.stored().await.len(), 1);
        assert_eq!(place.store.verify().await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_archived_is_refused_by_name() {
    for place in Place::each().await {
        let shop = place.today();
        let refused = async |before, orders_per_file| {
            let options = ArchiveOptions {
                orders_per_file,
                ..ArchiveOptions::new(before, place.archive())
            };
            match shop.archive(options).await.unwrap_err() {
                Error::Invalid { field, reason } => format!("{field} {reason}"),
                error => panic!("{error:?}"),
            }
        };
        assert!(
            refused(days_ago(-1), 1)
                .await
                .contains("before must be in the past")
        );
        let young = refused(days_ago(29), 1).await;
        assert!(
            young.contains("the retention of idempotency keys"),
            "{young}"
        );
        assert!(refused(days_ago(31), 0).await.contains("orders_per_file"));
        assert!(!place.archive().exists());
    }
}

/// Whoever has the rights of the owner may delete what lies in the file that is open and sealed, and
/// nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn history_stays_unless_it_is_archived() {
    for place in Place::each().await {
        let old = OldShop::new(&place).await;
        let stays = async |statement: &str| {
            let refused = place.raw.execute(statement).await.unwrap_err().to_string();
            assert!(refused.contains("history stays"), "{statement}: {refused}");
        };
        let statements = [
            "DELETE FROM order_lines",
            "DELETE FROM stock_returns",
            "DELETE FROM orders",
        ];
        for statement in statements {
            stays(statement).await;
        }
        let [first, last] = [old.ended.first(), old.ended.last()];
        let range = format!(
            "{}, {}",
            place.raw.id(first.unwrap().0),
            place.raw.id(last.unwrap().0)
        );
        let open = |columns: &str, values: &str| {
            format!(
                "INSERT INTO archive_files (number, is_open, first_id, last_id{columns}) \
                 VALUES (1, {}, {range}{values})",
                if matches!(place.raw, super::shop::Raw::Sqlite(_)) {
                    "1"
                } else {
                    "true"
                },
            )
        };
        place.raw.execute(&open("", "")).await.unwrap();
        for statement in statements {
            stays(statement).await;
        }
        place
            .raw
            .execute("DELETE FROM archive_files")
            .await
            .unwrap();
        let digest = if matches!(place.raw, super::shop::Raw::Sqlite(_)) {
            ", zeroblob(32)"
        } else {
            ", decode(repeat('00', 32), 'hex')"
        };
        place.raw.execute(&open(", sha256", digest)).await.unwrap();
        // Beyond the file, and within it what is not at its end.
        stays("DELETE FROM orders").await;
        let beyond = place.raw.id(old.open.last().unwrap().0);
        stays(&format!(
            "DELETE FROM order_lines WHERE order_id = {beyond}"
        ))
        .await;
        let sold = format!(
            "UPDATE orders SET status = 'success', completed_at = NULL WHERE id = {}",
            place.raw.id(old.keyed.0)
        );
        place.raw.execute(&sold).await.unwrap();
        stays(&format!(
            "DELETE FROM orders WHERE id = {}",
            place.raw.id(old.keyed.0)
        ))
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_to_what_stays_is_found() {
    use Check::{Archive, Counters, MissingProduct, Stock};
    let damages: [(&str, &[Check]); 6] = [
        ("UPDATE archived_sales SET kept = kept + 1", &[Stock, Stock]),
        ("UPDATE archived_sales SET lines = lines + 1", &[Archive]),
        (
            "UPDATE archive_files SET sold = sold + 1 WHERE number = 1",
            &[Counters],
        ),
        (
            "UPDATE archive_files SET accepted = accepted - 1 WHERE number = 2",
            &[Archive, Counters],
        ),
        (
            "UPDATE archive_files SET lines = lines + 1 WHERE number = 1",
            &[Archive],
        ),
        ("DELETE FROM archived_sales", &[Archive, Stock, Stock]),
    ];
    for place in Place::each().await {
        let old = OldShop::new(&place).await;
        place.today().archive(place.options()).await.unwrap();
        for (damage, expected) in damages {
            let before = dump(&place).await;
            assert!(place.raw.execute(damage).await.unwrap() > 0, "{damage}");
            let found = place.store.verify().await.unwrap();
            let mut kinds: Vec<String> = found.iter().map(|one| one.check.to_string()).collect();
            let mut expected: Vec<String> = expected.iter().map(Check::to_string).collect();
            kinds.sort();
            expected.sort();
            assert_eq!(kinds, expected, "{damage}: {found:?}");
            undo(&place, before).await;
            assert_eq!(place.store.verify().await.unwrap(), [], "{damage}");
        }
        let nobody = place.raw.id(uuid::Uuid::from_u128(7));
        let lamp = place.raw.id(old.lamp.0);
        let moved =
            format!("UPDATE archived_sales SET product_id = {nobody} WHERE product_id = {lamp}");
        place.raw.execute(&moved).await.unwrap();
        let found = place.store.verify().await.unwrap();
        assert!(
            found.iter().any(|one| one.check == MissingProduct),
            "{found:?}"
        );
    }
}

/// Keeps what a damage changes beside it.
async fn dump(place: &Place) -> [&'static str; 2] {
    let tables = ["archived_sales", "archive_files"];
    for table in tables {
        let copy = format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
        place.raw.execute(&copy).await.unwrap();
    }
    tables
}

async fn undo(place: &Place, tables: [&'static str; 2]) {
    for table in tables {
        let back = format!(
            "DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}; \
             DROP TABLE kept_{table}"
        );
        place.raw.execute(&back).await.unwrap();
    }
}

/// Orders come in, and the books are looked at, while a thousand are archived.
#[tokio::test(flavor = "multi_thread")]
async fn shops_sell_while_they_archive() {
    for place in Place::each().await {
        let old = OldShop::new(&place).await;
        let long_ago = place.long_ago();
        for _ in 0..4 {
            let some = vec![pieces(old.lamp, 2); 250];
            let made = long_ago.accept_all(some).await;
            assert!(made.iter().all(Result::is_ok));
        }
        place.later().await;
        work_off(&long_ago).await;
        let shop = place.today();
        let stop = order_core::CancellationToken::new();
        let buyers: Vec<_> = (0..8)
            .map(|_| {
                let (shop, stop, lamp) = (shop.clone(), stop.clone(), old.lamp);
                tokio::spawn(async move {
                    let mut bought = 0;
                    while !stop.is_cancelled() {
                        shop.purchase(pieces(lamp, 1)).await.unwrap();
                        bought += 1;
                    }
                    bought
                })
            })
            .collect();
        let options = ArchiveOptions {
            orders_per_file: 100,
            ..place.options()
        };
        let archiving = tokio::spawn({
            let shop = shop.clone();
            async move { shop.archive(options).await }
        });
        let mut looks = 0;
        while looks < 3 || !archiving.is_finished() {
            let found = place.store.verify().await.unwrap();
            assert_eq!(found, [], "while archiving");
            looks += 1;
        }
        let done = archiving.await.unwrap().unwrap();
        // What was pending is completed as well, and of the dead task's order nothing is.
        assert!(
            done.orders >= old.ended.len() as u64 + 1_000,
            "{}",
            done.orders
        );
        stop.cancel();
        let mut bought = 0;
        for buyer in buyers {
            bought += buyer.await.unwrap();
        }
        assert_eq!(place.store.verify().await.unwrap(), []);
        eprintln!(
            "{bought} bought while {} were archived, {looks} looks",
            done.orders
        );
    }
}

/// A store that keeps no history says so.
#[tokio::test]
async fn a_store_without_history_says_so() {
    let store: Arc<dyn Store> = Arc::new(order_core::testing::ReferenceStore::default());
    let shop = OrderService::builder(store).build();
    let refused = shop
        .archive(ArchiveOptions::new(days_ago(40), "nowhere"))
        .await;
    assert!(matches!(refused, Err(Error::Unsupported { .. })));
    assert!(matches!(
        shop.erase_customer("zoe").await,
        Err(Error::Unsupported { .. })
    ));
}
