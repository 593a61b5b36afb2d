//! The queue, tasks and workers as they look on the wire.

use order_core::{
    heartbeat::{KnownWorker, WorkerState},
    process::{Attempt, TaskHistory, TaskId, TaskKind, TaskState, TaskStatus},
    queue::Topic,
    service::{DeadEntry, TopicStats},
};
use poem_openapi::{Enum, Object};
use serde::Serialize;
use uuid::Uuid;

use super::order_body::Time;

/// What is to be done with orders: `validate` decides them, `process` does what follows.
#[derive(Clone, Copy, Debug, Enum, Serialize)]
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

/// How much a topic holds.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "TopicStats")]
pub(super) struct TopicBody {
    topic: TopicName,
    /// Entries that somebody may take on now.
    waiting: u64,
    /// Entries that somebody is at.
    in_flight: u64,
    /// Entries that wait for their retry.
    delayed: u64,
    /// Entries that were given up.
    dead: u64,
    /// How long the oldest waiting entry has waited.
    oldest_age_seconds: f64,
    /// Whether nobody takes on any.
    paused: bool,
    /// Whether there may be more of something than was counted: a database counts to 100000.
    capped: bool,
}

impl From<TopicStats> for TopicBody {
    fn from(TopicStats { topic, stats }: TopicStats) -> Self {
        Self {
            topic: topic.into(),
            waiting: stats.waiting,
            in_flight: stats.in_flight,
            delayed: stats.delayed,
            dead: stats.dead,
            oldest_age_seconds: stats.oldest_age_seconds,
            paused: stats.paused,
            capped: stats.capped,
        }
    }
}

/// How much waits.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Queue")]
pub(super) struct QueueBody {
    pub(super) topics: Vec<TopicBody>,
}

/// An entry that was given up.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "DeadLetter")]
pub(super) struct DeadBody {
    topic: TopicName,
    order_id: Uuid,
    /// Why it was given up.
    reason: String,
    /// How often it was attempted.
    attempts: u32,
    dead_at: Time,
}

impl From<DeadEntry> for DeadBody {
    fn from(DeadEntry { topic, letter }: DeadEntry) -> Self {
        Self {
            topic: topic.into(),
            order_id: letter.order_id.0,
            reason: letter.reason,
            attempts: letter.attempts,
            dead_at: letter.dead_at,
        }
    }
}

/// Entries that were given up, the latest first.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "DeadLetters")]
pub(super) struct DeadList {
    pub(super) items: Vec<DeadBody>,
}

/// Whether a worker works: `dead` is one that told nothing for ten seconds.
#[derive(Clone, Copy, Debug, Enum, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case", rename = "WorkerState")]
pub(super) enum WorkerStateName {
    Alive,
    Dead,
    Stopped,
}

/// A worker, and what it did since it started.
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
    /// Those of them that got their stock.
    sold: u64,
    /// Those of them that failed.
    failed: u64,
    /// Tasks that it did.
    processed: u64,
    /// Tasks that it is doing.
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

/// Workers, those that started last first.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Workers")]
pub(super) struct WorkerList {
    pub(super) workers: Vec<WorkerBody>,
}

/// What is to be done for an order: `process`, or `compensate` when it was cancelled after
/// somebody had begun.
#[derive(Clone, Copy, Debug, Enum, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case", rename = "TaskKind")]
enum KindName {
    Process,
    Compensate,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, Enum, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case", rename = "TaskState")]
enum StateName {
    Waiting,
    InFlight,
    Delayed,
    Dead,
}

/// The task of an order.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Task")]
pub(super) struct TaskBody {
    /// What its handler deduplicates by: the same for each attempt.
    id: String,
    order_id: Uuid,
    kind: KindName,
    state: StateName,
    /// How often it was attempted since it was put on the queue or redriven.
    attempts: u32,
    /// When it may be attempted, or its lease ends; of a dead one, when it was given up.
    at: Time,
    /// Why it was given up.
    reason: Option<String>,
}

impl From<TaskStatus> for TaskBody {
    fn from(task: TaskStatus) -> Self {
        let id = TaskId {
            order_id: task.order_id,
            kind: task.kind,
        };
        Self {
            id: id.to_string(),
            order_id: task.order_id.0,
            kind: match task.kind {
                TaskKind::Process => KindName::Process,
                TaskKind::Compensate => KindName::Compensate,
            },
            state: match task.state {
                TaskState::Waiting => StateName::Waiting,
                TaskState::InFlight => StateName::InFlight,
                TaskState::Delayed => StateName::Delayed,
                TaskState::Dead => StateName::Dead,
            },
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
    /// Which one of the order, from 1.
    attempt: u32,
    started_at: Time,
    ended_at: Time,
    /// What went wrong.
    error: String,
    /// Who made it, where that is known.
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

/// What became of an order's task so far.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Attempts")]
pub(super) struct AttemptList {
    /// The attempts that failed, the first one first.
    items: Vec<AttemptBody>,
    /// The task; `null` when there is none (any more).
    task: Option<TaskBody>,
}

impl From<TaskHistory> for AttemptList {
    fn from(history: TaskHistory) -> Self {
        Self {
            items: history.attempts.into_iter().map(Into::into).collect(),
            task: history.task.map(Into::into),
        }
    }
}
