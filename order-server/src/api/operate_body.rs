//! The queue, tasks and workers as they look on the wire.

use order_core::{
    heartbeat::{KnownWorker, WorkerState},
    process::{Attempt, TaskId, TaskKind, TaskState, TaskStatus},
    queue::Topic,
    service::TopicStats,
};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::wire::Time;

/// The work on orders: `validate` decides them, `process` processes sold ones.
#[derive(Clone, Copy, Debug, Enum, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case", rename = "Topic")]
pub(super) enum TopicName {
    Validate,
    Process,
}

impl From<Topic> for TopicName {
    fn from(topic: Topic) -> Self {
        match topic {
            Topic::Validate => Self::Validate,
            Topic::Process => Self::Process,
        }
    }
}

impl From<TopicName> for Topic {
    fn from(name: TopicName) -> Self {
        match name {
            TopicName::Validate => Self::Validate,
            TopicName::Process => Self::Process,
        }
    }
}

/// The entries on a topic.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "TopicStats")]
pub(super) struct TopicBody {
    topic: TopicName,
    /// Entries that a worker may take now.
    waiting: u64,
    /// Tasks that wait out the delay between a sale and its processing.
    scheduled: u64,
    /// Entries that a worker has taken.
    in_flight: u64,
    /// Entries that wait for their retry.
    delayed: u64,
    /// Dead letters.
    dead: u64,
    /// Age of the oldest waiting entry.
    oldest_age_seconds: f64,
    /// `true` while the topic is paused.
    paused: bool,
    /// `true` if a count stopped at its limit, so that there may be more: a database counts to
    /// 100000.
    capped: bool,
}

impl From<TopicStats> for TopicBody {
    fn from(TopicStats { topic, stats }: TopicStats) -> Self {
        Self {
            topic: topic.into(),
            waiting: stats.waiting,
            scheduled: stats.scheduled,
            in_flight: stats.in_flight,
            delayed: stats.delayed,
            dead: stats.dead,
            oldest_age_seconds: stats.oldest_age_seconds,
            paused: stats.paused,
            capped: stats.capped,
        }
    }
}

/// The entries on each topic.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Queue")]
pub(super) struct QueueBody {
    pub(super) topics: Vec<TopicBody>,
}

/// The state of a worker: a `dead` one sent no heartbeat for ten seconds.
#[derive(Clone, Copy, Debug, Enum, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case", rename = "WorkerState")]
pub(super) enum WorkerStateName {
    Alive,
    Dead,
    Stopped,
}

/// A worker, with its counts since it started.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Worker")]
pub(super) struct WorkerBody {
    id: Uuid,
    host: String,
    pid: u32,
    version: String,
    topics: Vec<TopicName>,
    state: WorkerStateName,
    started_at: Time,
    heartbeat_at: Time,
    stopped_at: Option<Time>,
    /// Orders that it decided.
    decided: u64,
    /// Those of them that were sold.
    sold: u64,
    /// Those of them that failed.
    failed: u64,
    /// Tasks that it completed.
    processed: u64,
    /// Tasks in progress.
    in_flight: u64,
}

impl From<KnownWorker> for WorkerBody {
    fn from(worker: KnownWorker) -> Self {
        let state = worker.state();
        let heartbeat = worker.heartbeat;
        let counts = heartbeat.counts;
        Self {
            id: heartbeat.id,
            host: heartbeat.host,
            pid: heartbeat.pid,
            version: heartbeat.version,
            topics: heartbeat.topics.into_iter().map(Into::into).collect(),
            state: match state {
                WorkerState::Alive => WorkerStateName::Alive,
                WorkerState::Dead => WorkerStateName::Dead,
                WorkerState::Stopped => WorkerStateName::Stopped,
            },
            started_at: worker.started_at,
            heartbeat_at: worker.heartbeat_at,
            stopped_at: worker.stopped_at,
            decided: counts.sold + counts.failed,
            sold: counts.sold,
            failed: counts.failed,
            processed: counts.processed,
            in_flight: counts.in_flight,
        }
    }
}

/// Workers, the latest started first.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Workers")]
pub(super) struct WorkerList {
    pub(super) workers: Vec<WorkerBody>,
}

/// The kind of a task: `process`, or `compensate` if the order was cancelled after processing had
/// begun.
#[derive(Clone, Copy, Debug, Enum, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case", rename = "TaskKind")]
enum KindName {
    Process,
    Compensate,
}

/// The state of a task: `waiting` for a worker, `scheduled` until the delay after its sale is over,
/// `in_flight` in a worker, `retrying` until its next attempt, or `dead` (given up).
#[derive(Clone, Copy, Debug, Enum, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case", rename = "TaskState")]
pub(super) enum StateName {
    Waiting,
    Scheduled,
    InFlight,
    Retrying,
    Dead,
}

impl From<TaskState> for StateName {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Waiting => Self::Waiting,
            TaskState::Scheduled => Self::Scheduled,
            TaskState::InFlight => Self::InFlight,
            TaskState::Retrying => Self::Retrying,
            TaskState::Dead => Self::Dead,
        }
    }
}

impl From<StateName> for TaskState {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Waiting => Self::Waiting,
            StateName::Scheduled => Self::Scheduled,
            StateName::InFlight => Self::InFlight,
            StateName::Retrying => Self::Retrying,
            StateName::Dead => Self::Dead,
        }
    }
}

/// Tasks in one state.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Tasks")]
pub(super) struct TaskList {
    /// Those first whose turn is first; dead ones the latest first.
    pub(super) items: Vec<TaskBody>,
}

/// The task of an order.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Task")]
pub(super) struct TaskBody {
    /// Id by which its handler deduplicates: the same for each attempt.
    id: String,
    order_id: Uuid,
    kind: KindName,
    state: StateName,
    /// Attempts since it was put on the queue or redriven.
    attempts: u32,
    /// Time at which it may be attempted, or its lease ends; for a dead letter, when it was given up.
    at: Time,
    /// The reason for giving up.
    reason: Option<String>,
}

impl TaskBody {
    /// The task that has this id.
    pub(super) fn of(task: TaskStatus, id: TaskId) -> Self {
        Self {
            id: id.to_string(),
            order_id: task.order_id.0,
            kind: match task.kind {
                TaskKind::Process => KindName::Process,
                TaskKind::Compensate => KindName::Compensate,
            },
            state: task.state.into(),
            attempts: task.attempts,
            at: task.at,
            reason: task.reason,
        }
    }
}

/// An attempt that failed.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Attempt")]
pub(super) struct AttemptBody {
    /// Number of the attempt, from 1.
    attempt: u32,
    started_at: Time,
    ended_at: Time,
    /// The error.
    error: String,
    /// Worker that made it, if known.
    worker_id: Option<Uuid>,
}

impl From<Attempt> for AttemptBody {
    fn from(attempt: Attempt) -> Self {
        Self {
            attempt: attempt.attempt,
            started_at: attempt.started_at,
            ended_at: attempt.ended_at,
            error: attempt.error,
            worker_id: attempt.worker_id,
        }
    }
}

/// The history of an order's task.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Attempts")]
pub(super) struct AttemptList {
    /// Failed attempts, the oldest first.
    items: Vec<AttemptBody>,
    /// The task; `null` if there is none, or it is done.
    task: Option<TaskBody>,
}

impl AttemptList {
    /// The failed attempts, and the task.
    pub(super) fn of(attempts: Vec<Attempt>, task: Option<TaskBody>) -> Self {
        Self {
            items: attempts.into_iter().map(Into::into).collect(),
            task,
        }
    }
}
