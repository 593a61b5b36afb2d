//! The time by which the body of a request has to be there.

use std::future::Future;

use poem::Request;
use tokio::time::{Instant, timeout_at};

use super::problem::Problem;

/// The time by which the body of a request has to be there: an extension of the request.
#[derive(Clone, Copy)]
pub(crate) struct BodyDeadline(pub(crate) Instant);

/// Waits for a part of the body until its deadline, if it has one.
pub(super) async fn in_time<T>(
    request: &Request,
    part: impl Future<Output = T>,
) -> Result<T, Problem> {
    match request.extensions().get() {
        Some(BodyDeadline(deadline)) => timeout_at(*deadline, part)
            .await
            .map_err(|_| Problem::body_timeout()),
        None => Ok(part.await),
    }
}
