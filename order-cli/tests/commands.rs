//! The commands, as an operator runs them.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

#[path = "commands/direct.rs"]
mod direct;
#[path = "commands/holds.rs"]
mod holds;
#[path = "commands/operate.rs"]
mod operate;
mod shell;
#[path = "commands/terminal.rs"]
mod terminal;
#[path = "commands/versions.rs"]
mod versions;

use std::{io::Write, path::Path};

use serde_json::{Value, json};

use shell::{cli, lines, product, row, rows};

/// One of two pieces of an order comes back, once for a key, and the history tells it.
fn some_comes_back(dir: &Path, id: &str, bought: &str) {
    let (one, three) = (format!("{id}:1"), format!("{id}:3"));
    for _ in 0..2 {
        let once = ["--line", &one, "--idempotency-key", "back"];
        let back = row(dir, &[&["order", "cancel", bought], &once[..]].concat());
        assert_eq!(
            (&back["status"], &back["total_price"]),
            (&json!("success"), &json!("18.50"))
        );
    }
    let too_many = cli(dir, &["order", "cancel", bought, "--line", &three]);
    assert_eq!(too_many.status.code(), Some(1));
    let told = String::from_utf8_lossy(&too_many.stderr).into_owned();
    assert!(told.contains("lines[0].quantity"), "{told}");
    let history = rows(dir, &["product", "stock", id, "--limit", "4"]);
    let sums = rows(dir, &["product", "stock", id, "--by-minute"]);
    let total = |entries: &[Value]| {
        let deltas = entries.iter().map(|entry| entry["delta"].as_i64().unwrap());
        deltas.sum::<i64>()
    };
    assert_eq!(total(&sums), total(&rows(dir, &["product", "stock", id])));
    assert!(
        sums.iter().any(|sum| sum["changes"].as_i64() > Some(1)),
        "{sums:?}"
    );
    let deltas: Vec<_> = history.iter().map(|entry| &entry["delta"]).collect();
    assert_eq!(deltas, [&json!(1), &json!(1), &json!(-1), &json!(-2)]);
}

#[test]
fn an_operator_sells_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    row(
        dir,
        &[
            "product", "create", "--name", "Chair", "--price", "5", "--stock", "1", "--sku", "C",
        ],
    );
    let id = product(dir, "5");
    assert_eq!(row(dir, &["product", "get", &id])["price"], "19.99");
    assert_eq!(rows(dir, &["product", "list"]).len(), 2);
    assert_eq!(rows(dir, &["product", "list", "--search", "LAM"]).len(), 1);
    row(dir, &["product", "update", &id, "--name", "Lampe Été"]);
    for (part, found) in [("ÉTÉ", 1), ("e\u{301}te\u{301}", 1), ("ete", 0)] {
        let list = rows(dir, &["product", "list", "--search", part]);
        assert_eq!(list.len(), found, "{part}");
    }
    let updated = row(
        dir,
        &["product", "update", &id, "--price", "18.5", "--sku", "L"],
    );
    assert_eq!(
        (&updated["price"], &updated["sku"]),
        (&json!("18.50"), &json!("L"))
    );
    assert_eq!(row(dir, &["product", "adjust", &id, "-2"])["stock"], 3);

    let line = format!("{id}:1");
    let bought = row(
        dir,
        &["order", "purchase", "--line", &line, "--line", &line],
    );
    assert_eq!(
        (&bought["status"], &bought["total_price"]),
        (&json!("success"), &json!("37.00"))
    );
    let placed = row(
        dir,
        &["order", "place", "--line", &line, "--reference", "mine"],
    );
    assert_eq!(placed["status"], "pending");
    let bulk = row(dir, &["order", "bulk", "--product", &id, "--count", "10"]);
    assert_eq!(bulk, json!({"accepted": 10, "rejected": 0}));
    let decided = row(dir, &["worker", "run", "--drain", "--processor", "off"]);
    assert_eq!(decided, json!({"sold": 1, "held": 0, "failed": 10}));
    let placed = placed["id"].as_str().unwrap();
    assert_eq!(row(dir, &["order", "get", placed])["status"], "success");
    assert_eq!(
        rows(dir, &["order", "list", "--status", "failed"]).len(),
        10
    );
    assert_eq!(
        row(dir, &["order", "cancel", placed])["status"],
        "cancelled"
    );
    assert_eq!(row(dir, &["product", "get", &id])["stock"], 1);
    some_comes_back(dir, &id, bought["id"].as_str().unwrap());
    let verified = cli(dir, &["verify"]);
    assert!(verified.status.success(), "{verified:?}");

    let unasked = cli(dir, &["product", "delete", &id]);
    assert_eq!(
        unasked.status.code(),
        Some(1),
        "nobody was there to say yes"
    );
    assert!(
        cli(dir, &["product", "delete", &id, "--yes"])
            .status
            .success()
    );
    assert_eq!(cli(dir, &["product", "get", &id]).status.code(), Some(1));
}

