//! What an operator looks at, and what is done about it.

use serde_json::{Value, json};

use super::shell::{cli, product, row, rows};

const NOBODY: &str = "01900000-0000-7000-8000-000000000000";

fn text(output: std::process::Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn id(row: &Value) -> &str {
    row["id"].as_str().unwrap()
}

#[test]
fn tasks_that_were_given_up_are_found_and_redriven() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let lamp = product(dir, "5");
    let line = format!("{lamp}:1");
    let buy = || row(dir, &["order", "purchase", "--line", &line]);
    let (first, second) = (buy(), buy());
    let tasks = rows(dir, &["queue", "tasks"]);
    assert_eq!(tasks.len(), 2);
    assert!(tasks[0]["order_id"] == first["id"], "{tasks:?}");

    // Nobody listens there.
    let give_up = [
        "worker",
        "run",
        "--drain",
        "--processor",
        "webhook:http://127.0.0.1:9/",
        "--webhook-secrets",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "--webhook-allow-private",
        "--process-delay-ms",
        "0",
        "--process-max-attempts",
        "1",
    ];
    row(dir, &give_up);
    let dead = |more: &[&str]| rows(dir, &[&["queue", "dead"], more].concat()).len();
    assert_eq!(dead(&[]), 2);
    assert_eq!(rows(dir, &["queue", "tasks", "--state", "dead"]).len(), 2);
    assert_eq!(
        rows(dir, &["queue", "tasks", "--state", "waiting"]).len(),
        0
    );
    let reasons = rows(dir, &["queue", "dead", "--by-reason"]);
    assert_eq!((reasons.len(), &reasons[0]["count"]), (1, &json!(2)));
    let reason = reasons[0]["reason"].as_str().unwrap();
    assert_eq!(dead(&["--reason", reason]), 2);
    assert_eq!(dead(&["--reason", "nonsense"]), 0);
    assert_eq!(dead(&["--since", "2099-01-01T00:00:00Z"]), 0);
    assert_eq!(dead(&["--until", "2099-01-01T00:00:00Z"]), 2);

    let attempts = rows(dir, &["order", "attempts", id(&first)]);
    assert_eq!((attempts.len(), &attempts[0]["attempt"]), (1, &json!(1)));
    let shown = text(cli(dir, &["-o", "table", "order", "get", id(&first)]));
    for part in [
        "total_price",
        "19.99",
        "Lines",
        "Lamp",
        "Task",
        "dead",
        "Failed attempts",
        reason,
    ] {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }

    let redrive = |more: &[&str]| cli(dir, &[&["queue", "redrive"], more].concat());
    let unknown = redrive(&[id(&first), NOBODY]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    let told = String::from_utf8_lossy(&unknown.stderr);
    assert!(
        told.contains("1 of the 2 orders have no dead letter"),
        "{told}"
    );
    assert_eq!(dead(&[]), 1);
    assert_eq!(redrive(&[]).status.code(), Some(2), "it must be said which");
    assert_eq!(
        redrive(&["--all", "--reason", reason]).status.code(),
        Some(2)
    );
    let redriven = |more: &[&str]| rows(dir, &[&["queue", "redrive"], more].concat());
    assert_eq!(
        redriven(&["--reason", "nonsense"]),
        [json!({"redriven": 0})]
    );
    assert_eq!(redriven(&["--reason", reason]), [json!({"redriven": 1})]);
    row(dir, &give_up);
    assert_eq!(redriven(&["--all"]), [json!({"redriven": 2})]);

    row(dir, &give_up);
    let task = row(dir, &["order", "process", id(&second)]);
    assert_eq!(
        (&task["order_id"], &task["state"]),
        (&second["id"], &json!("waiting"))
    );
    assert_eq!(
        cli(dir, &["order", "process", NOBODY]).status.code(),
        Some(1)
    );
    assert_eq!(
        cli(dir, &["order", "attempts", NOBODY]).status.code(),
        Some(1)
    );
}

#[test]
fn the_shop_and_its_workers_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let line = format!("{}:1", product(dir, "5"));
    row(dir, &["order", "purchase", "--line", &line]);
    row(dir, &["order", "place", "--line", &line]);
    let stats = row(dir, &["stats"]);
    assert_eq!(
        [
            &stats["totals"]["sold"],
            &stats["totals"]["pending"],
            &stats["hot_products"][0]["wanted"]
        ],
        [1, 1, 2]
    );
    let shown = text(cli(dir, &["-o", "table", "stats"]));
    assert!(
        shown.contains("accepted") && shown.contains("Lamp"),
        "{shown}"
    );

    assert_eq!(rows(dir, &["workers"]), Vec::<Value>::new());
    row(
        dir,
        &["worker", "run", "--drain", "--process-delay-ms", "0"],
    );
    let worker = row(dir, &["workers"]);
    assert_eq!(
        (&worker["state"], &worker["sold"], &worker["processed"]),
        (&json!("stopped"), &json!(1), &json!(2))
    );
}

