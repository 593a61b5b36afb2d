//! Describes the problems that each operation may answer, by the rules of a table. Examples are made
//! by the code that makes the real ones.

use std::collections::BTreeMap;

use chrono::DateTime;
use order_core::{
    Error,
    domain::{OrderId, OrderStatus, ProductId},
};
use poem::http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::operation::Operation;
use crate::http::problem::Problem;

const MEDIA_TYPE: &str = "application/problem+json";
/// The product of all examples.
const PRODUCT: Uuid = Uuid::from_u128(0x019a_9d3c_4b1e_7c52_9f0a_6b1f_7d2e_8a41);
/// The order of all examples.
const ORDER: Uuid = Uuid::from_u128(0x019a_9d3c_5a77_7e10_8c3b_2f4d_9e6a_1b05);

/// The operations that may answer a problem.
#[derive(Clone, Copy)]
enum AppliesTo {
    All,
    /// Operations that change something.
    Unsafe,
    /// Operations that count against the rate.
    Counted,
    /// Operations that may require a key.
    Secured,
    /// Operations with a body.
    Body,
    /// Operations whose input may be unreadable.
    Input,
    /// Operations that take an idempotency key.
    Idempotent,
    /// Operations that are carried out only at some versions.
    Preconditioned,
    /// Operations on a product.
    Product,
    /// Operations on an order.
    Order,
    Named(&'static [&'static str]),
}

impl AppliesTo {
    fn includes(self, operation: &Operation<'_>) -> bool {
        let is_below = |path| operation.path.contains(path);
        match self {
            Self::All => true,
            Self::Unsafe => operation.method != "get",
            Self::Counted => !is_below("/health"),
            Self::Secured => operation.is_secured,
            Self::Body => operation.has_body,
            Self::Input => {
                operation.has_body
                    || operation.has_parameter_in("path")
                    || operation.has_parameter("cursor")
                    || operation.has_parameter("If-Match")
            }
            Self::Idempotent => operation.has_parameter("Idempotency-Key"),
            Self::Preconditioned => operation.has_parameter("If-Match"),
            Self::Product => is_below("/products/{id}") || is_one(&operation.id, BUYING),
            Self::Order => is_below("/orders/{id}"),
            Self::Named(ids) => is_one(&operation.id, ids),
        }
    }
}

const BUYING: &[&str] = &["acceptOrder", "purchase"];

/// The operations that lock products.
const LOCKING: &[&str] = &[
    "purchase",
    "cancelOrder",
    "replaceProduct",
    "patchProduct",
    "adjustStock",
    "archiveProduct",
];

fn is_one(id: &str, ids: &[&str]) -> bool {
    ids.contains(&id)
}

/// Every problem that an operation may answer.
fn table() -> impl Iterator<Item = (AppliesTo, Problem)> {
    let all = [authorization(), state(), terms(), input(), everywhere()];
    all.into_iter().flatten()
}

type Table = Vec<(AppliesTo, Problem)>;

fn authorization() -> Table {
    let too_many = Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "rate_limited",
        "more requests than allowed; try again in 1 s",
    );
    vec![
        (AppliesTo::Secured, Problem::unauthorized()),
        (AppliesTo::Secured, Problem::forbidden("products")),
        (AppliesTo::Counted, too_many),
    ]
}

/// Problems with the state of products, orders and queues.
fn state() -> Table {
    let product_id = ProductId(PRODUCT);
    let too_little = Error::InsufficientStock {
        product_id,
        requested: 2,
        available: 1,
    };
    let is_final = Error::OrderState {
        status: OrderStatus::Failed,
    };
    let changed = Error::VersionMismatch {
        expected: 3,
        actual: 4,
    };
    vec![
        (AppliesTo::Product, Problem::product_not_found(PRODUCT)),
        (AppliesTo::Order, Problem::order_not_found(ORDER)),
        (
            AppliesTo::Named(&["redriveDeadLetter"]),
            Problem::dead_letter_not_found(ORDER),
        ),
        (
            AppliesTo::Named(&["pauseTopic", "resumeTopic"]),
            Problem::topic_not_found("decide"),
        ),
        (
            AppliesTo::Named(&["listDeadLetters", "redriveDeadLetter", "resumeTopic"]),
            Problem::queue_unavailable(),
        ),
        (
            AppliesTo::Named(&["purchase", "adjustStock"]),
            too_little.into(),
        ),
        (
            AppliesTo::Named(&["createProduct", "patchProduct"]),
            Error::SkuTaken.into(),
        ),
        (
            AppliesTo::Named(&["adjustStock", "cancelOrder"]),
            Error::StockLimit { product_id }.into(),
        ),
        (
            AppliesTo::Named(&["cancelOrder", "confirmOrder", "extendHold", "processOrder"]),
            is_final.into(),
        ),
        (AppliesTo::Preconditioned, changed.into()),
        (
            AppliesTo::Named(LOCKING),
            Error::ProductContended { product_id }.into(),
        ),
        (AppliesTo::Named(BUYING), Error::Locked.into()),
    ]
}

