//! The pulse of a worker: once a second it tells that it lives, and hears what is paused.
//! Until it has heard that for the first time, everything is.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Heartbeat, tally::Tally};
use crate::{error::Error, queue::Topic, store::Store};

const INTERVAL: Duration = Duration::from_secs(1);
/// How long a worker that ends tries to tell so.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Lets the work of a topic go on, or holds it.
pub(super) struct Pulse {
    store: Arc<dyn Store>,
    id: Uuid,
    tally: Arc<Tally>,
    /// The topics that are worked on.
    open: watch::Sender<Vec<Topic>>,
}

impl Pulse {
    pub(super) fn new(store: Arc<dyn Store>, id: Uuid, tally: Arc<Tally>) -> Self {
        Self {
            store,
            id,
            tally,
            open: watch::Sender::default(),
        }
    }

    /// Beats until `end` is cancelled, and then for the last time.
    pub(super) async fn run(&self, topics: &[Topic], end: &CancellationToken) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while end.run_until_cancelled(ticks.tick()).await.is_some() {
            // Whoever ends does not wait for a database that is away.
            if let Some(Err(error)) = end.run_until_cancelled(self.beat(topics, false)).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "no heartbeat");
            }
        }
        let last = self.beat(topics, true);
        let _ = tokio::time::timeout(LAST_WORD, last).await;
    }

    /// Tells how it is, and hears what is paused.
    pub(super) async fn beat(&self, topics: &[Topic], has_stopped: bool) -> Result<(), Error> {
        let paused = self.store.heartbeat(&self.now(topics, has_stopped)).await?;
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
        // It fails when we are gone, and we are here.
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
            counts: self.tally.counts(),
        }
    }
}

/// The name of this machine, as far as it can be kept.
fn host() -> String {
    let name = gethostname::gethostname();
    name.to_string_lossy().chars().take(255).collect()
}
