//! Answers of the API for the command line, which asks the same of a service.

use order_core::{Error, OrderService, heartbeat::KnownWorker};
use serde::Serialize;

use super::{operate_body::WorkerBody, stats::StatsBody};

/// The answer of `GET /stats`.
///
/// # Errors
/// The store's.
pub async fn stats(service: &OrderService) -> Result<impl Serialize + use<>, Error> {
    let stats = service.stats().await?;
    Ok(StatsBody::from(stats.as_ref()))
}

/// An item of the answer of `GET /workers`.
#[must_use]
pub fn worker(worker: KnownWorker) -> impl Serialize {
    WorkerBody::from(worker)
}