#[test]
fn bad_rows_of_a_file_are_named_and_do_not_stop_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let id = product(dir.path(), "5");
    let mut file = std::fs::File::create(dir.path().join("orders.csv")).unwrap();
    write!(
        file,
        "product_id,quantity,reference\n\
         {id},1,first\n\
         {id},0,\n\
         nonsense,1,\n\
         {id},1.5,\n\
         01900000-0000-7000-8000-000000000000,1,\n\
         {id}\n\
         {id},2,last\n"
    )
    .unwrap();
    let output = cli(dir.path(), &["order", "bulk", "--file", "orders.csv"]);
    assert_eq!(output.status.code(), Some(1));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary, json!({"accepted": 2, "rejected": 5}));
    let told = String::from_utf8(output.stderr).unwrap();
    for (line, what) in [
        (3, "quantity"),
        (4, "product_id"),
        (5, "quantity"),
        (6, "not found"),
        (7, ""),
    ] {
        let named = told
            .lines()
            .find(|l| l.starts_with(&format!("line {line}: ")));
        assert!(
            named.is_some_and(|l| l.contains(what)),
            "line {line} in {told}"
        );
    }
    let decided = row(dir.path(), &["worker", "run", "--drain"]);
    assert_eq!(decided, json!({"sold": 2, "held": 0, "failed": 0}));
}

#[test]
fn what_has_a_key_is_placed_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let id = product(dir, "10");
    let line = format!("{id}:2");
    let purchase = [
        "order",
        "purchase",
        "--line",
        &line,
        "--idempotency-key",
        "k",
    ];
    let first = row(dir, &purchase);
    assert_eq!(row(dir, &purchase), first);
    let file = format!(
        "product_id,quantity,idempotency_key\n{id},1,row-1\n{id},1,row-2\n{id},3,k\n{id},1,\n"
    );
    std::fs::write(dir.join("orders.csv"), file).unwrap();
    for _ in 0..2 {
        let output = cli(
            dir,
            &["-o", "json", "order", "bulk", "--file", "orders.csv"],
        );
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains("line 4: the idempotency key was used"),
            "{told}"
        );
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary, json!({"accepted": 3, "rejected": 1}));
    }
    // The purchase, two rows with a key, and twice the one without.
    assert_eq!(rows(dir, &["order", "list"]).len(), 5);
}

#[test]
fn wrong_usage_exits_with_2_and_failure_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let id = "01900000-0000-7000-8000-000000000000";
    for (arguments, code) in [
        (
            &[
                "product", "create", "--name", "n", "--price", "1e3", "--stock", "1",
            ][..],
            2,
        ),
        (
            &[
                "product", "create", "--name", "n", "--price", "1", "--stock", "1.5",
            ],
            2,
        ),
        (
            &[
                "product",
                "create",
                "--name",
                "n",
                "--price",
                "1",
                "--stock=-1",
            ],
            1,
        ),
        (&["product", "get", "nonsense"], 2),
        (&["product", "get", id], 1),
        (&["order", "place"], 2),
        (&["order", "place", "--line", "x"], 2),
        (&["order", "place", "--line", &format!("{id}:0")], 2),
        (&["order", "place", "--line", &format!("{id}:1")], 1),
        (&["order", "bulk"], 2),
        (&["order", "bulk", "--product", id], 2),
        (&["order", "bulk", "--file", "nowhere.csv"], 1),
        (&["order", "list", "--status", "sold"], 2),
        (&["--database-url", "mysql://x", "product", "list"], 1),
        (&["nonsense"], 2),
    ] {
        let output = cli(dir.path(), arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        assert!(!output.stderr.is_empty(), "{arguments:?} says why");
    }
}

