//! Products that come from files and go to files, and orders that are watched, on each database.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

#[path = "catalogue/import.rs"]
mod import;
mod shell;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use order_core::testing::{PostgresServer, Process};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use shell::{cli, cli_reading, command, lines};

/// Where a test works: a folder, and a database of its own.
struct Desk {
    dir: tempfile::TempDir,
    url: String,
}

impl Desk {
    /// One on each database.
    fn each() -> [Self; 2] {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let postgres = runtime.block_on(PostgresServer::shared().database());
        [
            Self::at("sqlite://orders.db".to_owned()),
            Self::at(postgres),
        ]
    }

    fn at(url: String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, url }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        cli(
            self.path(),
            &[&["--database-url", &self.url], arguments].concat(),
        )
    }

    /// The JSON lines of a command that succeeds.
    fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        lines(&output.stdout)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path().join(file), text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path().join(file)).unwrap()
    }

    /// What is for sale by sku: name, price, stock and version.
    fn product(&self, sku: &str) -> Value {
        let products = self.rows(&["product", "list", "--limit", "1000"]);
        let product = products.into_iter().find(|product| product["sku"] == sku);
        let product = product.unwrap_or_else(|| panic!("{sku} is not there"));
        json!([
            product["name"],
            product["price"],
            product["stock"],
            product["version"]
        ])
    }
}

#[test]
fn products_are_created_and_updated_by_sku_and_bad_rows_are_named() {
    for desk in Desk::each() {
        desk.write(
            "products.csv",
            "sku, name ,price,stock\n\
             L-1,Lamp,19.99,3\n\
             L-1,,18.50,\n\
             C-1,\"Chair, \"\"old\"\"\",5,0\n\
             ,No sku,1,1\n\
             B-1,Bad price,1.999,1\n\
             B-2,Bad stock,1,many\n\
             B-3,No stock,1,\n\
             B-4,Too few\n\
             B-5,,1,1\n\
             T-1, Table,7.5,1000000000000\n",
        );
        let output = desk.run(&["product", "import", "products.csv"]);
        assert_eq!(output.status.code(), Some(1), "some were rejected");
        let summary = json!({"created": 3, "updated": 1, "unchanged": 0, "rejected": 6, "stock_left": 0, "added_before": 0});
        assert_eq!(lines(&output.stdout), [summary]);
        let told = String::from_utf8(output.stderr).unwrap();
        for (line, what) in [
            (5, "sku is needed"),
            (6, "price must have at most two decimals"),
            (7, "stock must be a whole number"),
            (8, "stock is needed for a new product"),
            (9, ""),
            (10, "name"),
        ] {
            let start = format!("line {line}: ");
            let named = told.lines().find(|told| told.starts_with(&start));
            assert!(
                named.is_some_and(|told| told.contains(what)),
                "{line} in {told}"
            );
        }
        assert_eq!(
            desk.product("L-1"),
            json!(["Lamp", "18.50", 3, 2]),
            "the last row counts"
        );
        assert_eq!(desk.product("C-1"), json!(["Chair, \"old\"", "5.00", 0, 1]));
        assert_eq!(
            desk.product("T-1"),
            json!([" Table", "7.50", 1_000_000_000_000_i64, 1])
        );

        let stock = "sku,stock,version\nC-1,4,1\nL-1,3,1\n";
        let output = cli_reading(
            desk.path(),
            &[
                "--database-url",
                &desk.url,
                "product",
                "import",
                "-",
                "--set-stock",
            ],
            stock.as_bytes(),
        );
        assert!(output.status.success(), "{output:?}");
        let summary = json!({"created": 0, "updated": 1, "unchanged": 1, "rejected": 0, "stock_left": 0, "added_before": 0});
        assert_eq!(lines(&output.stdout), [summary]);
        assert_eq!(desk.product("C-1"), json!(["Chair, \"old\"", "5.00", 4, 2]));
        assert_eq!(
            desk.product("L-1"),
            json!(["Lamp", "18.50", 3, 2]),
            "nothing changed"
        );
        assert!(desk.run(&["verify"]).status.success());
    }
}

