//! Heartbeats of a worker: once a second it reports about itself, and learns which topics are
//! paused. Until it knows for the first time, all are.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::counters::WorkerCounters;
use crate::{
    error::Error,
    heartbeat::{Heartbeat, WorkerStore},
    queue::Topic,
};

const INTERVAL: Duration = Duration::from_secs(1);
/// The longest that a worker that ends tries to say so.
const LAST_BEAT_LIMIT: Duration = Duration::from_secs(2);

/// Sends the heartbeats, and holds the work of topics that are paused.
pub(super) struct HeartbeatSender {
    /// Without one, nothing can be paused.
    store: Option<Arc<dyn WorkerStore>>,
    id: Uuid,
    counters: Arc<WorkerCounters>,
    /// The topics that are not paused.
    open: watch::Sender<Vec<Topic>>,
}

impl HeartbeatSender {
    pub(super) fn new(
        store: Option<Arc<dyn WorkerStore>>,
        id: Uuid,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        let open = match store {
            Some(_) => Vec::new(),
            None => Topic::ALL.to_vec(),
        };
        Self {
            store,
            id,
            counters,
            open: watch::Sender::new(open),
        }
    }

    /// Beats until `end` is cancelled, and then for the last time.
    pub(super) async fn run(&self, topics: &[Topic], end: &CancellationToken) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while end.run_until_cancelled(ticks.tick()).await.is_some() {
            // The end does not wait for a database that is away.
            if let Some(Err(error)) = end.run_until_cancelled(self.beat(topics, false)).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "no heartbeat");
            }
        }
        let last = self.beat(topics, true);
        let _ = timeout(LAST_BEAT_LIMIT, last).await;
    }

    /// Sends one heartbeat, and learns what is paused.
    pub(super) async fn beat(&self, topics: &[Topic], has_stopped: bool) -> Result<(), Error> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let paused = store.heartbeat(&self.now(topics, has_stopped)).await?;
        let open: Vec<Topic> = Topic::ALL
            .into_iter()
            .filter(|topic| !paused.contains(topic))
            .collect();
        self.open.send_if_modified(|before| {
            let changed = *before != open;
            before.clone_from(&open);
            changed
        });
        Ok(())
    }

    pub(super) fn is_open(&self, topic: Topic) -> bool {
        self.open.borrow().contains(&topic)
    }

    /// Waits until a topic may be worked on.
    pub(super) async fn opened(&self, topic: Topic) {
        let mut open = self.open.subscribe();
        // It fails when the sender is gone, which `self` holds.
        let _ = open.wait_for(|open| open.contains(&topic)).await;
    }

    fn now(&self, topics: &[Topic], has_stopped: bool) -> Heartbeat {
        Heartbeat {
            id: self.id,
            host: host(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            topics: topics.to_vec(),
            has_stopped,
            counts: self.counters.snapshot(),
        }
    }
}

/// The name of this machine, as far as it can be kept.
fn host() -> String {
    let name = gethostname::gethostname();
    name.to_string_lossy().chars().take(255).collect()
}