#[test]
fn results_are_tables_json_or_csv() {
    let dir = tempfile::tempdir().unwrap();
    let id = product(dir.path(), "5");
    let text = |format: &str| {
        let output = cli(dir.path(), &["-o", format, "product", "get", &id]);
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(text("table").contains("┌"));
    assert_eq!(
        text("csv"),
        format!("id,sku,name,price,currency,stock,version\n{id},,Lamp,19.99,USD,5,1\n")
    );
    assert_eq!(
        serde_json::from_str::<Value>(&text("json")).unwrap()["id"],
        json!(id)
    );
}

#[test]
fn the_queue_is_looked_after() {
    let redis = order_core::testing::RedisServer::start();
    let url = redis.url();
    let dir = tempfile::tempdir().unwrap();
    let queue = |arguments: &[&str]| {
        rows(
            dir.path(),
            &[&["--redis-url", &url, "queue"], arguments].concat(),
        )
    };
    let id = product(dir.path(), "5");
    let place = [
        "--redis-url",
        &url,
        "order",
        "place",
        "--line",
        &format!("{id}:1"),
    ];
    row(dir.path(), &place);
    queue(&["pause", "validate"]);
    let stats = &queue(&["stats"])[0];
    assert_eq!(
        (&stats["waiting"], &stats["paused"]),
        (&json!(1), &json!(true))
    );
    queue(&["resume", "validate"]);
    assert_eq!(queue(&["stats"])[0]["paused"], false);
    assert_eq!(queue(&["dead"]), Vec::<Value>::new());
    let unknown = cli(dir.path(), &["--redis-url", &url, "queue", "redrive", &id]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
}

#[test]
fn tasks_are_held_by_a_pause_and_done_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let line = format!("{}:1", product(dir, "5"));
    let bought = row(dir, &["order", "purchase", "--line", &line]);
    let id = bought["id"].as_str().unwrap();
    let paused = row(dir, &["queue", "pause", "process"]);
    assert_eq!(
        (&paused["waiting"], &paused["paused"]),
        (&json!(1), &json!(true))
    );
    row(dir, &["worker", "run", "--drain"]);
    assert_eq!(row(dir, &["order", "get", id])["status"], "success");
    row(dir, &["queue", "resume", "process"]);
    row(dir, &["worker", "run", "--drain"]);
    assert_eq!(row(dir, &["order", "get", id])["status"], "completed");
    let stats = rows(dir, &["queue", "stats"]);
    assert_eq!(
        (&stats[1]["topic"], &stats[1]["waiting"]),
        (&json!("process"), &json!(0))
    );
    assert_eq!(rows(dir, &["queue", "dead"]), Vec::<Value>::new());
}

#[test]
fn keys_belong_to_clients_and_may_end() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let client = row(dir, &["client", "create", "--name", "till"]);
    let create = |arguments: &[&str]| {
        let key = ["key", "create", "--scope", "metrics", "--name"];
        cli(dir, &[&key[..], arguments].concat())
    };
    let made = |arguments: &[&str]| lines(&create(arguments).stdout).remove(0);
    let end = "2999-01-31T00:00:00Z";
    let first = made(&["of 2026", "--client", "till", "--expires", end]);
    assert_eq!(first["client_id"], client["id"]);
    assert_eq!(
        (&first["client"], &first["expires_at"]),
        (&json!("till"), &json!(end))
    );
    // Without a client, the name of the key names it, whether it is there or not.
    let second = made(&["till"]);
    assert_eq!(second["client_id"], client["id"]);
    let other = made(&["web"]);
    assert_eq!(other["client"], "web");
    let listed = rows(dir, &["key", "list"]);
    let clients: Vec<_> = listed.iter().map(|key| &key["client"]).collect();
    assert_eq!(clients, ["web", "till", "till"]);
    assert_eq!(listed[2]["expires_at"], end);
    let clients = rows(dir, &["client", "list"]);
    let of = |at: usize| (&clients[at]["name"], &clients[at]["keys"]);
    assert_eq!(of(0), (&json!("web"), &json!(1)));
    assert_eq!(of(1), (&json!("till"), &json!(2)));
    for (arguments, code) in [
        (&["x", "--client", "tilt"][..], 1),
        (&["x", "--expires", "2001-01-01T00:00:00Z"], 1),
        (&["x", "--expires", "soon"], 2),
    ] {
        let refused = create(arguments).status.code();
        assert_eq!(refused, Some(code), "{arguments:?}");
    }
    let again = cli(dir, &["client", "create", "--name", "till"]);
    assert_eq!(again.status.code(), Some(1), "the name is taken");
    assert_eq!(rows(dir, &["client", "list"]), clients);
    let client = client["id"].as_str().unwrap();
    let orders = rows(dir, &["order", "list", "--client", client]);
    assert_eq!(orders, Vec::<Value>::new());
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let create = [
        "key", "create", "--name", "till 1", "--scope", "orders", "--scope", "read",
    ];
    let created = row(dir, &create);
    let (id, key) = (
        created["id"].as_str().unwrap(),
        created["key"].as_str().unwrap(),
    );
    assert!(key.starts_with("ok_") && key.len() == 46, "{key}");
    assert_eq!(created["scopes"], json!(["read", "orders"]));
    let listed = row(dir, &["key", "list"]);
    assert_eq!(
        (&listed["id"], &listed["name"]),
        (&json!(id), &json!("till 1"))
    );
    assert_eq!(listed["revoked_at"], Value::Null);
    for format in ["table", "json", "csv"] {
        let text = cli(dir, &["-o", format, "key", "list"]).stdout;
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains(key), "{text}");
        assert!(format == "json" || text.contains("read orders"), "{text}");
    }
    let files = ["orders.db", "orders.db-wal"].map(|file| std::fs::read(dir.join(file)));
    let database = files.into_iter().flatten().flatten().collect::<Vec<u8>>();
    let has = |text: &str| {
        database
            .windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    };
    assert!(has("till 1") && !has(key), "the key is in the database");

    let unasked = cli(dir, &["key", "revoke", id]);
    assert_eq!(
        unasked.status.code(),
        Some(1),
        "nobody was there to say yes"
    );
    let revoked = row(dir, &["key", "revoke", id, "--yes"]);
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
    assert_eq!(row(dir, &["key", "list"]), revoked);
    let unknown = "01900000-0000-7000-8000-000000000000";
    for (arguments, code) in [
        (&["key", "revoke", unknown, "--yes"][..], 1),
        (&["key", "create", "--name", "n"], 2),
        (&["key", "create", "--name", "n", "--scope", "all"], 2),
        (&["key", "create", "--name", "", "--scope", "read"], 1),
    ] {
        let output = cli(dir, arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
    }
}