/// More locked products than rows are under way at once: each is reported, and the rest is done.
#[test]
fn products_that_somebody_holds_locked_fail_only_their_own_rows() {
    const ROWS: usize = 100;
    const LOCKED: usize = 12;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let desk = Desk::at(runtime.block_on(PostgresServer::shared().database()));
    let rows = |price: usize| {
        let rows = (1..=ROWS).map(|n| format!("S-{n:03},Lamp,{price},1\n"));
        std::iter::once("sku,name,price,stock\n".to_owned())
            .chain(rows)
            .collect::<String>()
    };
    desk.write("products.csv", &rows(1));
    desk.rows(&["product", "import", "products.csv"]);
    let mut session = runtime.block_on(async {
        let mut session = PgConnection::connect(&desk.url).await.unwrap();
        let lock = "BEGIN; SELECT FROM products WHERE sku <= 'S-012' FOR UPDATE";
        sqlx::raw_sql(lock).execute(&mut session).await.unwrap();
        session
    });
    desk.write("products.csv", &rows(2));
    let start = Instant::now();
    let output = desk.run(&["product", "import", "products.csv"]);
    assert!(start.elapsed() < Duration::from_secs(20), "all at once");
    assert_eq!(output.status.code(), Some(1));
    let summary = json!({
        "created": 0, "updated": ROWS - LOCKED, "unchanged": 0, "rejected": LOCKED, "stock_left": 0, "added_before": 0
    });
    assert_eq!(lines(&output.stdout), [summary]);
    let told = String::from_utf8(output.stderr).unwrap();
    for line in 2..2 + LOCKED {
        let start = format!("line {line}: product ");
        let named = told.lines().find(|told| told.starts_with(&start));
        assert!(named.is_some_and(|told| told.contains("locked")), "{told}");
    }
    let rollback = sqlx::raw_sql("ROLLBACK").execute(&mut session);
    runtime.block_on(rollback).unwrap();
    desk.rows(&["product", "import", "products.csv"]);
    assert!(desk.run(&["verify"]).status.success());
}

#[test]
fn files_that_are_no_product_files_are_refused() {
    let desk = Desk::at("sqlite://orders.db".to_owned());
    desk.write("none.csv", "name,price\nLamp,1\n");
    desk.write("unknown.csv", "sku,colour\nL,red\n");
    for (file, code, told) in [
        ("none.csv", 1, "column sku or id is missing"),
        ("nowhere.csv", 1, "cannot open nowhere.csv"),
        ("unknown.csv", 1, "colour"),
    ] {
        let output = desk.run(&["product", "import", file]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(told), "{file}: {stderr}");
    }
    assert_eq!(desk.rows(&["product", "list"]), Vec::<Value>::new());
}

/// More products than a page holds, names that CSV has to quote, and one without a sku.
#[test]
fn what_was_exported_is_imported_as_it_was() {
    for desk in Desk::each() {
        let row = |n: u32| format!("S-{n},\"Name, {n} \"\"ä\"\"\n  line\",{n}.05,{n}\n");
        let products: String = (1..=250).map(row).collect();
        desk.write("products.csv", &format!("sku,name,price,stock\n{products}"));
        assert!(
            desk.run(&["product", "import", "products.csv"])
                .status
                .success()
        );
        let lamp = [
            "product", "create", "--name", "Lamp", "--price", "19.99", "--stock", "3",
        ];
        let lamp = desk.rows(&lamp)[0]["id"].as_str().unwrap().to_owned();

        assert!(
            desk.run(&["product", "export", "--file", "all.csv"])
                .status
                .success()
        );
        let exported = desk.read("all.csv");
        assert_eq!(exported.as_bytes(), desk.run(&["product", "export"]).stdout);
        assert!(exported.starts_with(&format!(
            "id,sku,name,price,stock,version,limit_per_customer,on_sale_from,on_sale_until\n\
             {lamp},,Lamp,19.99,3,1,,,\n"
        )));
        let json = desk.rows(&["-o", "json", "product", "export"]);
        assert_eq!((json.len(), &json[0]["id"]), (251, &json!(lamp)));

        let same = json!({"created": 0, "updated": 0, "unchanged": 251, "rejected": 0, "stock_left": 0, "added_before": 0});
        assert_eq!(desk.rows(&["product", "import", "all.csv"]), [same]);

        let other = Desk::at("sqlite://orders.db".to_owned());
        other.write("all.csv", &exported);
        let output = other.run(&["product", "import", "all.csv"]);
        let summary = json!({"created": 250, "updated": 0, "unchanged": 0, "rejected": 1, "stock_left": 0, "added_before": 0});
        assert_eq!(
            lines(&output.stdout),
            [summary],
            "without a sku it is another product"
        );
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.starts_with(&format!("line 2: product {lamp} not found")),
            "{told}"
        );
        assert_eq!(other.product("S-7"), desk.product("S-7"));
        let text = "Name, 7 \"ä\"\n  line";
        assert_eq!(other.product("S-7"), json!([text, "7.05", 7, 1]));
    }
}

