//! Entries of the queue.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// An entry of a topic.
#[derive(Clone, Debug, Default)]
pub(super) struct QueueEntry {
    pub(super) attempts: u32,
    pub(super) runs: u32,
    pub(super) visible_at: DateTime<Utc>,
    pub(super) claim: Option<(Uuid, Option<Uuid>, DateTime<Utc>)>,
    pub(super) dead: Option<(DateTime<Utc>, String)>,
    pub(super) compensates: bool,
    /// Something came back that its claim may not know.
    pub(super) returned: bool,
}

impl QueueEntry {
    pub(super) fn due(at: DateTime<Utc>) -> Self {
        Self {
            visible_at: at,
            ..Self::default()
        }
    }

    pub(super) fn is_held_by(&self, claim_id: Uuid) -> bool {
        self.claim.is_some_and(|(id, _, _)| id == claim_id)
    }
}