#[test]
fn verify_names_what_does_not_balance() {
    let dir = tempfile::tempdir().unwrap();
    let id = product(dir.path(), "5");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    runtime.block_on(order_core::testing::corrupt_stock(
        &url,
        id.parse().unwrap(),
        2,
    ));
    let output = cli(dir.path(), &["verify"]);
    assert_eq!(output.status.code(), Some(1));
    let named: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(named["id"], id);
    assert_eq!(named["check"], "stock");
    assert_eq!(named["expected"], "5 (5 adjusted, 0 held by orders)");
    assert_eq!(named["found"], "3");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("adjust the stock"), "{told}");
    for part in [
        &["--sample", "50"][..],
        &["--since", "2020-01-01T00:00:00Z"],
    ] {
        let output = cli(dir.path(), &[&["verify"], part].concat());
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains("stock and counters were not compared"),
            "{told}"
        );
        let counted: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(counted["products"], 1);
    }
}

#[test]
fn what_only_reads_makes_no_database() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = "00000000-0000-0000-0000-000000000000";
    let reading: &[&[&str]] = &[
        &["verify"],
        &["product", "get", nobody],
        &["product", "list"],
        &["product", "stock", nobody],
        &["product", "export"],
        &["order", "get", nobody],
        &["order", "list"],
        &["order", "watch", nobody],
        &["queue", "stats"],
        &["queue", "tasks"],
        &["stats"],
        &["workers"],
        &["migrate", "--status"],
        &["queue", "dead"],
        &["key", "list"],
    ];
    for arguments in reading {
        let output = cli(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("orders.db"), "{arguments:?}: {told}");
        let files = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files, 0, "{arguments:?}");
    }
    assert!(cli(dir.path(), &["migrate"]).status.success());
    assert_eq!(rows(dir.path(), &["product", "list"]).len(), 0);
    assert!(cli(dir.path(), &["verify"]).status.success());
}

