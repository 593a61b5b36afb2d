//! The committed description of the API is the one that the server gives.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use crate::shop::{self, Shop, on_each_store};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_document_is_the_one_that_is_served() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = shop::sqlite_url(dir.path());
    let shop = Shop::open(&url).await;
    let served = shop.client.get(format!("{}/openapi.json", shop.origin));
    let served: Value = served.send().await.unwrap().json().await.unwrap();
    let written = order_server::runtime::openapi_document().await.unwrap();
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(served, written, "order-cli writes what the server gives");
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let committed = std::fs::read_to_string(committed).unwrap();
    let committed: Value = serde_json::from_str(&committed).unwrap();
    assert!(
        served == committed,
        "the API changed: cargo run -p order-cli -- openapi > docs/openapi.json"
    );
    shop.close().await;
}

/// The document, with a copy of each parameter in place of a reference to it.
fn with_parameters(mut document: Value) -> Value {
    let shared = document["components"]["parameters"].clone();
    let paths = document["paths"].as_object_mut().unwrap();
    for item in paths.values_mut() {
        for operation in item.as_object_mut().unwrap().values_mut() {
            let parameters = operation.get_mut("parameters");
            for parameter in parameters
                .into_iter()
                .flat_map(|all| all.as_array_mut().unwrap())
            {
                let pointer = parameter["$ref"].as_str().unwrap_or_default();
                if let Some(name) = pointer.strip_prefix("#/components/parameters/") {
                    *parameter = shared[name].clone();
                }
            }
        }
    }
    document
}

/// The path, method and description of each operation.
fn operations(document: &Value) -> impl Iterator<Item = (&String, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let item = item.as_object().unwrap().iter();
        item.map(move |(method, one)| (path, method_of(method), one))
    })
}

fn method_of(name: &str) -> &'static str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    known
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(name))
        .unwrap()
}

async fn document(shop: &Shop) -> Value {
    let document = shop.client.get(format!("{}/openapi.json", shop.origin));
    with_parameters(document.send().await.unwrap().json().await.unwrap())
}

