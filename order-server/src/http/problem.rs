//! Errors as RFC 9457 `application/problem+json`: every error that leaves this server.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use order_core::{Error, domain::ValidationError};
use poem::{
    IntoResponse, Response,
    error::{MethodNotAllowedError, NotFoundError},
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    payload::Payload,
    registry::{MetaResponses, MetaSchemaRef, Registry},
    types::Type,
};
use serde::Serialize;
use uuid::Uuid;

/// An error, for programs (`code`) and for people (`detail`).
#[derive(Clone, Debug, Serialize, Object)]
#[oai(rename = "Problem")]
pub struct ProblemBody {
    /// Always `about:blank`: `code` tells problems apart.
    r#type: String,
    /// The name of the status.
    title: String,
    /// The HTTP status.
    status: u16,
    /// A stable name of the problem.
    code: String,
    /// The error of this request, for people.
    detail: String,
    /// The field that is wrong, as a path into the body or the name of a parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    field: Option<String>,
    /// The product that the problem is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    product_id: Option<Uuid>,
    /// Pieces asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    requested: Option<i64>,
    /// Pieces left.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    available: Option<i64>,
    /// The time at which the hold ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    held_until: Option<DateTime<Utc>>,
    /// The time at which the sale of the product begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    on_sale_from: Option<DateTime<Utc>>,
    /// The time at which it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    on_sale_until: Option<DateTime<Utc>>,
    /// The most pieces that one customer may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    limit: Option<i64>,
    /// Pieces that this customer has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    has: Option<i64>,
    /// An order of this customer that holds some of them: confirm it, or cancel it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    held_order: Option<Uuid>,
}

/// The longest part of a request that an answer repeats.
const MAX_ECHO_CHARS: usize = 100;

/// What was sent, as an answer repeats it: cut, so that answers stay small.
pub(crate) fn clipped(sent: &str) -> Cow<'_, str> {
    match sent.char_indices().nth(MAX_ECHO_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &sent[..end])),
        None => Cow::Borrowed(sent),
    }
}

/// An error answer.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    body: Box<ProblemBody>,
}

/// What is wrong with the query of a request, for those who may know: an extension of the request.
#[derive(Clone)]
pub(crate) struct QueryProblem(pub(crate) Problem);

impl Problem {
    /// A problem with a stable `code` and a sentence for people.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            status,
            body: Box::new(ProblemBody {
                r#type: "about:blank".to_owned(),
                title: status.canonical_reason().unwrap_or_default().to_owned(),
                status: status.as_u16(),
                code: code.to_owned(),
                detail: detail.into(),
                field: None,
                product_id: None,
                requested: None,
                available: None,
                held_until: None,
                on_sale_from: None,
                on_sale_until: None,
                limit: None,
                has: None,
                held_order: None,
            }),
        }
    }

    /// Its HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.body.status
    }

    /// Its stable name.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.body.code
    }

    /// Its body, to stand inside of an answer.
    #[must_use]
    pub fn into_body(self) -> ProblemBody {
        *self.body
    }

    /// 400: cannot be read.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// 422: can be read, and is out of bounds.
    #[must_use]
    pub fn invalid(field: &str, reason: &str) -> Self {
        let field = clipped(field);
        let detail = format!("{field} {reason}");
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail);
        problem.body.field = Some(field.into_owned());
        problem
    }

    /// 401: there is no key in the request, or it is not in force.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "a valid API key is required, as `Authorization: Bearer KEY`",
        )
    }

    /// 401: the key was valid once.
    #[must_use]
    pub fn key_expired() -> Self {
        let detail = "the API key has expired; a new one is required";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// 403: the key has none of these scopes.
    #[must_use]
    pub fn forbidden(scopes: &str) -> Self {
        let detail = format!("the key lacks the scope {scopes}");
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 403: a page of another origin sent it.
    #[must_use]
    pub fn foreign_origin() -> Self {
        let detail = "a page of another origin sent this request; only those in CORS_ORIGINS may";
        Self::new(StatusCode::FORBIDDEN, "foreign_origin", detail)
    }

    /// 421: a server without keys is called by a name that is not its own.
    #[must_use]
    pub fn misdirected() -> Self {
        let status = StatusCode::MISDIRECTED_REQUEST;
        let detail = "a server without API keys answers only to localhost, loopback addresses and \
                      the names in ALLOWED_HOSTS";
        Self::new(status, "misdirected_request", detail)
    }

    /// 408: the body takes too long.
    #[must_use]
    pub fn body_timeout() -> Self {
        let status = StatusCode::REQUEST_TIMEOUT;
        Self::new(status, "request_timeout", "the body did not arrive in time")
    }

    /// 503: the answer takes too long.
    #[must_use]
    pub fn timeout() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let detail = "the request took too long; it may still be carried out";
        Self::new(status, "timeout", detail)
    }

    /// 412: the product is not at the version that the client expects.
    #[must_use]
    pub fn precondition_failed(detail: &str) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "version_mismatch", detail)
    }

    /// 404 for a product.
    #[must_use]
    pub fn product_not_found(id: Uuid) -> Self {
        let detail = format!("product {id} not found");
        let mut problem = Self::new(StatusCode::NOT_FOUND, "product_not_found", detail);
        problem.body.product_id = Some(id);
        problem
    }

    /// 404 for an order.
    #[must_use]
    pub fn order_not_found(id: Uuid) -> Self {
        let detail = format!("order {id} not found");
        Self::new(StatusCode::NOT_FOUND, "order_not_found", detail)
    }

    /// 404 for a dead letter.
    #[must_use]
    pub fn dead_letter_not_found(id: Uuid) -> Self {
        let detail = format!("order {id} has no dead letter on this topic");
        Self::new(StatusCode::NOT_FOUND, "dead_letter_not_found", detail)
    }

    /// 404 for a topic.
    #[must_use]
    pub fn topic_not_found(name: &str) -> Self {
        let name = clipped(name);
        let detail = format!("unknown topic {name:?}: the topics are validate and process");
        Self::new(StatusCode::NOT_FOUND, "topic_not_found", detail)
    }

    /// 503: the database is needed, and does not answer.
    #[must_use]
    pub fn unavailable() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "unavailable", "the database does not answer")
    }

    /// 503: the queue is needed, and does not answer or refuses.
    #[must_use]
    pub fn queue_unavailable() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "queue_unavailable", "the queue does not answer")
    }

    /// 500: a fault of the server, whose cause stays in the log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "internal error; the log has its cause under the X-Request-Id",
        )
    }

    /// The answer for an error of the framework.
    #[must_use]
    pub fn from_poem(error: poem::Error) -> Response {
        if error.is_from_response() {
            return error.into_response();
        }
        let problem = if error.is::<NotFoundError>() {
            Self::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is nothing at this path",
            )
        } else if error.is::<MethodNotAllowedError>() {
            Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path does not answer this method",
            )
        } else {
            let status = error.status();
            if status.is_server_error() {
                tracing::error!(%error, "framework error");
                Self::internal()
            } else {
                let code = status.canonical_reason().unwrap_or("error");
                let code = code.to_ascii_lowercase().replace([' ', '-'], "_");
                Self::new(status, &code, "the request cannot be served")
            }
        };
        problem.into_response()
    }
}

