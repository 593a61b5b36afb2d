//! What operators see and do: the queue, dead letters, workers, tasks.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::shop::{Answer, Shop, Staff, on_each_store};
use async_trait::async_trait;
use order_core::{
    OrderService,
    keys::KeyRequest,
    process::{OrderProcessor, ProcessError, Task},
};
use order_server::config::HttpLimits;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(10);
/// How soon a pause has to be in force.
const SOON: Duration = Duration::from_secs(2);

/// Refuses for good until it is mended.
#[derive(Default)]
struct Broken {
    is_mended: AtomicBool,
}

#[async_trait]
impl OrderProcessor for Broken {
    async fn process(&self, _: &Task) -> Result<(), ProcessError> {
        if self.is_mended.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(ProcessError::give_up("it is broken"))
        }
    }
}

/// Asks until the answer is right; how long that took.
async fn until(shop: &Shop, path: &str, right: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let answer = shop.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        if right(&answer.body) {
            return answer.body;
        }
        assert!(start.elapsed() < LIMIT, "{path}: {}", answer.body);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn purchase(shop: &Shop, product: &str) -> String {
    let body = json!({"product_id": product, "quantity": 1});
    let bought = shop.post("/orders/purchase", &body).await;
    assert_eq!(bought.status, 201, "{}", bought.body);
    bought.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_seen_and_redriven() {
    on_each_store(async |shop| {
        let processor = Arc::new(Broken::default());
        let staff = Staff::hire(shop, processor.clone());
        let product = shop.product("lamp", 5).await;
        let order = purchase(shop, &product).await;
        let dead = until(shop, "/queue/dead", |dead| dead["items"] != json!([])).await;
        let letter = &dead["items"][0];
        assert_eq!(
            (
                &letter["topic"],
                &letter["order_id"],
                &letter["reason"],
                &letter["attempts"]
            ),
            (
                &json!("process"),
                &json!(order),
                &json!("it is broken"),
                &json!(1)
            )
        );
        assert_eq!(shop.get("/queue").await.body["topics"][1]["dead"], 1);
        let attempts = shop.get(&format!("/orders/{order}/attempts")).await.body;
        assert_eq!(attempts["items"][0]["error"], "it is broken");
        assert_eq!(attempts["items"][0]["attempt"], 1);
        assert_eq!(attempts["task"]["state"], "dead");
        assert_eq!(attempts["task"]["id"], format!("sale_{order}"));

        processor.is_mended.store(true, Ordering::SeqCst);
        let redrive = format!("/queue/dead/{order}/redrive");
        let redriven = shop.post(&redrive, &Value::Null).await;
        assert_eq!((redriven.status, &redriven.body["dead"]), (200, &json!(0)));
        let path = format!("/orders/{order}");
        until(shop, &path, |order| order["status"] == "completed").await;
        let again = shop.post(&redrive, &Value::Null).await;
        assert_eq!(again.status, 404);
        again.is_problem("dead_letter_not_found");
        staff.dismiss().await;
    })
    .await;
}

/// Refuses one piece for another reason than several, until it is mended.
#[derive(Default)]
struct Picky {
    is_mended: AtomicBool,
}

#[async_trait]
impl OrderProcessor for Picky {
    async fn process(&self, task: &Task) -> Result<(), ProcessError> {
        if self.is_mended.load(Ordering::SeqCst) {
            return Ok(());
        }
        let single = task.order.lines[0].quantity.get() == 1;
        let reason = if single {
            "Mail: no route"
        } else {
            "out of paper"
        };
        Err(ProcessError::give_up(reason))
    }
}

/// The reasons of dead letters, with their numbers.
fn groups(dead: &Value) -> Vec<(Value, Value)> {
    let groups = dead["groups"].as_array().unwrap().iter();
    let group = |group: &Value| (group["reason"].clone(), group["count"].clone());
    groups.map(group).collect()
}

/// The orders of a page of dead letters.
fn ids(page: &Value) -> Vec<Value> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["order_id"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_found_by_its_reason_and_redriven_at_once() {
    on_each_store(async |shop| {
        let processor = Arc::new(Picky::default());
        let staff = Staff::hire(shop, processor.clone());
        let product = shop.product("lamp", 50).await;
        for quantity in [1, 1, 2, 1] {
            let body = json!({"product_id": product, "quantity": quantity});
            assert_eq!(shop.post("/orders/purchase", &body).await.status, 201);
        }
        let all = until(shop, "/queue/dead", |dead| dead["total"] == 4).await;
        assert_eq!(all["reasons"], 2);
        let (mail, paper) = (json!("Mail: no route"), json!("out of paper"));
        assert_eq!(
            groups(&all),
            [(mail.clone(), json!(3)), (paper.clone(), json!(1))]
        );
        let found = shop.get("/queue/dead?reason=mAIL&limit=2").await.body;
        assert_eq!(
            (&found["total"], groups(&found)),
            (&json!(3), vec![(mail, json!(3))])
        );
        let cursor = found["next_cursor"].as_str().unwrap();
        let next = shop
            .get(&format!("/queue/dead?reason=mail&limit=2&cursor={cursor}"))
            .await;
        assert_eq!(
            (ids(&next.body).len(), &next.body["next_cursor"]),
            (1, &Value::Null)
        );
        assert!(!ids(&found).contains(&ids(&next.body)[0]));
        let later = shop
            .get("/queue/dead?since=2100-01-01T00:00:00Z")
            .await
            .body;
        assert_eq!((&later["total"], &later["items"]), (&json!(0), &json!([])));
        let nonsense = shop.get("/queue/dead?cursor=nonsense").await;
        assert_eq!(nonsense.status, 400);

        processor.is_mended.store(true, Ordering::SeqCst);
        let wrong = shop
            .post("/queue/dead/redrive", &json!({"reasons": "mail"}))
            .await;
        assert_eq!(wrong.status, 422, "{}", wrong.body);
        let named = json!({"order_ids": [ids(&found)[0]], "reason": "mail"});
        assert_eq!(shop.post("/queue/dead/redrive", &named).await.status, 422);
        let redriven = shop
            .post("/queue/dead/redrive", &json!({"reason": "mail"}))
            .await;
        assert_eq!(
            (redriven.status, &redriven.body),
            (200, &json!({"redriven": 3}))
        );
        let left = shop.get("/queue/dead").await.body;
        assert_eq!(groups(&left), [(paper, json!(1))]);
        let named = json!({"order_ids": [ids(&left)[0], ids(&found)[0]]});
        let redriven = shop.post("/queue/dead/redrive", &named).await;
        assert_eq!(
            redriven.body,
            json!({"redriven": 1}),
            "the other one is not dead"
        );
        until(shop, "/orders?status=completed", |done| {
            done["items"].as_array().unwrap().len() == 4
        })
        .await;
        staff.dismiss().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_listed_by_their_state() {
    on_each_store(async |shop| {
        let product = shop.product("lamp", 5).await;
        let sold = purchase(shop, &product).await;
        let waiting = shop.get("/queue/tasks?state=waiting").await.body;
        let task = &waiting["items"][0];
        assert_eq!(
            (&task["order_id"], &task["state"], &task["attempts"]),
            (&json!(sold), &json!("waiting"), &json!(0))
        );
        for state in ["scheduled", "in_flight", "retrying", "dead"] {
            let none = shop.get(&format!("/queue/tasks?state={state}")).await.body;
            assert_eq!(none["items"], json!([]), "{state}");
        }
        let staff = Staff::hire(shop, Arc::new(Broken::default()));
        let path = "/queue/tasks?state=dead&limit=1";
        let dead = until(shop, path, |dead| dead["items"] != json!([])).await;
        assert_eq!(dead["items"][0]["reason"], "it is broken");
        assert_eq!(shop.get("/queue/tasks").await.status, 422);
        assert_eq!(shop.get("/queue/tasks?state=nonsense").await.status, 422);
        staff.dismiss().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_put_on_the_queue_by_hand() {
    on_each_store(async |shop| {
        let product = shop.product("lamp", 5).await;
        let sold = purchase(shop, &product).await;
        let put = shop
            .post(&format!("/orders/{sold}/process"), &Value::Null)
            .await;
        assert_eq!((put.status, &put.body["state"]), (202, &json!("waiting")));
        let cancelled = purchase(shop, &product).await;
        shop.post(&format!("/orders/{cancelled}/cancel"), &Value::Null)
            .await;
        let put = shop
            .post(&format!("/orders/{cancelled}/process"), &Value::Null)
            .await;
        assert_eq!(put.status, 409);
        put.is_problem("order_state");
        let nobody = "01900000-0000-7000-8000-000000000000";
        for path in [
            format!("/orders/{nobody}/process"),
            format!("/queue/dead/{nobody}/redrive"),
        ] {
            assert_eq!(shop.post(&path, &Value::Null).await.status, 404, "{path}");
        }
        assert_eq!(
            shop.get(&format!("/orders/{nobody}/attempts")).await.status,
            404
        );
        let nonsense = shop.post("/queue/nonsense/pause", &Value::Null).await;
        assert_eq!(nonsense.status, 404);
        nonsense.is_problem("topic_not_found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_seen() {
    on_each_store(async |shop| {
        let staff = Staff::hire(shop, Arc::new(Broken::default()));
        let both = |workers: &Value| workers["workers"].as_array().unwrap().len() == 2;
        let seen = until(shop, "/workers", both).await;
        for worker in seen["workers"].as_array().unwrap() {
            assert_eq!(
                (&worker["state"], &worker["pid"]),
                (&json!("alive"), &json!(std::process::id()))
            );
        }
        staff.dismiss().await;
        let seen = shop.get("/workers").await.body;
        // Both began at the same moment: either may stand first.
        let state_of = |topics: Value| {
            let workers = seen["workers"].as_array().unwrap();
            let worker = workers.iter().find(|worker| worker["topics"] == topics);
            worker.unwrap_or_else(|| panic!("{topics} in {seen}"))["state"].clone()
        };
        assert_eq!(state_of(json!(["validate", "process"])), "stopped");
        assert_eq!(state_of(json!(["validate"])), "alive");
    })
    .await;
}

/// Pauses both topics of a shop in turn, by another process, and sees that nothing moves.
async fn a_pause_is_in_force(shop: &Shop) {
    let processor = Arc::new(Broken::default());
    processor.is_mended.store(true, Ordering::SeqCst);
    let staff = Staff::hire(shop, processor);
    let product = shop.product("lamp", 500).await;
    let other = Shop::open_without_worker(&shop.database_url, HttpLimits::default()).await;
    for (at, topic) in ["validate", "process"].into_iter().enumerate() {
        let paused = other
            .post(&format!("/queue/{topic}/pause"), &Value::Null)
            .await;
        assert_eq!((paused.status, &paused.body["paused"]), (200, &json!(true)));
        // Orders come all the time; from some moment on, none of them goes on.
        let start = Instant::now();
        let mut last = String::new();
        while start.elapsed() < SOON {
            let order = json!({"product_id": product, "quantity": 1});
            let accepted = shop.post("/orders", &order).await;
            assert_eq!(accepted.status, 202);
            last = accepted.body["id"].as_str().unwrap().to_owned();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let stuck = ["pending", "success"][at];
        let path = format!("/orders/{last}");
        until(shop, &path, |order| order["status"] == stuck).await;
        let waits = |queue: &Value| queue["topics"][at]["waiting"].as_u64().unwrap() > 0;
        let queue = until(shop, "/queue", waits).await;
        assert_eq!(queue["topics"][at]["paused"], true);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(
            shop.get(&path).await.body["status"],
            stuck,
            "{topic} is paused"
        );

        let resumed = other
            .post(&format!("/queue/{topic}/resume"), &Value::Null)
            .await;
        assert_eq!(
            (resumed.status, &resumed.body["paused"]),
            (200, &json!(false))
        );
        until(shop, &path, |order| order["status"] == "completed").await;
    }
    other.close().await;
    staff.dismiss().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_each_topic_within_two_seconds() {
    on_each_store(async |shop| a_pause_is_in_force(shop).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_each_topic_also_with_redis() {
    let redis = order_core::testing::RedisServer::start();
    let url = order_core::testing::PostgresServer::shared()
        .database()
        .await;
    let shop = Shop::open_with_redis(&url, Some(&redis.url())).await;
    a_pause_is_in_force(&shop).await;
    assert_eq!(shop.verify().await, [], "the books balance");
    shop.close().await;
}

/// A key with this scope as its name, once it is in force.
async fn key(shop: &Shop, scope: &str) -> (String, String) {
    let service = OrderService::builder(shop.store().await).build();
    let request = KeyRequest::new(scope, scope.parse().unwrap()).unwrap();
    let (key, secret) = service.create_key(request).await.unwrap();
    let start = Instant::now();
    let in_force = async || {
        let shown = call(shop, secret.expose(), "GET", "/access", Value::Null).await;
        (shown.status, shop.get("/access").await.status) == (200, 401)
    };
    while !in_force().await {
        assert!(start.elapsed() < LIMIT, "the key is not in force");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (key.id.to_string(), secret.expose().to_owned())
}

async fn call(shop: &Shop, key: &str, method: &str, path: &str, body: Value) -> Answer {
    let bearer = format!("Bearer {key}");
    let body = Some(&body).filter(|body| !body.is_null());
    let headers = [("authorization", bearer.as_str())];
    shop.send(method, path, &headers, body).await
}

/// A product is changed, an order cancelled, a topic paused, and something refused.
async fn work(shop: &Shop, product: &str, admin: &str, orders: &str) {
    let path = format!("/products/{product}");
    let patch = json!({"name": "Lampe", "price": "3.50"});
    for (key, status) in [(admin, 200), (orders, 403)] {
        let patched = call(shop, key, "PATCH", &path, patch.clone()).await;
        assert_eq!(patched.status, status);
    }
    let order = json!({"product_id": product, "quantity": 1});
    let order = call(shop, orders, "POST", "/orders/purchase", order).await;
    let cancel = format!("/orders/{}/cancel", order.body["id"].as_str().unwrap());
    let cancelled = call(shop, orders, "POST", &cancel, Value::Null).await;
    assert_eq!(cancelled.status, 200);
    for action in ["pause", "resume"] {
        let path = format!("/queue/process/{action}");
        let done = call(shop, admin, "POST", &path, Value::Null).await;
        assert_eq!(done.status, 200);
    }
}

/// Every change that a key made says so, and what was refused or only read is not there.
#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_names_the_key_behind_each_change() {
    on_each_store(async |shop| {
        let product = shop.product("lamp", 5).await;
        let ((id, admin), (_, orders)) = (key(shop, "admin").await, key(shop, "orders").await);
        work(shop, &product, &admin, &orders).await;
        let refused = call(shop, &orders, "GET", "/audit", Value::Null).await;
        assert_eq!(refused.status, 403);

        let log = call(shop, &admin, "GET", "/audit", Value::Null).await.body;
        let items = log["items"].as_array().unwrap();
        let done = items.iter().map(|it| (&it["action"], &it["client"]));
        let expected = json!([
            ["topic.resume", "admin"],
            ["topic.pause", "admin"],
            ["order.cancel", "orders"],
            ["product.update", "admin"],
            ["key.create", null],
            ["key.create", null],
            ["product.create", null],
        ]);
        assert_eq!(json!(done.collect::<Vec<_>>()), expected);
        let update = &items[3];
        assert_eq!(
            json!([update["key"], update["subject"]]),
            json!([id, product])
        );
        let names = json!([update["before"]["name"], update["after"]["name"]]);
        assert_eq!(names, json!(["lamp", "Lampe"]));
        assert_eq!(update["after"]["price"], "3.50");
        assert!(!log.to_string().contains(&admin), "no secret");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_read_by_filters_and_pages() {
    on_each_store(async |shop| {
        let product = shop.product("lamp", 5).await;
        let path = format!("/products/{product}");
        for name in ["a", "b", "c"] {
            let patch = json!({"name": name});
            assert_eq!(
                shop.send("PATCH", &path, &[], Some(&patch)).await.status,
                200
            );
        }
        shop.product("chair", 1).await;
        let read = async |query: &str| {
            let answer = shop.get(&format!("/audit{query}")).await;
            assert_eq!(answer.status, 200, "{query}: {}", answer.body);
            answer.body
        };
        let all = read("").await["items"].clone();
        let items = async |query: &str| read(query).await["items"].as_array().unwrap().clone();
        assert_eq!(items("?action=product.create").await.len(), 2);
        assert_eq!(items(&format!("?subject={product}")).await.len(), 4);
        let at = all[2]["at"].as_str().unwrap();
        assert_eq!(
            json!(items(&format!("?since={at}")).await),
            json!([all[0], all[1], all[2]])
        );
        assert_eq!(
            json!(items(&format!("?until={at}")).await),
            json!([all[3], all[4]])
        );
        let page = read("?limit=3").await;
        let cursor = page["next_cursor"].as_str().unwrap();
        let rest = read(&format!("?cursor={cursor}")).await;
        assert_eq!(rest["items"], json!([all[3], all[4]]));
        assert_eq!(rest["next_cursor"], Value::Null);
        let wrong = [
            ("?since=yesterday", 422),
            ("?cursor=x", 400),
            ("?subjekt=x", 422),
        ];
        for (wrong, status) in wrong {
            let answer = shop.get(&format!("/audit{wrong}")).await;
            assert_eq!(answer.status, status, "{wrong}: {}", answer.body);
        }
    })
    .await;
}
