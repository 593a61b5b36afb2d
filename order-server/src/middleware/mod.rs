//! Everything that a request passes on its way to its route, and its answer on the way back.

mod api_routes;
mod behind_proxy;
mod cors;
mod error_responses;
mod head_size;
mod identify;
mod known_query;
mod origin_check;
mod parameter_words;
mod rate_limit;
mod request_id;
mod request_metrics;
mod request_timeout;
mod request_trace;
mod security_headers;
mod stack;

pub(crate) use api_routes::ApiRoutes;
pub(crate) use stack::layered;
