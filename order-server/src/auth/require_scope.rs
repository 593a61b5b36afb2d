//! The scope that an operation requires of its caller, as a parameter of the operation.

use order_core::keys::{Scope, Scopes};
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
const ADMIN: u8 = Scope::Admin as u8;

/// Required to read products.
pub type ReadProducts = RequireScope<{ READ | PRODUCTS }>;
/// Required to change products.
pub type WriteProducts = RequireScope<PRODUCTS>;
/// Required to read orders.
pub type ReadOrders = RequireScope<{ READ | ORDERS }>;
/// Required to place and cancel orders.
pub type WriteOrders = RequireScope<ORDERS>;
/// Required to look at figures, the queue and workers.
pub type Inspect = RequireScope<READ>;
/// Required to operate the queue.
pub type Operate = RequireScope<ADMIN>;
/// Any key will do.
pub type AnyKey = RequireScope<{ READ | ORDERS | PRODUCTS }>;

/// The proof that the caller has one of the scopes whose bits are in `ANY_OF`, or `admin`.
/// As the first parameter of an operation it is checked before the body is read.
pub struct RequireScope<const ANY_OF: u8> {
    /// The namespace of the caller's idempotency keys.
    pub(crate) scope: Uuid,
}

impl<const ANY_OF: u8> RequireScope<ANY_OF> {
    /// The proof, for a route that is not described as an operation.
    pub(crate) fn of(request: &Request) -> Result<Self, Problem> {
        Self::check(request.extensions().get())
    }

    fn check(caller: Option<&Caller>) -> Result<Self, Problem> {
        let needed = Scopes::from_bits(ANY_OF);
        match caller {
            Some(caller @ Caller::AuthDisabled(_)) => Ok(Self {
                scope: caller.scope(),
            }),
            Some(caller @ Caller::Key(key)) => {
                let scope = caller.scope();
                let allowed = key.key.scopes.allow(needed);
                allowed
                    .then_some(Self { scope })
                    .ok_or_else(|| forbidden(needed))
            }
            // A request that was not identified counts as one without a key.
            Some(Caller::Unauthenticated) | None => Err(Problem::unauthorized()),
            Some(Caller::KeysUnavailable) => Err(Problem::unavailable()),
        }
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
                     everything; `orders` placing, cancelling and reading orders; `products` \
                     changing and reading products; `admin` everything. A server without keys \
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