/// Readers that leave at once, and disks that are full.
#[test]
fn outputs_that_take_nothing_make_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    product(dir.path(), "5");
    for arguments in [
        &["completions", "bash"][..],
        &["openapi"],
        &["man"],
        &["product", "list"],
        &["product", "export"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed = shell::command(dir.path(), arguments)
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(closed.status.code(), Some(0), "{arguments:?}: {closed:?}");
        assert!(closed.stderr.is_empty(), "{arguments:?}: {closed:?}");
        let full = || std::fs::File::create("/dev/full").unwrap();
        let output = shell::command(dir.path(), arguments)
            .stdout(full())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains("no space left on device"),
            "{arguments:?}: {told}"
        );
    }
    let full = std::fs::File::create("/dev/full").unwrap();
    let untold = shell::command(
        dir.path(),
        &["product", "get", "01900000-0000-7000-8000-000000000000"],
    )
    .stderr(full)
    .output()
    .unwrap();
    assert_eq!(untold.status.code(), Some(1));
    let pages = dir.path().join("man");
    std::fs::create_dir(&pages).unwrap();
    assert!(cli(dir.path(), &["man", "--dir", "man"]).status.success());
    let page = std::fs::read_to_string(pages.join("order-cli-product-import.1")).unwrap();
    assert!(page.contains("stock_delta"), "{page}");
    let at = |part: &str| {
        page.find(part)
            .unwrap_or_else(|| panic!("no {part} in {page}"))
    };
    assert!(at("set\\-stock") < at("database\\-url"), "{page}");
    assert!(
        at("OPTIONS OF ALL COMMANDS") < at("code of ISO 4217"),
        "{page}"
    );
    assert!(at("code of ISO 4217") < at("Examples:"), "{page}");
}

#[test]
fn what_cannot_be_opened_is_said_once_with_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("text.db"), "no database ".repeat(99)).unwrap();
    for (url, expected) in [
        (
            "postgres://localhost:9/x",
            "order-cli: cannot reach postgres at localhost:9: connection refused; is it running? \
             set DATABASE_URL\n",
        ),
        (
            "postgres://u:s3cr3t@localhost:9,127.0.0.1:9/x",
            "order-cli: cannot reach postgres (no server takes writes: localhost:9 does not answer \
             (connection refused), 127.0.0.1:9 does not answer (connection refused)); is it \
             running? set DATABASE_URL\n",
        ),
        (
            "sqlite://text.db",
            "order-cli: cannot open the database sqlite://text.db: file is not a database; \
             DATABASE_URL names it\n",
        ),
        (
            "sqlite://none.db",
            "order-cli: cannot open the database: database_url names no file: none.db; \
             `order-cli migrate` makes a database\n",
        ),
    ] {
        let list = ["--database-url", url, "product", "list"];
        let mut command = shell::command(dir.path(), &list);
        command
            .env("DATABASE_ACQUIRE_TIMEOUT_MS", "300")
            .env("REDIS_URL", "");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
    }
}
