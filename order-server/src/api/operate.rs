//! Operations for operators: the queue, dead letters, workers.

use order_core::{
    OrderService,
    domain::{Order, OrderId},
    queue::Topic,
    service::TopicStats,
};
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Path, Query},
};
use uuid::Uuid;

use super::{
    operate_body::{
        AttemptList, DeadList, QueueBody, TaskBody, TopicBody, TopicName, WorkerBody, WorkerList,
    },
    tag::Tag,
};
use crate::{
    auth::{Inspect, Operate},
    http::{json::Json, problem::Problem},
};

#[derive(ApiResponse)]
enum Put {
    /// The task is on the queue
    #[oai(status = 202)]
    Task(Json<TaskBody>),
}

/// The operations of operators.
pub struct Operations {
    service: OrderService,
}

impl Operations {
    pub(super) fn new(service: OrderService) -> Self {
        Self { service }
    }

    async fn order(&self, id: Uuid) -> Result<Order, Problem> {
        let order = self.service.order(OrderId(id)).await?;
        order.ok_or_else(|| Problem::order_not_found(id))
    }
}

fn topic(name: &str) -> Result<Topic, Problem> {
    name.parse().map_err(|_| Problem::topic_not_found(name))
}

#[OpenApi(tag = "Tag::Operations")]
impl Operations {
    /// Read how much waits on each topic
    #[oai(path = "/queue", method = "get", operation_id = "getQueue")]
    async fn queue(&self, _caller: Inspect) -> Result<Json<QueueBody>, Problem> {
        let topics = self.service.queue_stats().await?;
        Ok(Json(QueueBody {
            topics: topics.into_iter().map(Into::into).collect(),
        }))
    }

    /// List dead letters, the latest first
    #[oai(path = "/queue/dead", method = "get", operation_id = "listDeadLetters")]
    async fn dead(
        &self,
        _caller: Inspect,
        /// Topic of the dead letters; `process` unless given
        topic: Query<Option<TopicName>>,
        /// Maximum number of items to return; 100 unless given
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u16>>,
    ) -> Result<Json<DeadList>, Problem> {
        let topic = topic.0.unwrap_or(TopicName::Process).into();
        let limit = usize::from(limit.0.unwrap_or(100));
        let dead = self.service.dead_letters(topic, limit).await?;
        Ok(Json(DeadList {
            items: dead.into_iter().map(Into::into).collect(),
        }))
    }

    /// Put a dead letter back on the queue, as if it had never been tried
    #[oai(
        path = "/queue/dead/:id/redrive",
        method = "post",
        operation_id = "redriveDeadLetter"
    )]
    async fn redrive(
        &self,
        _caller: Operate,
        /// The order
        id: Path<Uuid>,
        /// Topic of the dead letters; `process` unless given
        topic: Query<Option<TopicName>>,
    ) -> Result<Json<TopicBody>, Problem> {
        let topic = topic.0.unwrap_or(TopicName::Process).into();
        if self.service.redrive(topic, &[OrderId(id.0)]).await? == 0 {
            return Err(Problem::dead_letter_not_found(id.0));
        }
        Ok(Json(self.service.topic_stats(topic).await?.into()))
    }

    /// Stop the work on a topic, in all processes, within two seconds
    #[oai(
        path = "/queue/:topic/pause",
        method = "post",
        operation_id = "pauseTopic"
    )]
    async fn pause(
        &self,
        _caller: Operate,
        /// `validate` or `process`
        #[oai(name = "topic")]
        name: Path<String>,
    ) -> Result<Json<TopicBody>, Problem> {
        let stats: TopicStats = self.service.pause(topic(&name.0)?).await?;
        Ok(Json(stats.into()))
    }

    /// Continue the work on a paused topic
    #[oai(
        path = "/queue/:topic/resume",
        method = "post",
        operation_id = "resumeTopic"
    )]
    async fn resume(
        &self,
        _caller: Operate,
        /// `validate` or `process`
        #[oai(name = "topic")]
        name: Path<String>,
    ) -> Result<Json<TopicBody>, Problem> {
        let stats: TopicStats = self.service.resume(topic(&name.0)?).await?;
        Ok(Json(stats.into()))
    }

    /// List workers, those that ended within a day included
    #[oai(path = "/workers", method = "get", operation_id = "listWorkers")]
    async fn workers(&self, _caller: Inspect) -> Result<Json<WorkerList>, Problem> {
        let workers = self.service.workers().await?.into_iter();
        Ok(Json(WorkerList {
            workers: workers.map(WorkerBody::from).collect(),
        }))
    }

    /// Put the task of a sold order on the queue, due at once, also if it was done or is a dead
    /// letter. Its id, by which its handler deduplicates, stays the same
    #[oai(
        path = "/orders/:id/process",
        method = "post",
        operation_id = "processOrder"
    )]
    async fn process(&self, _caller: Operate, id: Path<Uuid>) -> Result<Put, Problem> {
        let task = self.service.process_order(OrderId(id.0)).await?;
        let task = task.ok_or_else(|| Problem::order_not_found(id.0))?;
        let order = self.order(id.0).await?;
        Ok(Put::Task(Json(TaskBody::of(task, &order))))
    }

    /// Read the task of an order, and its failed attempts
    #[oai(
        path = "/orders/:id/attempts",
        method = "get",
        operation_id = "listAttempts"
    )]
    async fn attempts(
        &self,
        _caller: Inspect,
        id: Path<Uuid>,
    ) -> Result<Json<AttemptList>, Problem> {
        let history = self.service.task_history(OrderId(id.0)).await?;
        let history = history.ok_or_else(|| Problem::order_not_found(id.0))?;
        let order = self.order(id.0).await?;
        Ok(Json(AttemptList::of(history, &order)))
    }
}
