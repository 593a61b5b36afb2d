//! Operation: queues, workers and tasks.

use std::sync::Arc;

use serde::Serialize;

use super::OrderService;
use crate::{
    domain::OrderId,
    error::Error,
    heartbeat::KnownWorker,
    process::{TaskHistory, TaskQuery, TaskState, TaskStatus},
    queue::{COUNT_LIMIT, OrderQueue, QueueStats, Topic},
    store::Backlog,
};

/// The entries that a topic holds, wherever it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TopicStats {
    /// The topic.
    pub topic: Topic,
    /// Its entries, counted.
    #[serde(flatten)]
    pub stats: QueueStats,
}

impl OrderService {
    /// The entries that each topic holds.
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

    /// The entries that a topic holds. Orders that wait to be decided are counted in the queue,
    /// where there is one and it answers, and else in the database, which gives them out without a
    /// lease.
    ///
    /// # Errors
    /// The backend's.
    pub async fn topic_stats(&self, topic: Topic) -> Result<TopicStats, Error> {
        let stats = self.topic_stats_given(topic, None).await;
        let Err(Error::QueueUnavailable { .. }) = stats else {
            return stats;
        };
        // Workers do the same: they take pending orders from the database.
        let mut stats = pending_stats(self.inner.orders.backlog().await?);
        stats.paused = self.is_paused(topic).await?;
        Ok(TopicStats { topic, stats })
    }

    /// The same, for callers that may know the backlog already.
    pub(super) async fn topic_stats_given(
        &self,
        topic: Topic,
        backlog: Option<Backlog>,
    ) -> Result<TopicStats, Error> {
        if topic == Topic::Process {
            let stats = self.task_stats().await?;
            return Ok(TopicStats { topic, stats });
        }
        // The pauses of the database hold for all who give out entries.
        let paused = self.is_paused(topic).await?;
        let mut stats = match (&self.inner.queue, backlog) {
            (Some(queue), _) => queue.stats(topic).await.map_err(Error::of_the_queue)?,
            (None, Some(backlog)) => pending_stats(backlog),
            (None, None) => pending_stats(self.inner.orders.backlog().await?),
        };
        stats.paused |= paused;
        Ok(TopicStats { topic, stats })
    }

    /// Stops the work on a topic: within two seconds no worker takes on more.
    ///
    /// # Errors
    /// The backend's.
    pub async fn pause(&self, topic: Topic) -> Result<TopicStats, Error> {
        self.database_queue()?.pause(topic).await?;
        self.topic_stats(topic).await
    }

    /// Lets the work on a paused topic go on.
    ///
    /// # Errors
    /// The backend's.
    pub async fn resume(&self, topic: Topic) -> Result<TopicStats, Error> {
        self.database_queue()?.resume(topic).await?;
        if let Some(queue) = &self.inner.queue {
            let resumed = queue.resume(topic).await;
            resumed.map_err(Error::of_the_queue)?;
        }
        self.topic_stats(topic).await
    }

    /// Every worker that sent a heartbeat within a day, those that started last first.
    ///
    /// # Errors
    /// The backend's.
    pub async fn workers(&self) -> Result<Vec<KnownWorker>, Error> {
        let store = Arc::clone(&self.inner.store).worker_store();
        let store = store.ok_or(Error::Unsupported {
            what: "heartbeats of workers",
        })?;
        store.workers().await
    }

    /// Puts the task of an order on the queue, at once: again, when it is done or dead. `None`
    /// when there is no such order.
    ///
    /// # Errors
    /// [`Error::OrderState`] when it was not sold, or cancelled with nothing to undo.
    pub async fn process_order(&self, id: OrderId) -> Result<Option<TaskStatus>, Error> {
        let put = self
            .run_to_completion(move |inner| async move { inner.task_store()?.put_task(id).await });
        let task = put.await?;
        self.inner.sold.notify_one();
        Ok(task)
    }

    /// Up to `limit` tasks in one state, those first whose turn is first; dead ones the latest first.
    ///
    /// # Errors
    /// The backend's.
    pub async fn tasks(&self, state: TaskState, limit: usize) -> Result<Vec<TaskStatus>, Error> {
        let query = TaskQuery {
            state,
            delay: self.inner.process_delay,
            limit,
        };
        self.inner.task_store()?.tasks(&query).await
    }

    /// The entries of the topic `process`. A store that keeps no tasks may be a queue all the same.
    async fn task_stats(&self) -> Result<QueueStats, Error> {
        match self.inner.task_store() {
            Ok(tasks) => tasks.task_stats(self.inner.process_delay).await,
            Err(_) => self.database_queue()?.stats(Topic::Process).await,
        }
    }

    /// The history of an order's task; `None` when there is no such order.
    ///
    /// # Errors
    /// The backend's.
    pub async fn task_history(&self, id: OrderId) -> Result<Option<TaskHistory>, Error> {
        self.inner.task_store()?.task_history(id).await
    }

    /// The queue that the database is: tasks are always there, and so are the pauses.
    fn database_queue(&self) -> Result<Arc<dyn OrderQueue>, Error> {
        let queue = self.inner.store.queue();
        queue.ok_or(Error::Unsupported { what: "queues" })
    }

    /// True when the database says that a topic is paused. One that is no queue pauses none.
    async fn is_paused(&self, topic: Topic) -> Result<bool, Error> {
        match self.inner.store.queue() {
            Some(queue) => Ok(queue.stats(topic).await?.paused),
            None => Ok(false),
        }
    }

    /// The failure of a topic's queue.
    pub(super) fn error_of(&self, topic: Topic, error: Error) -> Error {
        match (topic, &self.inner.queue) {
            (Topic::Validate, Some(_)) => error.of_the_queue(),
            _ => error,
        }
    }

    /// The queue that holds the entries of a topic.
    pub(super) fn queue_of(&self, topic: Topic) -> Result<Arc<dyn OrderQueue>, Error> {
        match (topic, &self.inner.queue) {
            (Topic::Validate, Some(queue)) => Ok(Arc::clone(queue)),
            _ => self.database_queue(),
        }
    }
}

fn pending_stats(backlog: Backlog) -> QueueStats {
    QueueStats {
        waiting: backlog.orders,
        oldest_age_seconds: backlog.oldest_age.unwrap_or_default().as_secs_f64(),
        capped: backlog.orders >= u64::from(COUNT_LIMIT),
        ..QueueStats::default()
    }
}
