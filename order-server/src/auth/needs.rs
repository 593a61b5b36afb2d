//! What an operation needs its caller to have, as a parameter of the operation.

use order_core::keys::{Scope, Scopes};
use poem::{Request, RequestBody};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};
use uuid::Uuid;

use super::Caller;
use crate::http::problem::Problem;

const READ: u8 = Scope::Read as u8;
const ORDERS: u8 = Scope::Orders as u8;
const PRODUCTS: u8 = Scope::Products as u8;
const ADMIN: u8 = Scope::Admin as u8;

/// Needed to read products.
pub type ReadProducts = Needs<{ READ | PRODUCTS }>;
/// Needed to change products.
pub type WriteProducts = Needs<PRODUCTS>;
/// Needed to read orders.
pub type ReadOrders = Needs<{ READ | ORDERS }>;
/// Needed to place and cancel orders.
pub type WriteOrders = Needs<ORDERS>;
/// Needed to look at what operators look at.
pub type Inspect = Needs<READ>;
/// Needed for what operators do.
pub type Operate = Needs<ADMIN>;
/// Any key will do.
pub type AnyKey = Needs<{ READ | ORDERS | PRODUCTS }>;

/// The proof that the caller has one of the scopes whose bits are in `ANY_OF`, or `admin`.
/// As the first parameter of an operation it is asked for before the body is read.
pub struct Needs<const ANY_OF: u8> {
    /// Whose names for requests the caller's are.
    pub(crate) scope: Uuid,
}

impl<const ANY_OF: u8> Needs<ANY_OF> {
    /// The proof, for what is not described as an operation.
    pub(crate) fn of(request: &Request) -> Result<Self, Problem> {
        Self::check(request.extensions().get())
    }

    fn check(caller: Option<&Caller>) -> Result<Self, Problem> {
        let needed = Scopes::from_bits(ANY_OF);
        match caller {
            Some(caller @ Caller::Anybody) => Ok(Self {
                scope: caller.scope(),
            }),
            Some(caller @ Caller::Holder(holder)) => {
                let scope = caller.scope();
                let allowed = holder.key.scopes.allow(needed);
                allowed
                    .then_some(Self { scope })
                    .ok_or_else(|| forbidden(needed))
            }
            // A request that nobody looked at is one of a stranger.
            Some(Caller::Stranger) | None => Err(Problem::unauthorized()),
            Some(Caller::Unknown) => Err(Problem::unavailable()),
        }
    }
}

fn forbidden(needed: Scopes) -> Problem {
    let names: Vec<&str> = needed.iter().map(Scope::as_str).collect();
    Problem::forbidden(&names.join(" or "))
}

/// The name of the scheme in the description of the API.
const SCHEME: &str = "ApiKey";

impl<'a, const ANY_OF: u8> ApiExtractor<'a> for Needs<ANY_OF> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            SCHEME,
            MetaSecurityScheme {
                ty: "http",
                description: Some(
                    "A key that `order-cli key create` made. Its scopes say what it allows: \
                     `read` reading; `orders` orders, also reading them; `products` products, \
                     also reading them; `admin` everything. A server without keys asks for none.",
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
        Ok(Self::of(request)?)
    }
}
