//! Operation: dead letters.

use serde::Serialize;

use super::OrderService;
use crate::{
    audit::AuditChange,
    domain::OrderId,
    error::Error,
    queue::{DeadFilter, DeadLetter, DeadQuery, DeadSummary, Topic},
};

/// The most dead letters that one transaction offers again.
const SLICE: usize = 500;

/// An entry that was given up, and its topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadEntry {
    /// The topic.
    pub topic: Topic,
    /// The entry.
    #[serde(flatten)]
    pub letter: DeadLetter,
}

impl OrderService {
    /// The entries of a topic that were given up, the latest first.
    ///
    /// # Errors
    /// The backend's.
    pub async fn dead_letters(
        &self,
        topic: Topic,
        query: &DeadQuery,
    ) -> Result<Vec<DeadEntry>, Error> {
        let letters = self.queue_of(topic)?.dead(topic, query).await;
        let letters = letters.map_err(|error| self.error_of(topic, error))?;
        let entry = |letter| DeadEntry { topic, letter };
        Ok(letters.into_iter().map(entry).collect())
    }

    /// Counts the entries of a topic that were given up, and gives up to `groups` groups of them by
    /// reason.
    ///
    /// # Errors
    /// The backend's.
    pub async fn dead_summary(
        &self,
        topic: Topic,
        filter: &DeadFilter,
        groups: usize,
    ) -> Result<DeadSummary, Error> {
        let summary = self
            .queue_of(topic)?
            .dead_summary(topic, filter, groups)
            .await;
        summary.map_err(|error| self.error_of(topic, error))
    }

    /// Offers entries again that were given up, and gives their number.
    ///
    /// # Errors
    /// The backend's.
    pub async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let redriven = self.queue_of(topic)?.redrive(topic, orders).await;
        let redriven = redriven.map_err(|error| self.error_of(topic, error))?;
        if topic == Topic::Validate && self.inner.queue.is_some() && redriven > 0 {
            // A queue that is no database keeps no log.
            let change = AuditChange::redriven_elsewhere(topic, orders, redriven);
            self.record(change).await?;
        }
        self.inner.sold.notify_one();
        Ok(redriven)
    }

    /// Offers all entries again that `filter` means, and gives their number. It goes from the latest
    /// to the oldest, some hundred in each transaction, so that one that is given up again meanwhile
    /// is not offered twice. When it fails half-way, what it offered stays offered.
    ///
    /// # Errors
    /// The backend's.
    pub async fn redrive_matching(
        &self,
        topic: Topic,
        filter: &DeadFilter,
    ) -> Result<usize, Error> {
        let (mut after, mut redriven) = (None, 0);
        loop {
            let query = DeadQuery {
                filter: filter.clone(),
                after,
                limit: SLICE,
            };
            let letters = self.dead_letters(topic, &query).await?;
            let orders: Vec<OrderId> = letters.iter().map(|dead| dead.letter.order_id).collect();
            if !orders.is_empty() {
                redriven += self.redrive(topic, &orders).await?;
            }
            match letters.last() {
                Some(last) if letters.len() == SLICE => after = Some(last.letter.place()),
                _ => return Ok(redriven),
            }
        }
    }
}
