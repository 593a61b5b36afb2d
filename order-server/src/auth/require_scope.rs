//! The scope that an operation requires of its caller, as a parameter of the operation.

use order_core::{
    domain::ClientId,
    keys::{Scope, Scopes},
};
use poem::{Request, RequestBody};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};
use uuid::Uuid;

use super::Caller;
use crate::http::problem::{Problem, QueryProblem};

const READ: u8 = Scope::Read as u8;
const ORDERS: u8 = Scope::Orders as u8;
const PRODUCTS: u8 = Scope::Products as u8;
const METRICS: u8 = Scope::Metrics as u8;
const OPERATE: u8 = Scope::Operate as u8;

/// Required to read products.
pub type ReadProducts = RequireScope<{ READ | PRODUCTS }>;
/// Required to change products.
pub type WriteProducts = RequireScope<PRODUCTS>;
/// Required to read orders.
pub type ReadOrders = RequireScope<{ READ | ORDERS }>;
/// Required to place and cancel orders.
pub type WriteOrders = RequireScope<ORDERS>;
/// Required to look at figures, the queue and workers.
pub type Inspect = RequireScope<{ READ | OPERATE }>;
/// Required to scrape metrics.
pub type Scrape = RequireScope<{ READ | METRICS }>;
/// Required to operate the queue.
pub type Operate = RequireScope<OPERATE>;
/// Any key will do.
pub type AnyKey = RequireScope<{ READ | ORDERS | PRODUCTS | METRICS | OPERATE }>;

/// The proof that the caller has one of the scopes whose bits are in `ANY_OF`, or `admin`.
/// As the first parameter of an operation it is checked before the body is read.
pub struct RequireScope<const ANY_OF: u8> {
    /// The namespace of the caller's idempotency keys.
    pub(crate) scope: Uuid,
    /// The client that the caller is, if it shows a key.
    pub(crate) client: Option<ClientId>,
    /// The client whose orders are all that the caller may see or cancel here, since the scope
    /// `orders` alone lets it in; none when it may see or cancel all.
    pub(crate) only: Option<ClientId>,
}

impl<const ANY_OF: u8> RequireScope<ANY_OF> {
    /// The proof, for a route that is not described as an operation.
    pub(crate) fn of(request: &Request) -> Result<Self, Problem> {
        Self::check(request.extensions().get())
    }

    fn check(caller: Option<&Caller>) -> Result<Self, Problem> {
        let needed = Scopes::from_bits(ANY_OF);
        let is_limited = match caller {
            Some(Caller::AuthDisabled(_)) => false,
            Some(Caller::Key(key)) if key.key.scopes.allow(needed) => {
                !key.key.scopes.allow(Scopes::from_bits(ANY_OF & !ORDERS))
            }
            Some(Caller::Key(_)) => return Err(forbidden(needed)),
            // A request that was not identified counts as one without a key.
            Some(Caller::Unauthenticated) | None => return Err(Problem::unauthorized()),
            Some(Caller::Expired) => return Err(Problem::key_expired()),
            Some(Caller::KeysUnavailable) => return Err(Problem::unavailable()),
        };
        let client = caller.and_then(Caller::client);
        Ok(Self {
            scope: caller.map_or(Uuid::nil(), Caller::scope),
            client,
            only: client.filter(|_| is_limited),
        })
    }
}

fn forbidden(needed: Scopes) -> Problem {
    let names: Vec<&str> = needed.iter().map(Scope::as_str).collect();
    Problem::forbidden(&names.join(" or "))
}

/// The name of the scheme in the description of the API.
const SCHEME: &str = "ApiKey";

impl<'a, const ANY_OF: u8> ApiExtractor<'a> for RequireScope<ANY_OF> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            SCHEME,
            MetaSecurityScheme {
                ty: "http",
                description: Some(
                    "A key from `order-cli key create`. Its scopes say what it allows: `read` reading \
                     everything; `orders` placing, cancelling and reading the orders of its client; \
                     `products` changing and reading products; `metrics` scraping metrics; \
                     `operate` operating the queue; `admin` everything. A server without keys \
                     requires none.",
                ),
                name: None,
                key_in: None,
                scheme: Some("bearer"),
                bearer_format: None,
                flows: None,
                openid_connect_url: None,
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![SCHEME]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let proof = Self::of(request)?;
        match request.extensions().get() {
            Some(QueryProblem(problem)) => Err(problem.clone().into()),
            None => Ok(proof),
        }
    }
}