/// Names that a spreadsheet would calculate, and those that only look as if they were guarded.
#[test]
fn an_export_for_spreadsheets_has_no_formula_and_is_imported_as_it_was() {
    let names = [
        "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "''", " =1", "Lamp",
    ];
    for desk in Desk::each() {
        for (n, name) in names.iter().enumerate() {
            let sku = format!("={n}");
            let create = ["product", "create", "--price", "1", "--stock", "1"];
            desk.rows(&[&create[..], &["--sku", &sku, &format!("--name={name}")]].concat());
        }
        let export = ["product", "export", "--spreadsheet", "--file", "safe.csv"];
        assert!(desk.run(&export).status.success());
        let mut csv = csv::Reader::from_path(desk.path().join("safe.csv")).unwrap();
        let formula = ['=', '+', '-', '@', '\t', '\r', '\n', '＝'];
        let cells = csv.records().flat_map(|record| {
            let record = record.unwrap();
            record.iter().map(ToOwned::to_owned).collect::<Vec<_>>()
        });
        let cells: Vec<String> = cells.collect();
        assert_eq!(cells.len(), names.len() * 10);
        assert!(
            !cells.iter().any(|cell| cell.starts_with(formula)),
            "{cells:?}"
        );

        let same = json!({"created": 0, "updated": 0, "unchanged": names.len(), "rejected": 0, "stock_left": 0, "added_before": 0});
        assert_eq!(desk.rows(&["product", "import", "safe.csv"]), [same]);
        let other = Desk::at("sqlite://orders.db".to_owned());
        other.write("safe.csv", &desk.read("safe.csv"));
        other.rows(&["product", "import", "safe.csv"]);
        for (n, name) in names.iter().enumerate() {
            assert_eq!(other.product(&format!("={n}"))[0], json!(name));
        }
        let plain = |desk: &Desk| desk.run(&["product", "export"]).stdout;
        let without_ids = |text: Vec<u8>| {
            let mut csv = csv::Reader::from_reader(&text[..]);
            let rows = csv
                .records()
                .map(|row| row.unwrap().iter().skip(1).collect::<Vec<_>>().join("|"));
            let mut rows: Vec<String> = rows.collect();
            rows.sort();
            rows
        };
        assert_eq!(without_ids(plain(&other)), without_ids(plain(&desk)));
    }
    let desk = Desk::at("sqlite://orders.db".to_owned());
    let as_json = desk.run(&["-o", "json", "product", "export", "--spreadsheet"]);
    assert_eq!(as_json.status.code(), Some(1));
}

