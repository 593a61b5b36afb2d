//! Every field at and past its bounds. What is refused names the field, and leaves no trace.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shop;

use shop::on_each_store;

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
404 -                    {"product_id":"01900000-0000-7000-8000-000000000000","quantity":1}
400 -                    {
400 -                    NaN
400 -                    {"product_id":"ID","quantity":NaN}
400 -                    {"product_id":"ID","quantity":1} x
400 -                    {"product_id":"ID","quantity":-1
"#;

const QUANTITIES: &str = r#"0 -1 1.5 1000001 2147483648 9223372036854775807 9223372036854775808
    1e3 "1" true null [] 99999999999999999999999999999999999999999"#;

const PRICES: &str = r#"-1 0.001 1e3 100000000 "NaN" "" "1,5" true null [] "1e3" "-0" "+1"
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
422 id     {"name":"n","price":1,"stock":1,"id":"x"}
400 -      {"name":"n","price":NaN,"stock":1}
"#;

const GOOD: &str = r#"
/products         {"name":"LONGEST","price":"99999999.99","stock":1000000000000,"sku":"s"}
/products         {"name":"n","price":0,"stock":0,"sku":null}
/products         {"name":"n","price":"0.5","stock":0}
/orders           {"product_id":"ID","quantity":1000000,"reference":"LONGEST"}
/orders           {"lines":[LINE,LINE,LINE],"reference":""}
/orders/purchase  {"product_id":"ID","quantity":1,"reference":null}
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