impl From<ValidationError> for Problem {
    fn from(error: ValidationError) -> Self {
        Self::invalid(&error.field, &error.reason)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let conflict = |code: &str| Self::new(StatusCode::CONFLICT, code, error.to_string());
        match &error {
            Error::Invalid { field, reason } => Self::invalid(field, reason),
            Error::ProductNotFound(id) => Self::product_not_found(id.0),
            Error::OrderNotFound(id) => Self::order_not_found(id.0),
            Error::SkuTaken => {
                let mut problem = conflict("sku_taken");
                problem.body.field = Some("sku".to_owned());
                problem
            }
            Error::VersionMismatch { .. } | Error::OrderChanged => {
                Self::precondition_failed(&error.to_string())
            }
            Error::InsufficientStock { .. }
            | Error::NotOnSale { .. }
            | Error::CustomerLimit { .. }
            | Error::HoldExpired { .. } => refusal(&error),
            Error::StockLimit { product_id } => {
                let mut problem = conflict("stock_limit");
                problem.body.product_id = Some(product_id.0);
                problem
            }
            Error::OrderState { .. } => conflict("order_state"),
            Error::IdempotencyKeyReused => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Self::new(status, "idempotency_key_reused", error.to_string())
            }
            Error::Overloaded | Error::Stopping => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "overloaded", error.to_string())
            }
            Error::ProductContended { product_id } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let mut problem = Self::new(status, "product_locked", error.to_string());
                problem.body.product_id = Some(product_id.0);
                problem
            }
            Error::Locked => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "locked", error.to_string())
            }
            Error::Unavailable { .. } | Error::OutcomeUnknown { .. } => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the database does not answer"
                );
                Self::unavailable()
            }
            Error::QueueUnavailable { .. } => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the queue does not answer"
                );
                Self::queue_unavailable()
            }
            _ => {
                tracing::error!(error = &error as &dyn std::error::Error, "request failed");
                Self::internal()
            }
        }
    }
}

/// 409: an order does not get, or keeps no longer, what it asks for, with the figures.
fn refusal(error: &Error) -> Problem {
    let conflict = |code: &str| Problem::new(StatusCode::CONFLICT, code, error.to_string());
    match error {
        Error::InsufficientStock {
            product_id,
            requested,
            available,
        } => {
            let mut problem = conflict("insufficient_stock");
            problem.body.product_id = Some(product_id.0);
            problem.body.requested = Some(*requested);
            problem.body.available = Some(*available);
            problem
        }
        Error::NotOnSale {
            product_id,
            on_sale_from,
            on_sale_until,
        } => {
            let mut problem = conflict("not_on_sale");
            problem.body.product_id = Some(product_id.0);
            problem.body.on_sale_from = *on_sale_from;
            problem.body.on_sale_until = *on_sale_until;
            problem
        }
        Error::CustomerLimit {
            product_id,
            requested,
            limit,
            has,
            held_order,
        } => {
            let mut problem = conflict("customer_limit");
            problem.body.product_id = Some(product_id.0);
            problem.body.requested = Some(*requested);
            problem.body.limit = Some(*limit);
            problem.body.has = Some(*has);
            problem.body.held_order = held_order.map(|order| order.0);
            problem
        }
        Error::HoldExpired { held_until } => {
            let mut problem = conflict("hold_expired");
            problem.body.held_until = Some(*held_until);
            problem
        }
        _ => Problem::internal(),
    }
}

impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        Self::from_response(problem.into_response())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body).unwrap_or_default();
        let mut response = Response::builder()
            .status(self.status)
            .content_type(ProblemPayload::CONTENT_TYPE)
            .body(body);
        let header = match self.status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = header {
            let value = HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// The problem as the description of the API sees it.
struct ProblemPayload;

impl Payload for ProblemPayload {
    const CONTENT_TYPE: &'static str = "application/problem+json";

    fn schema_ref() -> MetaSchemaRef {
        ProblemBody::schema_ref()
    }
}

/// The problems of each operation are described in `api::description`.
impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        MetaResponses { responses: vec![] }
    }

    fn register(registry: &mut Registry) {
        ProblemBody::register(registry);
    }
}