/// A name of somebody who would like to write elsewhere on the operator's screen.
#[test]
fn nothing_that_clients_wrote_is_obeyed_by_a_terminal() {
    let desk = Desk::at("sqlite://orders.db".to_owned());
    let name = "Lamp\u{1b}[2J\u{9b}31m\u{202e}pmal\u{7f}\r\n\u{7}";
    let create = ["product", "create", "--price", "1", "--stock", "1"];
    let id = desk.rows(&[&create[..], &["--name", name]].concat())[0]["id"].clone();
    let is_obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    for format in ["table", "json"] {
        let output = desk.run(&["-o", format, "product", "list"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains(is_obeyed), "{text:?}");
    }
    assert_eq!(
        desk.rows(&["product", "list"])[0]["name"],
        name,
        "JSON has it exactly"
    );
    let reference = format!("--reference={name}");
    let line = format!("{}:1", id.as_str().unwrap());
    desk.rows(&["order", "place", "--line", &line, &reference]);
    let text = desk.run(&["-o", "table", "order", "list"]).stdout;
    assert!(!String::from_utf8(text).unwrap().contains(is_obeyed));
    desk.write(
        "products.csv",
        "sku,name,price,stock\nA\u{1b}[2J,Lamp,1,1\nB,\u{9b},x\u{1b}[2J,1\n",
    );
    let told = String::from_utf8(desk.run(&["product", "import", "products.csv"]).stderr).unwrap();
    assert!(!told.contains(is_obeyed), "{told:?}");
    let told = String::from_utf8(desk.run(&["product", "import", "\u{1b}[2J.csv"]).stderr).unwrap();
    assert!(
        told.contains("\\u{1b}[2J.csv") && !told.contains(is_obeyed),
        "{told:?}"
    );
}

#[test]
fn the_audit_log_names_who_used_the_command_line() {
    for desk in Desk::each() {
        desk.write("products.csv", "sku,name,price,stock\nL,Lamp,19.99,1\n");
        let run = |arguments: &[&str]| {
            let arguments = [&["--database-url", &desk.url], arguments].concat();
            let mut command = command(desk.path(), &arguments);
            let output = command.env("USER", "ada").output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {output:?}");
            lines(&output.stdout)
        };
        run(&["product", "import", "products.csv"]);
        run(&["product", "import", "products.csv"]);
        desk.write(
            "products.csv",
            "sku,name,price,stock,version\nL,,18.50,7,1\n",
        );
        run(&["product", "import", "products.csv", "--set-stock"]);
        run(&["product", "export", "--file", "all.csv"]);
        let log = run(&["audit"]);
        let done = log.iter().map(|it| json!([it["client"], it["action"]]));
        let by_ada = |action: &str| json!(["order-cli:ada", action]);
        assert_eq!(
            done.collect::<Vec<_>>(),
            ["product.export", "product.update", "product.create"].map(by_ada)
        );
        assert_eq!(log[1]["before"]["stock"], 1);
        assert_eq!(log[1]["after"]["stock"], 7);
        let since = log[1]["at"].as_str().unwrap();
        let filtered = ["audit", "--since", since, "--action", "product.update"];
        assert_eq!(run(&filtered), [log[1].clone()]);
        assert_eq!(run(&["audit", "--limit", "1"]), [log[0].clone()]);
    }
}

#[test]
fn watching_an_order_tells_each_state_until_the_final_one() {
    for desk in Desk::each() {
        desk.write("products.csv", "sku,name,price,stock\nL,Lamp,19.99,1\n");
        desk.run(&["product", "import", "products.csv"]);
        let product = desk.rows(&["product", "list"])[0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let line = format!("{product}:1");
        let place = || {
            let placed = desk.rows(&["order", "place", "--line", &line]);
            placed[0]["id"].as_str().unwrap().to_owned()
        };
        let (sold, failed) = (place(), place());

        let database = ["--database-url", &desk.url];
        let watch = ["order", "watch", &sold];
        let mut watching = command(desk.path(), &[&database[..], &watch].concat());
        let mut watching = Process(watching.stdout(Stdio::piped()).spawn().unwrap());
        let out = BufReader::new(watching.0.stdout.take().unwrap());
        let mut states = out.lines().map(|line| {
            let state: Value = serde_json::from_str(&line.unwrap()).unwrap();
            assert_eq!(state["order_id"], json!(sold));
            assert!(state["updated_at"].is_string());
            state["status"].as_str().unwrap().to_owned()
        });
        assert_eq!(states.next().as_deref(), Some("pending"));
        // With nothing to follow the sale, it is not complete.
        let decide = ["worker", "run", "--drain", "--processor", "off"];
        assert!(desk.run(&decide).status.success());
        assert_eq!(states.next().as_deref(), Some("success"));
        assert!(desk.run(&["order", "cancel", &sold]).status.success());
        assert_eq!(states.next().as_deref(), Some("cancelled"));
        assert_eq!(states.next(), None, "that is final");
        assert!(watching.0.wait().unwrap().success());

        let watched = desk.run(&["-o", "table", "order", "watch", &failed]);
        let text = String::from_utf8(watched.stdout).unwrap();
        let states: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split("  ").last())
            .collect();
        assert_eq!(states, ["pending", "failed"]);
        let watched = desk.run(&["-o", "csv", "order", "watch", &failed]);
        assert!(watched.stdout.starts_with(b"updated_at,status\n"));
        assert_eq!(
            desk.run(&["order", "watch", &product]).status.code(),
            Some(1)
        );
    }
}

/// A currency has its decimals, and a database one currency.
#[test]
fn a_database_sells_in_one_currency() {
    let dir = tempfile::tempdir().unwrap();
    let yen = |arguments: &[&str]| {
        let mut command = shell::command(dir.path(), arguments);
        command.env("CURRENCY", "JPY").output().unwrap()
    };
    let create = |price| {
        yen(&[
            "product", "create", "--name", "n", "--price", price, "--stock", "9",
        ])
    };
    let product = &shell::lines(&create("1299").stdout)[0];
    assert_eq!(
        (&product["price"], &product["currency"]),
        (&json!("1299"), &json!("JPY"))
    );
    let line = format!("{}:2", product["id"].as_str().unwrap());
    let bought = &shell::lines(&yen(&["order", "purchase", "--line", &line]).stdout)[0];
    assert_eq!(
        (&bought["total_price"], &bought["currency"]),
        (&json!("2598"), &json!("JPY"))
    );
    let table = String::from_utf8(yen(&["product", "list", "-o", "table"]).stdout).unwrap();
    assert!(table.contains("1299") && table.contains("JPY"), "{table}");
    let refused = String::from_utf8(create("0.5").stderr).unwrap();
    assert!(refused.contains("price must have no decimals"), "{refused}");
    let document = serde_json::from_slice::<Value>(&yen(&["openapi"]).stdout).unwrap();
    assert_eq!(
        document["info"]["x-currency"],
        json!({"code": "JPY", "decimals": 0})
    );
    let example = &document["components"]["schemas"]["Product"]["example"];
    assert_eq!(
        (&example["price"], &example["currency"]),
        (&json!("1999"), &json!("JPY"))
    );
    for arguments in [["product", "list"], ["worker", "run"]] {
        let refused = cli(dir.path(), &arguments);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{told}");
        assert!(told.contains("sells in JPY, and CURRENCY is USD"), "{told}");
    }
    let wrong = cli(dir.path(), &["--currency", "Dollar", "product", "list"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}
