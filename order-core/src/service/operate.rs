//! What operators ask for: how much waits, who works, what was given up.

use std::sync::Arc;

use serde::Serialize;

use super::OrderService;
use crate::{
    domain::OrderId,
    error::Error,
    process::{TaskHistory, TaskStatus},
    queue::{DeadLetter, MAX_COUNTED, OrderQueue, QueueStats, Topic},
    store::Backlog,
    worker::KnownWorker,
};

/// How much a topic holds, wherever it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TopicStats {
    /// The topic.
    pub topic: Topic,
    /// How much it holds.
    #[serde(flatten)]
    pub stats: QueueStats,
}

/// An entry that was given up, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadEntry {
    /// The topic.
    pub topic: Topic,
    /// The entry.
    #[serde(flatten)]
    pub letter: DeadLetter,
}

impl OrderService {
    /// How much each topic holds.
    ///
    /// # Errors
    /// The backend's.
    pub async fn queue_stats(&self) -> Result<Vec<TopicStats>, Error> {
        let mut all = Vec::new();
        for topic in Topic::ALL {
            all.push(self.topic_stats(topic).await?);
        }
        Ok(all)
    }

    /// How much a topic holds. Orders that wait to be decided are counted in the queue, where
    /// there is one and it answers, and else in the database, which gives them out without a
    /// lease.
    ///
    /// # Errors
    /// The backend's.
    pub async fn topic_stats(&self, topic: Topic) -> Result<TopicStats, Error> {
        let told = self.topic_stats_given(topic, None).await;
        let Err(Error::QueueUnavailable { .. }) = told else {
            return told;
        };
        // Workers do the same: they take what is pending from the database.
        let mut stats = pending_stats(self.parts.store.backlog().await?);
        stats.paused = self.kept_queue().stats(topic).await?.paused;
        Ok(TopicStats { topic, stats })
    }

    /// The same, for who may know already how much is pending.
    pub(super) async fn topic_stats_given(
        &self,
        topic: Topic,
        backlog: Option<Backlog>,
    ) -> Result<TopicStats, Error> {
        let kept = self.kept_queue().stats(topic).await?;
        let mut stats = match (topic, &self.parts.queue) {
            (Topic::Process, _) => kept,
            (Topic::Validate, Some(queue)) => {
                let stats = queue.stats(topic).await;
                stats.map_err(Error::of_the_queue)?
            }
            (Topic::Validate, None) => match backlog {
                Some(backlog) => pending_stats(backlog),
                None => pending_stats(self.parts.store.backlog().await?),
            },
        };
        // What the database says holds for all who give out entries.
        stats.paused |= kept.paused;
        Ok(TopicStats { topic, stats })
    }

    /// Up to `limit` of the entries of a topic that were given up, the latest first.
    ///
    /// # Errors
    /// The backend's.
    pub async fn dead_letters(&self, topic: Topic, limit: usize) -> Result<Vec<DeadEntry>, Error> {
        let letters = self.queue_of(topic).dead(topic, limit).await;
        let letters = letters.map_err(|error| self.error_of(topic, error))?;
        let entry = |letter| DeadEntry { topic, letter };
        Ok(letters.into_iter().map(entry).collect())
    }

    /// Offers entries again that were given up; how many of them there were.
    ///
    /// # Errors
    /// The backend's.
    pub async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let redriven = self.queue_of(topic).redrive(topic, orders).await;
        let redriven = redriven.map_err(|error| self.error_of(topic, error))?;
        self.parts.sold.notify_one();
        Ok(redriven)
    }

    /// Stops the work on a topic: within two seconds no worker takes on more.
    ///
    /// # Errors
    /// The backend's.
    pub async fn pause(&self, topic: Topic) -> Result<TopicStats, Error> {
        self.kept_queue().pause(topic).await?;
        self.topic_stats(topic).await
    }

    /// Lets the work on a paused topic go on.
    ///
    /// # Errors
    /// The backend's.
    pub async fn resume(&self, topic: Topic) -> Result<TopicStats, Error> {
        self.kept_queue().resume(topic).await?;
        if let Some(queue) = &self.parts.queue {
            let resumed = queue.resume(topic).await;
            resumed.map_err(Error::of_the_queue)?;
        }
        self.topic_stats(topic).await
    }

    /// Every worker that told of itself within a day, those that started last first.
    ///
    /// # Errors
    /// The backend's.
    pub async fn workers(&self) -> Result<Vec<KnownWorker>, Error> {
        self.parts.store.workers().await
    }

    /// Puts the task of an order on the queue, at once: again, when it is done or dead. `None`
    /// when there is no such order.
    ///
    /// # Errors
    /// [`Error::OrderState`] when it was not sold, or cancelled with nothing to undo.
    pub async fn process_order(&self, id: OrderId) -> Result<Option<TaskStatus>, Error> {
        let put = self.to_the_end(move |store| async move { store.put_task(id).await });
        let task = put.await?;
        self.parts.sold.notify_one();
        Ok(task)
    }

    /// What became of an order's task so far; `None` when there is no such order.
    ///
    /// # Errors
    /// The backend's.
    pub async fn task_history(&self, id: OrderId) -> Result<Option<TaskHistory>, Error> {
        self.parts.store.task_history(id).await
    }

    /// The queue that the database is: tasks are always there, and so are the pauses.
    fn kept_queue(&self) -> Arc<dyn OrderQueue> {
        self.parts.store.queue()
    }

    /// A failure of where the entries of a topic are.
    fn error_of(&self, topic: Topic, error: Error) -> Error {
        match (topic, &self.parts.queue) {
            (Topic::Validate, Some(_)) => error.of_the_queue(),
            _ => error,
        }
    }

    /// Where the entries of a topic are.
    fn queue_of(&self, topic: Topic) -> Arc<dyn OrderQueue> {
        match (topic, &self.parts.queue) {
            (Topic::Validate, Some(queue)) => Arc::clone(queue),
            _ => self.kept_queue(),
        }
    }
}

fn pending_stats(backlog: Backlog) -> QueueStats {
    QueueStats {
        waiting: backlog.orders,
        oldest_age_seconds: backlog.oldest_age.unwrap_or_default().as_secs_f64(),
        capped: backlog.orders >= u64::from(MAX_COUNTED),
        ..QueueStats::default()
    }
}
