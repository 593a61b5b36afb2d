//! Orders that hold their stock, limits per customer and sale windows, from the command line.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::shell::{cli, product, row, rows};

const NOBODY: &str = "01900000-0000-7000-8000-000000000000";
/// Far beyond what anything here may take.
const LIMIT: Duration = Duration::from_secs(30);

fn id(order: &Value) -> &str {
    order["id"].as_str().unwrap()
}

/// Runs it, expects it to fail with `code`, and gives what it says.
fn refusal(dir: &Path, arguments: &[&str], code: i32) -> String {
    let output = cli(dir, arguments);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {output:?}"
    );
    assert_eq!(output.stdout, b"", "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A row of a file may ask for both; an empty cell asks for nothing.
#[test]
fn rows_of_a_file_are_held_and_for_customers() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let product = product(dir, "9");
    let change = ["product", "update", &product, "--limit-per-customer", "2"];
    row(dir, &change);
    let file = format!(
        "product_id,quantity,customer,hold_seconds\n\
         {product},2,ada,600\n\
         {product},1,ada,\n\
         {product},1,bob,\n\
         {product},1,,600\n\
         {product},1,eve,0\n\
         {product},1,eve,1.5\n"
    );
    std::fs::write(dir.join("orders.csv"), file).unwrap();
    let output = cli(dir, &["order", "bulk", "--file", "orders.csv"]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary, json!({"accepted": 3, "rejected": 3}));
    let told = String::from_utf8(output.stderr).unwrap();
    for (line, field) in [(5, "customer"), (6, "hold_seconds"), (7, "hold_seconds")] {
        let named = format!("line {line}: {field} ");
        assert!(told.contains(&named), "{named} in {told}");
    }
    let decided = row(dir, &["worker", "run", "--drain", "--processor", "off"]);
    assert_eq!(decided, json!({"sold": 1, "held": 1, "failed": 1}));
    let held = rows(dir, &["order", "list", "--status", "held"]);
    assert_eq!((held.len(), &held[0]["customer"]), (1, &json!("ada")));
    let failed = rows(dir, &["order", "list", "--status", "failed"]);
    assert_eq!(failed[0]["failure"]["code"], "customer_limit");
}

#[test]
fn orders_are_held_confirmed_extended_and_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let product = product(dir, "5");
    let stock = || row(dir, &["product", "get", &product])["stock"].clone();
    let line = format!("{product}:2");
    let held = row(
        dir,
        &["order", "purchase", "--line", &line, "--hold", "600"],
    );
    assert_eq!((&held["status"], stock()), (&json!("held"), json!(3)));
    let longer = row(dir, &["order", "extend", id(&held), "--hold", "3600"]);
    assert!(longer["held_until"].as_str() > held["held_until"].as_str());
    let sold = row(dir, &["order", "confirm", id(&held)]);
    assert_eq!(sold["status"], "success");
    assert_eq!(row(dir, &["order", "confirm", id(&held)]), sold);
    let placed = row(dir, &["order", "place", "--line", &line, "--hold", "60"]);
    assert_eq!(placed["held_until"], Value::Null);
    let decided = row(dir, &["worker", "run", "--drain", "--processor", "off"]);
    assert_eq!(decided, json!({"sold": 0, "held": 1, "failed": 0}));
    let listed = rows(dir, &["order", "list", "--status", "held"]);
    assert_eq!((listed.len(), id(&listed[0])), (1, id(&placed)));
    let cancelled = row(dir, &["order", "cancel", id(&placed)]);
    assert_eq!(
        (&cancelled["status"], stock()),
        (&json!("cancelled"), json!(3))
    );
    for (arguments, code, told) in [
        (
            &["order", "confirm", id(&placed)][..],
            1,
            "order is cancelled",
        ),
        (
            &["order", "extend", id(&sold), "--hold", "60"],
            1,
            "order is success",
        ),
        (&["order", "confirm", NOBODY], 1, "not found"),
        (&["order", "extend", NOBODY, "--hold", "60"], 1, "not found"),
        (&["order", "extend", NOBODY], 2, "--hold"),
        (
            &["order", "extend", NOBODY, "--hold", "86401"],
            2,
            "from 1 to 86400",
        ),
        (
            &["order", "place", "--line", &line, "--hold", "0"],
            2,
            "from 1 to 86400",
        ),
        (
            &["order", "place", "--line", &line, "--hold", "1m"],
            2,
            "whole number of seconds",
        ),
    ] {
        let said = refusal(dir, arguments, code);
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
    assert!(cli(dir, &["verify"]).status.success());
}

