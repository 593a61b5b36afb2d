//! The operations of `/api/v1`, described to OpenAPI as they are implemented.

pub mod answers;
mod audit;
mod bulk;
mod cursor;
mod dead_letters;
mod description;
mod document;
mod etag;
mod event_streams;
mod follow;
mod health;
mod holds;
mod idempotency_header;
mod live_stock;
mod open_streams;
mod operate;
mod operate_body;
mod order_access;
mod order_body;
mod orders;
mod product_body;
mod products;
mod service;
mod shared_look;
mod sort;
mod stats;
mod stats_history;
mod stock;
mod tag;
mod wire;

pub(crate) use description::describe;
pub use document::openapi_document;
pub(crate) use health::{Health, routes as health_routes};
pub(crate) use service::service;
