//! What an operator looks at, and what is done about it.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::shell::{cli, product, row, rows};

const NOBODY: &str = "01900000-0000-7000-8000-000000000000";
const LATER: &str = "2099-01-01T00:00:00Z";

fn text(output: std::process::Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn id(row: &Value) -> &str {
    row["id"].as_str().unwrap()
}

/// Attempts all tasks that are due, once: nobody listens there.
fn give_up(dir: &Path) {
    let arguments = "worker run --drain --processor webhook:http://127.0.0.1:9/ \
         --webhook-secrets whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw --webhook-allow-private \
         --process-delay-ms 0 --process-max-attempts 1";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    row(dir, &arguments);
}

/// A shop with the dead letters of two orders, and their ids.
fn shop_with_dead_letters() -> (TempDir, [String; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let line = format!("{}:1", product(dir.path(), "5"));
    let buy = || id(&row(dir.path(), &["order", "purchase", "--line", &line])).to_owned();
    let orders = [buy(), buy()];
    let tasks = rows(dir.path(), &["queue", "tasks"]);
    let tasks: Vec<&Value> = tasks.iter().map(|task| &task["order_id"]).collect();
    assert_eq!(tasks, [&orders[0], &orders[1]]);
    give_up(dir.path());
    (dir, orders)
}

fn dead(dir: &Path, filter: &[&str]) -> usize {
    rows(dir, &[&["queue", "dead"], filter].concat()).len()
}

#[test]
fn tasks_that_were_given_up_are_found_by_reason_and_time() {
    let (dir, [order, _]) = shop_with_dead_letters();
    let dir = dir.path();
    assert_eq!(rows(dir, &["queue", "tasks", "--state", "dead"]).len(), 2);
    assert_eq!(
        rows(dir, &["queue", "tasks", "--state", "waiting"]).len(),
        0
    );
    let reasons = rows(dir, &["queue", "dead", "--by-reason"]);
    assert_eq!((reasons.len(), &reasons[0]["count"]), (1, &json!(2)));
    let reason = reasons[0]["reason"].as_str().unwrap();
    for (filter, found) in [
        (&[][..], 2),
        (&["--reason", reason], 2),
        (&["--reason", "nonsense"], 0),
        (&["--since", LATER], 0),
        (&["--until", LATER], 2),
    ] {
        assert_eq!(dead(dir, filter), found, "{filter:?}");
    }
    let attempts = rows(dir, &["order", "attempts", &order]);
    assert_eq!((attempts.len(), &attempts[0]["attempt"]), (1, &json!(1)));
    let shown = text(cli(dir, &["-o", "table", "order", "get", &order]));
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
}

#[test]
fn tasks_that_were_given_up_are_redriven() {
    let (dir, [first, second]) = shop_with_dead_letters();
    let dir = dir.path();
    let redrive = |more: &[&str]| cli(dir, &[&["queue", "redrive"], more].concat());
    let unknown = redrive(&[&first, NOBODY, &first]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    let told = String::from_utf8_lossy(&unknown.stderr);
    assert!(
        told.contains("1 of the 2 orders have no dead letter"),
        "{told}"
    );
    assert_eq!(dead(dir, &[]), 1);
    assert_eq!(redrive(&[]).status.code(), Some(2), "it must be said which");
    let both = redrive(&["--all", "--reason", "webhook"]);
    assert_eq!(both.status.code(), Some(2));

    let redriven = |more: &[&str]| rows(dir, &[&["queue", "redrive"], more].concat());
    assert_eq!(
        redriven(&["--reason", "nonsense"]),
        [json!({"redriven": 0})]
    );
    assert_eq!(redriven(&["--until", LATER]), [json!({"redriven": 1})]);
    give_up(dir);
    assert_eq!(redriven(&["--all"]), [json!({"redriven": 2})]);

    give_up(dir);
    let task = row(dir, &["order", "process", &second]);
    assert_eq!(
        (&task["order_id"], &task["state"]),
        (&json!(second), &json!("waiting"))
    );
    for command in ["process", "attempts"] {
        assert_eq!(cli(dir, &["order", command, NOBODY]).status.code(), Some(1));
    }
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
        assert_eq!(rows(dir, &[list, "list", "--sort", "newest"]), all);
        let oldest = [list, "list", "--sort", "oldest"];
        let mut sorted = rows(dir, &oldest);
        let rest = rows(dir, &[&oldest[..], &["--after", id(&sorted[0])]].concat());
        assert_eq!(rest, sorted[1..], "{list}");
        sorted.reverse();
        assert_eq!(sorted, all, "{list}");
        let refused = cli(dir, &[list, "list", "--sort", "price"]);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{told}");
        assert!(told.contains("possible values: newest, oldest"), "{told}");
        for (times, found) in [(["--since", LATER], 0), (["--until", LATER], all.len())] {
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