/// Problems with terms of sale and with holds.
fn terms() -> Table {
    let product_id = ProductId(PRODUCT);
    let not_on_sale = Error::NotOnSale {
        product_id,
        on_sale_from: Some(DateTime::UNIX_EPOCH),
        on_sale_until: None,
    };
    let over_limit = Error::CustomerLimit {
        product_id,
        requested: 2,
        limit: 2,
        has: 1,
        held_order: Some(OrderId(ORDER)),
    };
    vec![
        (AppliesTo::Named(&["purchase"]), not_on_sale.into()),
        (AppliesTo::Named(&["purchase"]), over_limit.into()),
        (
            AppliesTo::Named(&["confirmOrder", "extendHold"]),
            Error::HoldExpired {
                held_until: DateTime::UNIX_EPOCH,
            }
            .into(),
        ),
    ]
}

/// Problems with input that cannot be read or is out of bounds.
fn input() -> Table {
    let too_large = Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "payload_too_large",
        "body is larger than 1048576 bytes",
    );
    let no_json = Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "content type must be application/json",
    );
    let out_of_bounds = Problem::invalid("quantity", "must be from 1 to 1000000");
    vec![
        (
            AppliesTo::Input,
            Problem::malformed("id in the path is not a UUID"),
        ),
        (AppliesTo::Body, Problem::body_timeout()),
        (AppliesTo::Body, too_large),
        (AppliesTo::Body, no_json),
        (AppliesTo::All, out_of_bounds),
        (AppliesTo::Idempotent, Error::IdempotencyKeyReused.into()),
    ]
}

/// Problems of any request.
fn everywhere() -> Table {
    let large_head = Problem::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "request_header_fields_too_large",
        "path and headers are larger than 16384 bytes",
    );
    vec![
        (AppliesTo::All, Problem::malformed("Host is missing")),
        (AppliesTo::All, Problem::misdirected()),
        (AppliesTo::Unsafe, Problem::foreign_origin()),
        (AppliesTo::All, large_head),
        (AppliesTo::All, Problem::internal()),
        (AppliesTo::All, Error::Overloaded.into()),
        (AppliesTo::All, Problem::timeout()),
        (AppliesTo::All, Problem::unavailable()),
    ]
}

/// The description of each status of a problem.
const STATUSES: [(u16, &str); 15] = [
    (400, "Malformed: the request cannot be read"),
    (401, "No valid API key"),
    (
        403,
        "The key lacks the scope, or a page of another origin sent the request",
    ),
    (404, "Unknown product, order, topic or dead letter"),
    (408, "The body did not arrive in time"),
    (409, "Conflict with the current state"),
    (412, "The product or the order changed since it was read"),
    (413, "The body is too large"),
    (415, "The body is not JSON"),
    (
        422,
        "Well-formed but invalid: `field` names the field; or an idempotency key of another request",
    ),
    (
        421,
        "The server has no API keys, and does not answer to this name",
    ),
    (
        429,
        "Too many requests; `Retry-After` says when to try again",
    ),
    (431, "Path and headers are too large"),
    (500, "Internal error"),
    (
        503,
        "Overloaded, the database does not answer in time, or a product is locked",
    ),
];

/// The problems of an unknown path or method, which belong to no operation.
const ELSEWHERE: [&str; 2] = ["not_found", "method_not_allowed"];

/// Describes the problems that `operation` may answer.
pub(super) fn complete(operation: &mut Operation<'_>) {
    let mut by_status: BTreeMap<u16, Vec<Problem>> = BTreeMap::new();
    for (operations, problem) in table() {
        if operations.includes(operation) {
            by_status.entry(problem.status()).or_default().push(problem);
        }
    }
    for (status, problems) in by_status {
        let description = STATUSES.iter().find(|(known, _)| *known == status);
        let description = description.map_or("", |(_, description)| description);
        let response = response(description, problems);
        operation.responses.insert(status.to_string(), response);
    }
}

fn response(description: &str, problems: Vec<Problem>) -> Value {
    let examples: serde_json::Map<String, Value> = problems
        .into_iter()
        .map(|problem| {
            (
                problem.code().to_owned(),
                json!({"value": problem.into_body()}),
            )
        })
        .collect();
    json!({
        "description": description,
        "content": {MEDIA_TYPE: {
            "schema": {"$ref": "#/components/schemas/Problem"},
            "examples": examples,
        }},
    })
}

/// Lists every code in the schema of a problem.
pub(super) fn name_codes(document: &mut Value) {
    let mut codes: Vec<String> = ELSEWHERE.map(str::to_owned).to_vec();
    codes.extend(table().map(|(_, problem)| problem.code().to_owned()));
    codes.sort_unstable();
    codes.dedup();
    let properties = &mut document["components"]["schemas"]["Problem"]["properties"];
    if let Some(code) = properties.get_mut("code").and_then(Value::as_object_mut) {
        code.insert("enum".to_owned(), json!(codes));
    }
}