#[test]
fn lists_go_on_where_a_page_ended_and_know_times() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let line = format!("{}:1", product(dir, "5"));
    row(
        dir,
        &[
            "product", "create", "--name", "Chair", "--price", "5", "--stock", "1", "--sku", "C",
        ],
    );
    for _ in 0..3 {
        row(dir, &["order", "purchase", "--line", &line]);
    }
    for list in ["order", "product"] {
        let all = rows(dir, &[list, "list"]);
        let page = rows(dir, &[list, "list", "--limit", "1"]);
        let rest = rows(dir, &[list, "list", "--after", id(&page[0])]);
        assert_eq!([page, rest].concat(), all, "{list}");
        for (times, found) in [
            (["--since", "2099-01-01T00:00:00Z"], 0),
            (["--until", "2099-01-01T00:00:00Z"], all.len()),
        ] {
            let list = rows(dir, &[&[list, "list"], &times[..]].concat());
            assert_eq!(list.len(), found, "{times:?}");
        }
    }
    assert_eq!(row(dir, &["product", "get", "--sku", "C"])["name"], "Chair");
    assert_eq!(
        cli(dir, &["product", "get", "--sku", "c"]).status.code(),
        Some(1)
    );
    assert_eq!(cli(dir, &["product", "get"]).status.code(), Some(2));
}

#[test]
fn the_state_of_the_schema_is_told_without_changing_it() {
    let dir = tempfile::tempdir().unwrap();
    let postgres = order_core::testing::PostgresServer::start(false);
    let file = dir.path().join("orders.db");
    let nothing_there = cli(dir.path(), &["migrate", "--status"]);
    assert_eq!(nothing_there.status.code(), Some(1), "{nothing_there:?}");
    assert!(!file.exists());
    let states = |url: &str| {
        let output = cli(dir.path(), &["--database-url", url, "migrate", "--status"]);
        let rows = super::shell::lines(&output.stdout);
        let states: Vec<Value> = rows
            .into_iter()
            .map(|mut row| row["state"].take())
            .collect();
        assert!(states.len() > 10, "{output:?}");
        (output.status.code(), states)
    };
    let empty = postgres.url("postgres");
    for _ in 0..2 {
        let (code, pending) = states(&empty);
        assert_eq!(code, Some(1));
        assert!(
            pending.iter().all(|state| state == "pending"),
            "{pending:?}"
        );
    }
    for url in [format!("sqlite://{}", file.display()), empty] {
        assert!(
            cli(dir.path(), &["--database-url", &url, "migrate"])
                .status
                .success()
        );
        let (code, applied) = states(&url);
        assert_eq!(code, Some(0));
        assert!(
            applied.iter().all(|state| state == "applied"),
            "{applied:?}"
        );
    }
}
