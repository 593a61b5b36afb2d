//! Every field at and past its bounds. What is refused names the field, and leaves no trace.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use serde_json::{Value, json};

use crate::shop::{self, on_each_store};

/// Refused orders: status, the field that is named, and the body. `ID` is a product, `LINE`
/// a good line, `LONG` 256 characters.
const ORDERS: &str = r#"
422 product_id           {"product_id":"x","quantity":1}
422 product_id           {"product_id":7,"quantity":1}
422 product_id           {"quantity":1}
422 quantity             {"product_id":"ID"}
422 product_id           {}
422 body                 []
422 body                 null
422 lines                {"lines":[]}
422 lines                {"product_id":"ID","quantity":1,"lines":[LINE]}
422 lines                {"quantity":1,"lines":[LINE]}
422 lines[0].product_id  {"lines":[{"quantity":1}]}
422 lines[0].product_id  {"lines":[{"product_id":"x","quantity":1}]}
422 lines[1].quantity    {"lines":[LINE,{"product_id":"ID"}]}
422 lines[1].sku         {"lines":[LINE,{"product_id":"ID","quantity":1,"sku":""}]}
422 price                {"product_id":"ID","quantity":1,"price":1}
422 reference            {"product_id":"ID","quantity":1,"reference":"LONG"}
422 reference            {"product_id":"ID","quantity":1,"reference":"\u0000"}
422 reference            {"product_id":"ID","quantity":1,"reference":5}
422 customer             {"product_id":"ID","quantity":1,"customer":""}
422 customer             {"product_id":"ID","quantity":1,"customer":"LONG"}
422 customer             {"product_id":"ID","quantity":1,"customer":"\u0000"}
422 customer             {"product_id":"ID","quantity":1,"customer":5}
404 -                    {"product_id":"01900000-0000-7000-8000-000000000000","quantity":1}
400 -                    {
400 -                    NaN
400 -                    {"product_id":"ID","quantity":NaN}
400 -                    {"product_id":"ID","quantity":1} x
400 -                    {"product_id":"ID","quantity":-1
"#;

const QUANTITIES: &str = r#"0 -1 1.5 1000001 2147483648 9223372036854775807 9223372036854775808
    1e7 1.0000000000000000000000001 "1" true null [] 99999999999999999999999999999999999999999"#;

const HOLDS: &str = r#"0 -1 86401 1.5 4294967297 9223372036854775808 "60" true [] {}"#;

const PRICES: &str = r#"-1 0.001 1e-3 1e13 10000000000000 "NaN" "" "1,5" true null [] "1e3" "-0" "+1"
    9999999999999999999999999999999999999999 1.000000000000000000001"#;

const STOCKS: &str = r#"-1 1000000000001 1.5 "1" null 9223372036854775808"#;

const PRODUCTS: &str = r#"
422 name   {"name":"","price":1,"stock":1}
422 name   {"name":"LONG","price":1,"stock":1}
422 name   {"name":"a\u0000b","price":1,"stock":1}
422 name   {"price":1,"stock":1}
422 sku    {"name":"n","price":1,"stock":1,"sku":""}
422 sku    {"name":"n","price":1,"stock":1,"sku":"LONG"}
422 stock  {"name":"n","price":1}
422 sku    {"name":"n","price":1,"stock":1,"sku":" \u3000"}
422 sku    {"name":"n","price":1,"stock":1,"sku":"\u200b"}
422 sku    {"name":"n","price":1,"stock":1,"sku":"a\u200bb"}
422 sku    {"name":"n","price":1,"stock":1,"sku":"a\u202eb"}
422 sku    {"name":"n","price":1,"stock":1,"sku":"a\tb"}
422 id     {"name":"n","price":1,"stock":1,"id":"x"}
400 -      {"name":"n","price":NaN,"stock":1}
"#;

const GOOD: &str = r#"
/products         {"name":"LONGEST","price":"9999999999999.99","stock":1000000000000,"sku":"s"}
/products         {"name":"n","price":0,"stock":0,"sku":null}
/products         {"name":"n","price":"0.5","stock":0}
/orders           {"product_id":"ID","quantity":1000000,"reference":"LONGEST"}
/orders           {"lines":[LINE,LINE,LINE],"reference":""}
/orders/purchase  {"product_id":"ID","quantity":1,"reference":null}
/orders/purchase  {"product_id":"ID","quantity":1,"customer":null,"hold_seconds":null}
/orders           {"product_id":"ID","quantity":1,"hold_seconds":8.64e4}
"#;

fn body(text: &str, id: &str) -> String {
    let line = format!(r#"{{"product_id":"{id}","quantity":1}}"#);
    text.trim()
        .replace("LINE", &line)
        .replace("LONGEST", &"ä".repeat(255))
        .replace("LONG", &"ä".repeat(256))
        .replace("ID", id)
}

/// What is sent, and what has to come back.
struct Bad {
    path: &'static str,
    body: String,
    status: u16,
    field: String,
}

fn table(path: &'static str, text: &str, id: &str) -> Vec<Bad> {
    let row = |line: &str| {
        let (status, rest) = line.split_once(' ')?;
        let (field, text) = rest.split_once(' ')?;
        Some(Bad {
            path,
            body: body(text, id),
            status: status.parse().unwrap(),
            field: field.to_owned(),
        })
    };
    text.lines().filter_map(row).collect()
}

/// One refused body for each value, put in place of `VALUE`.
fn each(path: &'static str, field: &str, values: &str, text: &str, id: &str) -> Vec<Bad> {
    values
        .split_whitespace()
        .map(|value| Bad {
            path,
            body: body(&text.replace("VALUE", value), id),
            status: 422,
            field: field.to_owned(),
        })
        .collect()
}

fn all_bad(id: &str) -> Vec<Bad> {
    let mut bad = table("/products", PRODUCTS, id);
    let product = r#"{"name":"n","price":VALUE,"stock":1}"#;
    bad.extend(each("/products", "price", PRICES, product, id));
    let product = r#"{"name":"n","price":1,"stock":VALUE}"#;
    bad.extend(each("/products", "stock", STOCKS, product, id));
    for path in ["/orders", "/orders/purchase"] {
        bad.extend(table(path, ORDERS, id));
        let order = r#"{"product_id":"ID","quantity":VALUE}"#;
        bad.extend(each(path, "quantity", QUANTITIES, order, id));
        let order = r#"{"product_id":"ID","quantity":1,"hold_seconds":VALUE}"#;
        bad.extend(each(path, "hold_seconds", HOLDS, order, id));
        let order = r#"{"lines":[LINE,{"product_id":"ID","quantity":VALUE}]}"#;
        bad.extend(each(path, "lines[1].quantity", QUANTITIES, order, id));
        let lines = vec!["LINE"; 101].join(",");
        let sized = |body: String, status, field: &str| Bad {
            path,
            body,
            status,
            field: field.to_owned(),
        };
        bad.push(sized(
            body(&format!(r#"{{"lines":[{lines}]}}"#), id),
            422,
            "lines",
        ));
        bad.push(sized(String::new(), 400, "-"));
        bad.push(sized(format!("\"{}\"", "x".repeat(1 << 20)), 413, "-"));
    }
    bad
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_and_leaves_no_trace() {
    on_each_store(async |shop| {
        let id = shop.product("p", 10_000_000).await;
        let before = shop.everything().await;
        for bad in all_bad(&id) {
            let refused = shop.post_text(bad.path, &bad.body).await;
            let shown: String = bad.body.chars().take(120).collect();
            let told = format!("{} {shown}: {}", bad.path, refused.body);
            assert_eq!(refused.status, bad.status, "{told}");
            assert_eq!(refused.header("content-type"), "application/problem+json");
            if bad.status == 422 {
                assert_eq!(refused.body["field"], *bad.field, "{told}");
            }
        }
        assert_eq!(shop.everything().await, before);
        for line in GOOD.lines().filter(|line| !line.is_empty()) {
            let (path, text) = line.split_once(' ').unwrap();
            let taken = shop.post_text(path, &body(text, &id)).await;
            assert!([201, 202].contains(&taken.status), "{line}: {}", taken.body);
        }
    })
    .await;
}

/// Bodies as arrays of what the fields of their objects hold.
const ARRAYS: &str = r#"
POST  /products           ["n","1.5",5]
POST  /products           ["n","1.5",5,null]
PUT   /products/ID        ["n","1.5",5]
PATCH /products/ID        ["n","1.5",5,"s"]
POST  /products/ID/stock  [1,"r"]
POST  /orders             ["ID",1,null,null]
POST  /orders             {"lines":[["ID",1]]}
POST  /orders/purchase    ["ID",1,null,null]
POST  /orders/purchase    {"lines":[["ID",1]]}
POST  /orders/bulk        [[LINE]]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn arrays_are_not_taken_for_objects() {
    on_each_store(async |shop| {
        let id = shop.product("p", 10).await;
        let before = shop.everything().await;
        for line in ARRAYS.lines().filter(|line| !line.is_empty()) {
            let (method, rest) = line.split_once(' ').unwrap();
            let (path, text) = rest.trim().split_once(' ').unwrap();
            let path = path.replace("ID", &id);
            let value: Value = serde_json::from_str(&body(text, &id)).unwrap();
            let refused = shop.send(method, &path, &[], Some(&value)).await;
            assert_eq!(refused.status, 422, "{line}: {}", refused.body);
            let field = if value.is_array() { "body" } else { "lines[0]" };
            assert_eq!(refused.body["field"], field, "{line}");
            let told = format!("{field} must be an object");
            assert_eq!(refused.body["detail"], told, "{line}");
        }
        let orders = r#"{"orders":[["ID",1,null,null,null],{"lines":[["ID",1]]},LINE]}"#;
        let bulk = shop.post_text("/orders/bulk", &body(orders, &id)).await;
        assert_eq!(
            (&bulk.body["accepted"], &bulk.body["rejected"]),
            (&1.into(), &2.into())
        );
        shop.decided_order(bulk.body["results"][2]["order_id"].as_str().unwrap())
            .await;
        assert_ne!(shop.everything().await, before, "the good one of the bulk");
    })
    .await;
}

/// Requests, and what is said of them: the words of the API, and no types of the program.
const TOLD: &str = r#"
POST /orders {"product_id":"x","quantity":1}            | product_id must be a UUID
POST /orders {"product_id":7,"quantity":1}              | product_id must be a UUID
POST /orders {"product_id":[],"quantity":1}             | product_id must be a UUID
POST /orders {"product_id":"ID","quantity":"1"}         | quantity must be a whole number
POST /orders {"product_id":"ID","quantity":1.5}         | quantity must be a whole number
POST /orders {"product_id":"ID","quantity":true}        | quantity must be a whole number
POST /orders {"product_id":"ID","quantity":9223372036854775808} | quantity is too large
POST /orders {"lines":{}}                               | lines must be an array
POST /orders {"lines":7}                                | lines must be an array
POST /orders {"lines":[7]}                              | lines[0] must be an object
POST /orders {"lines":[LINE,{"product_id":"ID","quantity":null}]} | lines[1].quantity must be a whole number
POST /orders {"product_id":"ID","quantity":1,"reference":[]} | reference must be a string
POST /orders {"product_id":"ID","quantity":1,"quantity":2} | quantity is given twice
POST /orders {"lines":[{"product_id":"ID","quantity":1,"product_id":"ID"}]} | lines[0].product_id is given twice
POST /orders {"colour":1}                               | colour is unknown
POST /orders {}                                         | product_id is missing
POST /orders 7                                          | body must be an object
POST /orders "x"                                        | body must be an object
POST /products {"name":5,"price":1,"stock":1}           | name must be a string
POST /products {"name":"n","price":true,"stock":1}      | price must be a decimal number such as 999.99
POST /products {"name":"n","price":1,"stock":1e400}     | stock is too large
POST /products {"name":"n","price":1}                   | stock is missing
POST /products/x/stock {"delta":1}                      | id in the path is not a UUID
GET /orders/x -                                         | id in the path is not a UUID
GET /products?page_size=x -                             | page_size must be a whole number from 1 to 100
GET /products?page_size=-1 -                            | page_size must be a whole number from 1 to 100
GET /products?page_size=101 -                           | page_size must be a whole number from 1 to 100
GET /products?page=99999999999999999999 -               | page must be a whole number from 1 to 10000
GET /orders?product_id=x -                              | product_id must be a UUID
GET /orders?status=x -                                  | status must be one of pending, held, success, failed, expired, cancelled, completed
GET /products/01900000-0000-7000-8000-000000000000/stock?by=x - | by must be one of change, minute
GET /queue/dead?topic=x -                               | topic must be one of validate, process
GET /queue/dead?limit=0 -                               | limit must be a whole number from 1 to 1000
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_in_the_words_of_the_api() {
    let (shop, _dir) = shop::Shop::open_on_sqlite(Default::default()).await;
    let id = shop.product("p", 10).await;
    for line in TOLD.lines().filter(|line| !line.is_empty()) {
        let (request, told) = line.split_once('|').unwrap();
        let (method, rest) = request.split_once(' ').unwrap();
        let (path, text) = rest.trim().split_once(' ').unwrap();
        let refused = match method {
            "GET" => shop.get(path).await,
            _ => shop.post_text(path, &body(text, &id)).await,
        };
        assert_eq!(refused.body["detail"], told.trim(), "{line}");
    }
    let long = format!(r#"{{"{}":1}}"#, "ä".repeat(10_000));
    let refused = shop.post_text("/orders", &long).await;
    assert_eq!(refused.status, 422);
    let echoed = refused.body.to_string().matches('ä').count();
    assert!(echoed <= 200, "{echoed} characters came back");
    let echoes = ["search", "cursor", "status", "product_id"]
        .map(|name| format!("{name}={}", "x".repeat(5_000)));
    for query in echoes {
        let refused = shop.get(&format!("/orders?{query}")).await.body.to_string();
        assert!(refused.matches('x').count() < 210, "{refused}");
    }
    shop.close().await;
}

/// A sku is the same however it is padded or composed; the case of its letters counts.
#[tokio::test(flavor = "multi_thread")]
async fn texts_are_kept_in_one_form() {
    on_each_store(async |shop| {
        let create = async |name: &str, sku: &str| {
            let product = json!({"name": name, "price": 1, "stock": 1, "sku": sku});
            shop.post("/products", &product).await
        };
        let first = create("Cafe\u{301}", " cafe\u{301}-1\u{a0}").await;
        assert_eq!(first.status, 201, "{}", first.body);
        assert_eq!(
            (&first.body["name"], &first.body["sku"]),
            (&json!("Café"), &json!("café-1"))
        );
        create("n", "café-1").await.is_problem("sku_taken");
        assert_eq!(create("n", "Café-1").await.status, 201);
        let path = format!("/products/{}", first.body["id"].as_str().unwrap());
        let patch = json!({"name": "e\u{301}", "sku": " x "});
        let patched = shop.send("PATCH", &path, &[], Some(&patch)).await;
        assert_eq!(
            (&patched.body["name"], &patched.body["sku"]),
            (&json!("é"), &json!("x"))
        );
        let order = json!({"product_id": first.body["id"], "quantity": 1, "reference": "e\u{301}"});
        let order = shop.post("/orders/purchase", &order).await;
        assert_eq!(order.body["reference"], "é");
        let found = shop.get("/orders?reference=e%CC%81").await;
        assert_eq!(found.body["items"][0]["id"], order.body["id"]);
    })
    .await;
}

/// What JSON writes in another way is the same number.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_what_they_say() {
    on_each_store(async |shop| {
        for (price, stock, shown, pieces) in [
            ("1e2", "1e2", "100.00", 100),
            ("1.10", "1.0", "1.10", 1),
            ("1.100", "100e-2", "1.10", 1),
            ("-0", "-0", "0.00", 0),
            ("0.5E+1", "0.0", "5.00", 0),
            (
                "9999999999999.99",
                "1E12",
                "9999999999999.99",
                1_000_000_000_000_i64,
            ),
        ] {
            let product = format!(r#"{{"name":"n","price":{price},"stock":{stock}}}"#);
            let created = shop.post_text("/products", &product).await;
            let told = (&created.body["price"], &created.body["stock"]);
            assert_eq!(told, (&json!(shown), &json!(pieces)), "{price} {stock}");
        }
        let id = shop.product("p", 10).await;
        let order = format!(r#"{{"product_id":"{id}","quantity":2.0}}"#);
        let bought = shop.post_text("/orders/purchase", &order).await;
        assert_eq!(bought.body["lines"][0]["quantity"], 2);
        let path = format!("/products/{id}/stock");
        let taken = shop.post_text(&path, r#"{"delta":-0.3e1}"#).await;
        assert_eq!(taken.body["stock"], 5);
    })
    .await;
}