/// No server and no worker runs: who needs the stock takes it.
#[test]
fn a_hold_that_nobody_confirms_goes_to_whoever_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let product = product(dir, "5");
    let line = format!("{product}:5");
    let held = row(dir, &["order", "purchase", "--line", &line, "--hold", "3"]);
    let wanted = format!("{product}:1");
    let buy = ["order", "purchase", "--line", &wanted];
    let said = refusal(dir, &buy, 1);
    assert!(said.contains("0 left, 1 requested"), "{said}");
    let start = Instant::now();
    while !cli(dir, &buy).status.success() {
        assert!(start.elapsed() < LIMIT, "it does not lapse");
    }
    let states = rows(dir, &["order", "watch", id(&held)]);
    let states: Vec<&str> = states
        .iter()
        .map(|state| state["status"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["pending", "held", "expired"]);
    assert_eq!(row(dir, &["product", "get", &product])["stock"], 4);
    for arguments in [
        &["order", "confirm", id(&held)][..],
        &["order", "extend", id(&held), "--hold", "60"],
    ] {
        let said = refusal(dir, arguments, 1);
        assert!(said.contains("the hold of the order expired at"), "{said}");
    }
    let said = refusal(dir, &["order", "cancel", id(&held)], 1);
    assert!(said.contains("order is expired"), "{said}");
    assert!(cli(dir, &["verify"]).status.success());
}

#[test]
fn a_product_has_a_limit_per_customer_and_a_window() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let create = [
        "product", "create", "--name", "p", "--price", "1", "--stock", "9",
    ];
    let limited = row(dir, &[&create[..], &["--limit-per-customer", "2"]].concat());
    assert_eq!(limited["limit_per_customer"], 2);
    let line = format!("{}:2", id(&limited));
    let buy = ["order", "purchase", "--line", &line];
    let said = refusal(dir, &buy, 1);
    assert!(said.contains("customer"), "{said}");
    let of_ann = [&buy[..], &["--customer", "ann"]].concat();
    let held = row(dir, &[&of_ann[..], &["--hold", "60"]].concat());
    let said = refusal(dir, &of_ann, 1);
    assert!(said.contains("one customer may have 2"), "{said}");
    row(dir, &["order", "cancel", id(&held)]);
    row(dir, &of_ann);
    let listed = rows(dir, &["order", "list", "--customer", "ann"]);
    assert_eq!(listed.len(), 2);

    let window = ["--on-sale-from", "2998-01-01T00:00:00Z"];
    let early = row(dir, &[&create[..], &window].concat());
    let line = format!("{}:1", id(&early));
    let buy = ["order", "purchase", "--line", &line];
    let said = refusal(dir, &buy, 1);
    assert!(said.contains("2998-01-01T00:00:00"), "{said}");
    let ends = ["--on-sale-until", "2997-01-01T00:00:00Z"];
    let update = ["product", "update", id(&early)];
    let said = refusal(dir, &[&update[..], &ends].concat(), 1);
    assert!(said.contains("on_sale_until"), "{said}");
    let open = row(dir, &[&update[..], &["--no-sale-window"]].concat());
    assert_eq!(open["on_sale_from"], Value::Null);
    assert_eq!(row(dir, &buy)["status"], "success");
}
