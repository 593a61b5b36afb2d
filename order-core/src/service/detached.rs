//! Changes that go on to the end when nobody waits for them any more.

use crate::{error::Error, metrics::part, supervise::catch};

/// Runs a change in a task of its own: it goes on to the end, and so does the cache's
/// invalidation, when the caller stops waiting.
pub(super) async fn spawn_detached<T: Send + 'static>(
    change: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let change = catch(part::CHANGE, change);
    let ended = tokio::spawn(change).await.map_err(Error::backend)?;
    ended.unwrap_or_else(|panic| Err(panic.into()))
}
