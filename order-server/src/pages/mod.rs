//! The pages for people and for Prometheus: the dashboard, the API's documentation, the metrics.

mod asset;
pub(crate) mod dashboard;
pub(crate) mod documents;
pub(crate) mod metrics;
mod prefixed;
