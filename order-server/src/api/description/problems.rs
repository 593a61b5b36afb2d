//! Which problems an operation may answer: by the rules of this table, each with an example
//! that is made like the real one.

use std::collections::BTreeMap;

use order_core::{
    Error,
    domain::{OrderStatus, ProductId},
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

/// The operations that a problem is of.
#[derive(Clone, Copy)]
enum Of {
    All,
    /// Those that change something.
    Unsafe,
    /// Those that count against the rate.
    Counted,
    /// Those that may need a key.
    Secured,
    Body,
    /// What is read before it is checked.
    Input,
    /// What has bounds.
    Bounded,
    /// What may have an idempotency key.
    Once,
    /// What names a product.
    Product,
    /// What names an order.
    Order,
    Named(&'static [&'static str]),
}

impl Of {
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
            }
            Self::Bounded => {
                operation.has_body
                    || operation.has_parameter_in("query")
                    || Self::Once.includes(operation)
            }
            Self::Once => operation.has_parameter("Idempotency-Key"),
            Self::Product => is_below("/products/{id}") || is_one(&operation.id, BUYING),
            Self::Order => is_below("/orders/{id}"),
            Self::Named(ids) => is_one(&operation.id, ids),
        }
    }
}

const BUYING: &[&str] = &["acceptOrder", "purchase"];

/// What locks products.
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
fn table() -> impl Iterator<Item = (Of, Problem)> {
    let all = [
        to_callers(),
        of_the_database(),
        to_requests(),
        at_the_edge(),
    ];
    all.into_iter().flatten()
}

type Table = Vec<(Of, Problem)>;

fn to_callers() -> Table {
    let too_many = Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "rate_limited",
        "more requests than allowed; try again in 1 s",
    );
    vec![
        (Of::Secured, Problem::unauthorized()),
        (Of::Secured, Problem::forbidden("products")),
        (Of::Counted, too_many),
    ]
}

/// What there is, and in which state.
fn of_the_database() -> Table {
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
        (Of::Product, Problem::product_not_found(PRODUCT)),
        (Of::Order, Problem::order_not_found(ORDER)),
        (
            Of::Named(&["redriveDeadLetter"]),
            Problem::dead_letter_not_found(ORDER),
        ),
        (
            Of::Named(&["pauseTopic", "resumeTopic"]),
            Problem::topic_not_found("decide"),
        ),
        (
            Of::Named(&["listDeadLetters", "redriveDeadLetter", "resumeTopic"]),
            Problem::queue_unavailable(),
        ),
        (Of::Named(&["purchase", "adjustStock"]), too_little.into()),
        (
            Of::Named(&["createProduct", "patchProduct"]),
            Error::SkuTaken.into(),
        ),
        (
            Of::Named(&["adjustStock", "cancelOrder"]),
            Error::StockLimit { product_id }.into(),
        ),
        (Of::Named(&["cancelOrder", "processOrder"]), is_final.into()),
        (
            Of::Named(&["replaceProduct", "patchProduct"]),
            changed.into(),
        ),
        (
            Of::Named(LOCKING),
            Error::ProductContended { product_id }.into(),
        ),
        (Of::Named(BUYING), Error::Locked.into()),
    ]
}

/// What cannot be read, or is out of bounds.
fn to_requests() -> Table {
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
            Of::Input,
            Problem::malformed("id in the path is not a UUID"),
        ),
        (Of::Body, Problem::body_timeout()),
        (Of::Body, too_large),
        (Of::Body, no_json),
        (Of::Bounded, out_of_bounds),
        (Of::Once, Error::IdempotencyKeyReused.into()),
    ]
}

/// What any request may meet.
fn at_the_edge() -> Table {
    let large_head = Problem::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "request_header_fields_too_large",
        "path and headers are larger than 16384 bytes",
    );
    vec![
        (Of::All, Problem::malformed("Host is missing")),
        (Of::All, Problem::misdirected()),
        (Of::Unsafe, Problem::foreign_origin()),
        (Of::All, large_head),
        (Of::All, Problem::internal()),
        (Of::All, Error::Overloaded.into()),
        (Of::All, Problem::timeout()),
        (Of::All, Problem::unavailable()),
    ]
}

/// What each status of a problem says.
const STATUSES: [(u16, &str); 15] = [
    (400, "Malformed: the request cannot be read"),
    (401, "No key that is in force"),
    (
        403,
        "The key lacks the scope; or a page of another origin sent it",
    ),
    (404, "Unknown product, order, topic or dead letter"),
    (408, "The body did not come in time"),
    (409, "Conflict with the state of things"),
    (412, "The product changed since it was read"),
    (413, "The body is too large"),
    (415, "The body is not JSON"),
    (
        422,
        "Well-formed, and out of bounds: names the field; or a key of another request",
    ),
    (
        421,
        "There are no keys, and the server does not answer to this name",
    ),
    (429, "Too many requests; Retry-After says when to come back"),
    (431, "Path and headers are too large"),
    (500, "Our fault"),
    (
        503,
        "Overloaded, the database is away or slow, or a product is locked",
    ),
];

/// What an unknown path, or method of a path, is answered: of no operation.
const ELSEWHERE: [&str; 2] = ["not_found", "method_not_allowed"];

/// Describes the problems that `operation` may answer.
pub(super) fn complete(operation: &mut Operation<'_>) {
    let mut by_status: BTreeMap<u16, Vec<Problem>> = BTreeMap::new();
    for (of, problem) in table() {
        if of.includes(operation) {
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
    let properties = &mut document["components"]["schemas"]["Problem"]["properties"];
    if let Some(code) = properties.get_mut("code").and_then(Value::as_object_mut) {
        code.insert("enum".to_owned(), json!(codes));
    }
}