/// Whatever an operation is, and whatever comes later: an array of its fields is not its body.
#[tokio::test(flavor = "multi_thread")]
async fn no_body_is_an_array() {
    on_each_store(async |shop| {
        let id = shop.product("p", 10).await;
        let document = document(shop).await;
        let mut tried = 0;
        for (path, method, one) in operations(&document) {
            if !one["requestBody"].is_object() {
                continue;
            }
            let path = path.replace("{id}", &id).replace("/api/v1", "");
            let refused = shop.send(method, &path, &[], Some(&json!([]))).await;
            let told = &refused.body["detail"];
            assert_eq!(told, "body must be an object", "{method} {path}");
            tried += 1;
        }
        assert!(tried >= 7, "only {tried} bodies were tried");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn query_parameters_are_known_and_given_once() {
    on_each_store(async |shop| {
        let id = shop.product("p", 10).await;
        let document = document(shop).await;
        let mut tried = 0;
        for (path, method, one) in operations(&document) {
            let path = path
                .replace("{id}", &id)
                .replace("{topic}", "validate")
                .replace("/api/v1", "");
            for query in ["skip=20", "page_size=2&sk%69p=1", "=1", "Page=1"] {
                let refused = shop
                    .send(method, &format!("{path}?{query}"), &[], None)
                    .await;
                let told = format!("{method} {path}?{query}: {}", refused.body);
                assert_eq!(
                    (refused.status, &refused.body["code"]),
                    (422, &"invalid".into()),
                    "{told}"
                );
                assert!(
                    refused.body["detail"]
                        .as_str()
                        .unwrap()
                        .ends_with(" is unknown"),
                    "{told}"
                );
            }
            let parameters = one["parameters"].as_array().into_iter().flatten();
            for name in parameters
                .filter(|one| one["in"] == "query")
                .map(|one| one["name"].as_str().unwrap())
            {
                let refused = shop
                    .send(method, &format!("{path}?{name}=1&{name}=1"), &[], None)
                    .await;
                assert_eq!(refused.status, 422, "{name}");
                assert_eq!(refused.body["field"], name);
                assert_eq!(refused.body["detail"], format!("{name} is given twice"));
                tried += 1;
            }
        }
        assert!(tried >= 12, "only {tried} parameters were tried");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_is_another_name_of_page_size() {
    on_each_store(async |shop| {
        for number in 0..4 {
            shop.product(&format!("p{number}"), 1).await;
        }
        for (query, items) in [
            ("", 4),
            ("?limit=2", 2),
            ("?page_size=2", 2),
            ("?", 4),
            ("?&", 4),
        ] {
            let page = shop.get(&format!("/products{query}")).await;
            assert_eq!(
                page.body["items"].as_array().unwrap().len(),
                items,
                "{query}"
            );
        }
        for path in ["/products", "/orders"] {
            for query in ["limit=0", "limit=-1", "limit=101", "limit=2&page_size=2"] {
                let refused = shop.get(&format!("{path}?{query}")).await;
                assert_eq!(
                    (refused.status, &refused.body["field"]),
                    (422, &"limit".into()),
                    "{query}"
                );
            }
        }
    })
    .await;
}

/// What generators of clients stumble over, anywhere in the document.
fn stumbles(value: &Value, schemas: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&json!(true)) && !fields.contains_key("type") {
                found.push(format!("{path} may be null, and has no type"));
            }
            if fields.get("nullable") == Some(&json!(true)) && fields.contains_key("allOf") {
                found.push(format!("{path} may be null, and what it refers to may not"));
            }
            for part in fields
                .get("allOf")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let name = part["$ref"].as_str().unwrap_or_default();
                let name = name.trim_start_matches("#/components/schemas/");
                if !name.is_empty() && schemas[name]["type"] != "object" {
                    found.push(format!("{path} takes {name} together, which is no object"));
                }
            }
            if fields.get("enum") == Some(&json!([null])) {
                found.push(format!("{path} is null and nothing else"));
            }
            if fields.contains_key("multipleOf") {
                found.push(format!("{path} divides floats"));
            }
            for (name, field) in fields {
                stumbles(field, schemas, &format!("{path}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                stumbles(item, schemas, &format!("{path}/{at}"), found);
            }
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn generators_of_clients_understand_the_document() {
    let document = order_server::runtime::openapi_document().await.unwrap();
    let document = with_parameters(serde_json::from_str(&document).unwrap());
    let mut found = Vec::new();
    let schemas = &document["components"]["schemas"];
    stumbles(&document, schemas, "", &mut found);
    assert_eq!(document["openapi"], "3.0.3");
    let mut titles = Vec::new();
    for schema in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .values()
    {
        let forms = schema["oneOf"].as_array().into_iter().flatten();
        titles.extend(
            forms
                .chain([schema])
                .filter_map(|form| form["title"].as_str()),
        );
    }
    titles.sort_unstable();
    let twice = titles.windows(2).filter(|pair| pair[0] == pair[1]);
    found.extend(twice.map(|pair| format!("{} is the title of two", pair[0])));
    for (path, method, one) in operations(&document) {
        for field in ["summary", "description", "security"] {
            if one[field].is_null() {
                found.push(format!("{method} {path} has no {field}"));
            }
        }
        for parameter in one["parameters"].as_array().into_iter().flatten() {
            if parameter["required"] != true && !parameter["example"].is_null() {
                found.push(format!(
                    "{method} {path} is tried with {}",
                    parameter["name"]
                ));
            }
        }
    }
    let events = "/paths/~1api~1v1~1orders~1{id}~1events/get/responses/200/content";
    let events = document.pointer(events).unwrap();
    assert_eq!(events["text/event-stream"]["schema"]["type"], "string");
    let tags = document["tags"].as_array().unwrap();
    assert_eq!(
        (&tags[0]["name"], &tags[1]["name"]),
        (&json!("Products"), &json!("Orders"))
    );
    assert_eq!(found, Vec::<String>::new());
}

/// Counts each part of operations that could have been a reference.
fn inline(document: &Value) -> std::collections::BTreeMap<String, usize> {
    let mut copies = std::collections::BTreeMap::new();
    for (_, _, one) in operations(document) {
        let responses = || one["responses"].as_object().unwrap().values();
        let headers = responses().flat_map(|one| one["headers"].as_object().into_iter().flatten());
        let parameters = one["parameters"].as_array().into_iter().flatten();
        for part in responses()
            .chain(headers.map(|(_, one)| one))
            .chain(parameters)
        {
            if part["$ref"].is_null() {
                *copies.entry(part.to_string()).or_default() += 1;
            }
        }
    }
    copies
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operations_share_is_there_once() {
    let text = order_server::runtime::openapi_document().await.unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let twice: Vec<_> = inline(&document)
        .into_iter()
        .filter(|(_, uses)| *uses > 1)
        .collect();
    assert_eq!(twice, []);
    for part in text.split("\"$ref\": \"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(
            document.pointer(pointer).is_some(),
            "{pointer} leads nowhere"
        );
    }
    for (path, status) in [
        ("/orders", "202"),
        ("/orders", "200"),
        ("/orders/purchase", "201"),
    ] {
        let response = &document["paths"][format!("/api/v1{path}")]["post"]["responses"][status];
        for (link, target) in [
            ("order", "getOrder"),
            ("status", "getOrderStatus"),
            ("cancel", "cancelOrder"),
        ] {
            let pointer = response["links"][link]["$ref"].as_str().unwrap();
            let link = document.pointer(&pointer[1..]).unwrap();
            assert_eq!(link["operationId"], target);
            assert!(operations(&document).any(|(_, _, one)| one["operationId"] == target));
        }
    }
}
