//! Operations for operators: the queue, tasks, workers.

use order_core::{
    OrderService,
    domain::OrderId,
    process::{TaskId, TaskKind, TaskStatus},
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
        AttemptList, QueueBody, StateName, TaskBody, TaskList, TopicBody, WorkerBody, WorkerList,
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

    /// A task with its id, which says of a compensation what came back of the order.
    async fn named(&self, task: TaskStatus) -> Result<TaskBody, Problem> {
        let (order_id, kind) = (task.order_id, task.kind);
        let id = match kind {
            TaskKind::Process => TaskId {
                order_id,
                kind,
                returned: None,
            },
            TaskKind::Compensate => {
                let order = self.service.order(order_id).await?;
                let order = order.ok_or_else(|| Problem::order_not_found(order_id.0))?;
                TaskId::of(kind, &order)
            }
        };
        Ok(TaskBody::of(task, id))
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

    /// List the tasks of sold orders in a state
    #[oai(path = "/queue/tasks", method = "get", operation_id = "listTasks")]
    async fn tasks(
        &self,
        _caller: Inspect,
        /// State of the tasks
        state: Query<StateName>,
        /// Maximum number of items to return; 100 unless given
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u16>>,
    ) -> Result<Json<TaskList>, Problem> {
        let limit = usize::from(limit.0.unwrap_or(100));
        let tasks = self.service.tasks(state.0.into(), limit).await?;
        let mut items = Vec::with_capacity(tasks.len());
        for task in tasks {
            items.push(self.named(task).await?);
        }
        Ok(Json(TaskList { items }))
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
        Ok(Put::Task(Json(self.named(task).await?)))
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
        let task = match history.task {
            Some(task) => Some(self.named(task).await?),
            None => None,
        };
        Ok(Json(AttemptList::of(history.attempts, task)))
    }
}
