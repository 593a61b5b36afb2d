//! Imports: what they change, what they leave, and what they may be interrupted by.

use std::{
    fmt::Write,
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use order_core::{
    OrderService,
    domain::{OrderRequest, ProductId, Quantity, RequestedLine},
    store::connect,
    testing::{PostgresServer, Process},
};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{
    Desk,
    shell::{cli_reading, command, lines},
};

const LAMPS: &str = "sku,name,price,stock\nL,Lamp,19.99,10\nC,Chair,5,3\n";

impl Desk {
    /// Imports a file of this text.
    fn import(&self, text: &str, arguments: &[&str]) -> Output {
        self.write("products.csv", text);
        self.run(&[&["product", "import", "products.csv"], arguments].concat())
    }

    /// The same, and it succeeds: what it did of what kind.
    fn imported(&self, text: &str, arguments: &[&str]) -> Value {
        let output = self.import(text, arguments);
        assert!(output.status.success(), "{output:?}");
        done(&output)
    }

    fn id(&self, sku: &str) -> String {
        let products = self.rows(&["product", "list", "--limit", "1000"]);
        let product = products.iter().find(|product| product["sku"] == sku);
        product.unwrap()["id"].as_str().unwrap().to_owned()
    }

    fn sell(&self, sku: &str, pieces: u32) {
        let line = format!("{}:{pieces}", self.id(sku));
        self.rows(&["order", "purchase", "--line", &line]);
    }

    fn stock(&self, sku: &str) -> Value {
        self.product(sku)[2].clone()
    }
}

/// The counts of a summary that are not 0.
fn done(output: &Output) -> Value {
    let mut summary = lines(&output.stdout).remove(0);
    summary
        .as_object_mut()
        .unwrap()
        .retain(|_, count| *count != 0);
    summary
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn an_edited_export_does_not_set_the_stock_back() {
    for desk in Desk::each() {
        desk.imported(LAMPS, &[]);
        let exported = String::from_utf8(desk.run(&["product", "export"]).stdout).unwrap();
        desk.sell("L", 6);
        let edited = exported.replace("19.99", "18.50");
        let output = desk.import(&edited, &[]);
        assert_eq!(
            done(&output),
            json!({"updated": 1, "unchanged": 1, "stock_left": 1})
        );
        assert!(told(&output).contains("--set-stock sets it"), "{output:?}");
        assert_eq!(desk.product("L"), json!(["Lamp", "18.50", 4, 3]));
        assert!(desk.run(&["verify"]).status.success());
    }
}

#[test]
fn stock_is_set_by_request_and_only_where_nothing_was_sold_meanwhile() {
    for desk in Desk::each() {
        desk.imported(LAMPS, &[]);
        let exported = String::from_utf8(desk.run(&["product", "export"]).stdout).unwrap();
        desk.sell("L", 6);
        let counted = exported.replace(",10,1", ",12,1").replace(",3,1", ",5,1");
        let output = desk.import(&counted, &["--set-stock"]);
        assert_eq!(done(&output), json!({"updated": 1, "rejected": 1}));
        assert_eq!(output.status.code(), Some(1));
        let reason = "the stock is not set: the product is at version 2, and the row at 1";
        assert!(told(&output).contains(reason), "{output:?}");
        assert_eq!((desk.stock("L"), desk.stock("C")), (json!(4), json!(5)));
        // The same again: what is set is as it should be.
        let output = desk.import(&counted, &["--set-stock"]);
        assert_eq!(done(&output), json!({"unchanged": 1, "rejected": 1}));

        let without = desk.import("sku,stock\nL,12\n", &["--set-stock"]);
        assert_eq!(without.status.code(), Some(1));
        assert!(told(&without).contains("needs the column version"));
        let empty = desk.import("sku,stock,version\nL,12,\n", &["--set-stock"]);
        assert!(
            told(&empty).contains("line 2: version is needed"),
            "{empty:?}"
        );
        assert_eq!(desk.stock("L"), json!(4));
        assert!(desk.run(&["verify"]).status.success());
    }
}

#[test]
fn pieces_are_added_once_however_often_the_file_is_imported() {
    for desk in Desk::each() {
        desk.imported(LAMPS, &[]);
        desk.sell("L", 6);
        let delivery = "sku,name,price,stock_delta\nL,,,50\nC,,6,-1\nN,New,1,7\n";
        let plan = desk.imported(delivery, &["--dry-run"]);
        assert_eq!(plan, json!({"created": 1, "updated": 2}));
        assert_eq!(desk.stock("L"), json!(4));
        assert_eq!(desk.imported(delivery, &[]), plan);
        let stocks = |desk: &Desk| ["L", "C", "N"].map(|sku| desk.stock(sku));
        assert_eq!(stocks(&desk), [54, 2, 7].map(|stock| json!(stock)));
        let again = desk.import(delivery, &[]);
        assert_eq!(done(&again), json!({"unchanged": 3, "added_before": 3}));
        assert!(
            told(&again).contains("another name with --key"),
            "{again:?}"
        );
        assert_eq!(stocks(&desk), [54, 2, 7].map(|stock| json!(stock)));
        desk.imported(delivery, &["--key", "the-next-one"]);
        assert_eq!(stocks(&desk), [104, 1, 14].map(|stock| json!(stock)));

        let too_many = desk.import("sku,stock_delta\nL,-105\nC,x\n", &[]);
        assert_eq!(done(&too_many), json!({"rejected": 2}));
        assert!(told(&too_many).contains("has 104 left, 105 requested"));
        assert!(told(&too_many).contains("line 3: stock_delta must be a whole number"));
        let arguments = ["--database-url", &desk.url, "product", "import", "-"];
        let piped = |more: &[&str]| {
            let arguments = [&arguments[..], more].concat();
            cli_reading(desk.path(), &arguments, b"sku,stock_delta\nL,1\n")
        };
        assert!(told(&piped(&[])).contains("give a name to this import with --key"));
        assert!(piped(&["--key", "k"]).status.success());
        assert_eq!(desk.stock("L"), json!(105));
        assert!(desk.run(&["verify"]).status.success());
    }
}

/// An empty cell leaves what is there, as with every other column.
#[test]
fn windows_and_limits_are_exported_and_imported() {
    for desk in Desk::each() {
        let columns = "sku,name,price,stock,limit_per_customer,on_sale_from,on_sale_until\n";
        let terms = "2,2030-01-01T00:00:00Z,2030-01-02T00:00:00Z";
        let text = format!("{columns}L,Lamp,19.99,10,{terms}\nC,Chair,5,3,,,\n");
        assert_eq!(desk.imported(&text, &[])["created"], 2);
        let exported = told_by(&desk.run(&["product", "export"]));
        assert!(
            exported.contains(&format!(",L,Lamp,19.99,10,1,{terms}\n")),
            "{exported}"
        );
        assert!(exported.contains(",C,Chair,5.00,3,1,,,\n"), "{exported}");
        assert_eq!(desk.imported(&exported, &[])["unchanged"], 2);

        let changed = format!("{columns}L,,,,3,,\nC,,,,,,2030-01-03T00:00:00+02:00\n");
        assert_eq!(desk.imported(&changed, &[])["updated"], 2);
        let exported = told_by(&desk.run(&["product", "export"]));
        let lamp = ",2,3,2030-01-01T00:00:00Z,2030-01-02T00:00:00Z\n";
        assert!(exported.contains(lamp), "{exported}");
        assert!(
            exported.contains(",2,,,2030-01-02T22:00:00Z\n"),
            "{exported}"
        );

        // More digits than a database keeps change it once.
        let exact = format!("{columns}L,,,,,,2030-01-02T00:00:00.1234567Z\n");
        assert_eq!(desk.imported(&exact, &[]), json!({"updated": 1}));
        assert_eq!(desk.imported(&exact, &[]), json!({"unchanged": 1}));
        let exported = told_by(&desk.run(&["product", "export"]));
        assert!(
            exported.contains(",2030-01-02T00:00:00.123456Z\n"),
            "{exported}"
        );

        let wrong = format!("{columns}L,,,,0,,\nC,,,,,tomorrow,\nL,,,,,,2029-01-01T00:00:00Z\n");
        let output = desk.import(&wrong, &[]);
        let reasons = told(&output);
        for reason in [
            "line 2: limit_per_customer must be from 1 to 1000000",
            "line 3: on_sale_from must be a time such as 2026-11-27T08:00:00Z",
            "line 4: on_sale_until must be later than on_sale_from",
        ] {
            assert!(reasons.contains(reason), "{reasons}");
        }
    }
}

fn told_by(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn files_of_other_programs_are_read_as_they_are() {
    let desk = Desk::at("sqlite://orders.db".to_owned());
    let created = json!({"created": 1});
    let semicolons = "\u{feff}SKU;Name;PRICE ;Stock\r\nA;Lamp, old;19.99;1\r\n";
    assert_eq!(desk.imported(semicolons, &[]), created);
    assert_eq!(desk.product("A"), json!(["Lamp, old", "19.99", 1, 1]));
    assert_eq!(
        desk.imported("Sku\tname\tprice\tstock\nB\tB\t1\t1\n", &[]),
        created
    );
    let bars = "sku|name|price|stock\nD|D|1|1\n";
    assert_eq!(desk.imported(bars, &["--delimiter", "|"]), created);
    assert_eq!(
        desk.import(bars, &["--delimiter", "bar"]).status.code(),
        Some(2)
    );
    for (text, reason) in [
        (
            "sku,colour,size\nA,red,1\nA,blue,2\n",
            "unknown column \"colour\"; known are id, sku",
        ),
        ("sku,SKU\nA,A\n", "column sku is there twice"),
        ("\u{0}", "column"),
    ] {
        let output = desk.import(text, &[]);
        assert_eq!(output.status.code(), Some(1));
        let told = told(&output);
        assert_eq!(told.lines().count(), 1, "once: {told}");
        assert!(told.contains(reason), "{told}");
    }
    std::fs::write(desk.path().join("utf16.csv"), b"\xff\xfes\0k\0u\0").unwrap();
    let output = desk.run(&["product", "import", "utf16.csv"]);
    assert!(
        told(&output).contains("save it as CSV in UTF-8"),
        "{output:?}"
    );
}

#[test]
fn rejected_rows_are_counted_and_kept_to_be_corrected() {
    let desk = Desk::at("sqlite://orders.db".to_owned());
    let mut text = "sku;name;price;stock\n".to_owned();
    for n in 0..25 {
        writeln!(text, "S-{n};\"A \"\"name\"\"; {n}\";wrong;1").unwrap();
    }
    text.push_str("S-ok;ok;1;1\n");
    let output = desk.import(&text, &["--rejects", "rejected.csv"]);
    assert_eq!(done(&output), json!({"created": 1, "rejected": 25}));
    let told_lines = told(&output);
    assert_eq!(told_lines.lines().count(), 21, "{told_lines}");
    assert!(
        told_lines.ends_with("\n5 more rows were rejected\n"),
        "{told_lines}"
    );
    let rejected = desk.read("rejected.csv");
    let first = "S-0;\"A \"\"name\"\"; 0\";wrong;1;price must be a decimal";
    assert!(
        rejected.starts_with(&format!("sku;name;price;stock;rejected_because\n{first}")),
        "{rejected}"
    );
    let corrected = rejected.replace(";wrong;", ";1;");
    assert_eq!(desk.imported(&corrected, &[]), json!({"created": 25}));
    assert_eq!(desk.product("S-7")[0], "A \"name\"; 7");
    let onto_itself = desk.import(&text, &["--rejects", "./products.csv"]);
    assert!(
        told(&onto_itself).contains("would overwrite"),
        "{onto_itself:?}"
    );
    assert_eq!(desk.read("products.csv"), text);

    desk.write("orders.csv", "PRODUCT_ID\tquantity\nx\t1\n");
    let bulk = [
        "order",
        "bulk",
        "--file",
        "orders.csv",
        "--rejects",
        "r.csv",
    ];
    assert_eq!(desk.run(&bulk).status.code(), Some(1));
    assert!(
        desk.read("r.csv")
            .starts_with("PRODUCT_ID\tquantity\trejected_because\nx\t1\t")
    );
}

/// Twenty thousand rows, a kill in the middle, and the same command again.
#[test]
fn an_import_that_was_killed_goes_on_when_it_is_started_again() {
    const ROWS: usize = 20_000;
    for desk in Desk::each() {
        let mut text = "sku,name,price,stock\n".to_owned();
        for n in 0..ROWS {
            writeln!(text, "S-{n},Product {n},{n}.05,{n}").unwrap();
        }
        desk.write("products.csv", &text);
        desk.rows(&["migrate"]);
        let arguments = [
            "--database-url",
            &desk.url,
            "product",
            "import",
            "products.csv",
        ];
        let import = command(desk.path(), &arguments).spawn().unwrap();
        let mut import = Process(import);
        let until = Instant::now() + Duration::from_secs(60);
        while desk.rows(&["product", "list", "--limit", "1"]).is_empty() {
            assert!(Instant::now() < until, "nothing is imported");
        }
        import.0.kill().unwrap();
        import.0.wait().unwrap();
        let again = desk.rows(&["product", "import", "products.csv"]).remove(0);
        let (created, unchanged) = (&again["created"], &again["unchanged"]);
        let (created, unchanged) = (created.as_u64().unwrap(), unchanged.as_u64().unwrap());
        assert_eq!(created + unchanged, ROWS as u64, "{again}");
        assert!(unchanged > 0, "{again}");
        let same = desk.rows(&["product", "import", "products.csv"]).remove(0);
        assert_eq!(same["unchanged"], json!(ROWS));
        assert!(desk.run(&["verify"]).status.success());
    }
}

/// Sales of products whose prices an import changes: each is sold, and nobody waits for long.
#[test]
fn sales_go_on_beside_an_import() {
    const PRODUCTS: usize = 3_000;
    const HOT: usize = 20;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let desk = Desk::at(runtime.block_on(PostgresServer::shared().database()));
    let rows = |price: usize| {
        let mut text = "sku,name,price,stock\n".to_owned();
        for n in 0..PRODUCTS {
            writeln!(text, "S-{n:04},Lamp,{price},100000").unwrap();
        }
        text
    };
    desk.imported(&rows(1), &[]);
    let products = desk.rows(&["product", "list", "--limit", "100000"]);
    let hot: Vec<ProductId> = products[PRODUCTS / 2..]
        .iter()
        .take(HOT)
        .map(|product| product["id"].as_str().unwrap().parse().unwrap())
        .collect();
    let stop = AtomicBool::new(false);
    let (sold, slowest) = std::thread::scope(|scope| {
        let selling = scope.spawn(|| runtime.block_on(sell(&desk.url, &hot, &stop)));
        for price in [2, 3] {
            assert_eq!(desk.imported(&rows(price), &[])["updated"], json!(PRODUCTS));
        }
        stop.store(true, Ordering::Relaxed);
        selling.join().unwrap()
    });
    assert!(sold > 10, "{sold}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert_eq!(runtime.block_on(deadlocks(&desk.url)), 0);
    assert!(desk.run(&["verify"]).status.success());
}

/// The deadlocks that Postgres ended in a database.
async fn deadlocks(url: &str) -> i64 {
    let mut session = PgConnection::connect(url).await.unwrap();
    let count = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let count = sqlx::query_scalar(count).fetch_one(&mut session).await;
    count.unwrap()
}

/// Sells until it is told to stop; gives the number of orders, and the longest that one took.
async fn sell(url: &str, products: &[ProductId], stop: &AtomicBool) -> (u64, Duration) {
    let service = OrderService::builder(connect(url).await.unwrap()).build();
    let buyers = products.iter().map(|product_id| async {
        let (mut sold, mut slowest) = (0, Duration::ZERO);
        while !stop.load(Ordering::Relaxed) {
            let line = RequestedLine {
                product_id: *product_id,
                quantity: Quantity::new(1).unwrap(),
            };
            let begun = Instant::now();
            let order = OrderRequest::new(vec![line], None).unwrap();
            service.purchase(order).await.unwrap();
            sold += 1;
            slowest = slowest.max(begun.elapsed());
        }
        (sold, slowest)
    });
    let sales = futures_util::future::join_all(buyers).await;
    let sold = sales.iter().map(|(sold, _)| sold).sum();
    let slowest = sales.iter().map(|(_, slowest)| *slowest).max();
    (sold, slowest.unwrap_or_default())
}
