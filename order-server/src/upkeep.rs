//! Tasks of a process that serves requests, beside serving them.

use std::sync::Arc;

use order_core::supervise::supervise;
use tokio_util::sync::CancellationToken;

use crate::{auth::KeyCache, metrics::collector};

/// Keeps the keys fresh and the metrics small, until `stop` is cancelled.
pub(crate) fn spawn_upkeep(keys: &Arc<KeyCache>, stop: &CancellationToken) {
    let (keys, stop_keys) = (Arc::clone(keys), stop.clone());
    tokio::spawn(supervise("keys", move || {
        let (keys, stop) = (Arc::clone(&keys), stop_keys.clone());
        async move { keys.keep_fresh(stop).await }
    }));
    let stop_metrics = stop.clone();
    tokio::spawn(supervise("metrics", move || {
        collector().run_upkeep(stop_metrics.clone())
    }));
}
