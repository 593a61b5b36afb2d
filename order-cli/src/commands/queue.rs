//! `order-cli queue`: queues, dead letters, and pauses.

use std::process::ExitCode;

use anyhow::ensure;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use order_core::{
    OrderService,
    domain::OrderId,
    process::TaskState,
    queue::{DeadFilter, DeadQuery, Topic},
};
use serde::Serialize;

use super::time_args::Times;
use crate::output::{Column, Output};

const STATS: &[Column] = &[
    ("topic", "/topic"),
    ("waiting", "/waiting"),
    ("scheduled", "/scheduled"),
    ("in_flight", "/in_flight"),
    ("delayed", "/delayed"),
    ("dead", "/dead"),
    ("oldest_age_seconds", "/oldest_age_seconds"),
    ("paused", "/paused"),
];
const DEAD: &[Column] = &[
    ("order_id", "/order_id"),
    ("attempts", "/attempts"),
    ("dead_at", "/dead_at"),
    ("reason", "/reason"),
];
const REASONS: &[Column] = &[
    ("count", "/count"),
    ("latest_at", "/latest"),
    ("reason", "/reason"),
];
const TASKS: &[Column] = &[
    ("order_id", "/order_id"),
    ("kind", "/kind"),
    ("state", "/state"),
    ("attempts", "/attempts"),
    ("at", "/at"),
    ("reason", "/reason"),
];
const REDRIVEN: &[Column] = &[("redriven", "/redriven")];

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Show how much waits on each topic
    Stats,
    /// List tasks of sold orders by their state, those first whose turn is first
    Tasks {
        /// Only tasks in this state
        #[arg(long)]
        state: Option<StateName>,
        /// Maximum number of tasks of each state to print
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// List dead letters, the latest first
    Dead {
        /// Topic of the dead letters
        #[arg(long, default_value = "process")]
        topic: TopicName,
        #[command(flatten)]
        filter: Filter,
        /// Count them by their reasons
        #[arg(long)]
        by_reason: bool,
        /// Maximum number of dead letters, or of reasons, to print
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Put dead letters back on the queue, as if they had never been tried
    #[command(group = ArgGroup::new("which").required(true).multiple(true)
        .args(["orders", "all", "reason", "since", "until"]))]
    Redrive {
        /// Topic of the dead letters
        #[arg(long, default_value = "process")]
        topic: TopicName,
        /// Ids of their orders
        #[arg(conflicts_with_all = ["all", "reason", "since", "until"])]
        orders: Vec<OrderId>,
        /// All of the topic
        #[arg(long, conflicts_with_all = ["reason", "since", "until"])]
        all: bool,
        #[command(flatten)]
        filter: Filter,
    },
    /// Stop the work on a topic in all processes, within two seconds
    Pause {
        /// The topic
        topic: TopicName,
    },
    /// Continue the work on a paused topic
    Resume {
        /// The topic
        topic: TopicName,
    },
}

/// Some of the dead letters.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Only those whose reason contains this text, in either case
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    given_up: Times,
}

impl From<Filter> for DeadFilter {
    fn from(filter: Filter) -> Self {
        Self {
            reason: filter.reason,
            given_up: filter.given_up.range(),
        }
    }
}

/// The state of a task by its name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StateName {
    /// A worker may take it
    Waiting,
    /// It waits out the delay after its sale
    Scheduled,
    /// A worker has it
    InFlight,
    /// It waits for its next attempt
    Retrying,
    /// It was given up
    Dead,
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

/// A topic by its name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TopicName {
    /// Deciding accepted orders
    Validate,
    /// Processing sold orders
    Process,
}

impl From<TopicName> for Topic {
    fn from(name: TopicName) -> Self {
        match name {
            TopicName::Validate => Self::Validate,
            TopicName::Process => Self::Process,
        }
    }
}

#[derive(Serialize)]
struct Redriven {
    redriven: usize,
}

pub(crate) async fn run(
    command: Queue,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    match command {
        Queue::Stats => output.rows(STATS, &service.queue_stats().await?)?,
        Queue::Tasks { state, limit } => {
            let states = state.map_or(StateName::value_variants().to_vec(), |one| vec![one]);
            let mut tasks = Vec::new();
            for state in states {
                tasks.extend(service.tasks(state.into(), limit).await?);
            }
            output.rows(TASKS, &tasks)?;
        }
        Queue::Dead {
            topic,
            filter,
            by_reason: true,
            limit,
        } => {
            let filter = filter.into();
            let summary = service.dead_summary(topic.into(), &filter, limit);
            output.rows(REASONS, &summary.await?.groups)?;
        }
        Queue::Dead {
            topic,
            filter,
            limit,
            ..
        } => {
            let query = DeadQuery {
                filter: filter.into(),
                after: None,
                limit,
            };
            output.rows(DEAD, &service.dead_letters(topic.into(), &query).await?)?;
        }
        Queue::Redrive {
            topic,
            mut orders,
            filter,
            ..
        } => {
            orders.sort_unstable();
            orders.dedup();
            let (asked, topic) = (orders.len(), topic.into());
            let redriven = if orders.is_empty() {
                service.redrive_matching(topic, &filter.into()).await?
            } else {
                service.redrive(topic, &orders).await?
            };
            output.row(REDRIVEN, Redriven { redriven })?;
            ensure!(
                redriven >= asked,
                "{} of the {asked} orders have no dead letter on the topic {topic}",
                asked - redriven
            );
        }
        Queue::Pause { topic } => output.row(STATS, service.pause(topic.into()).await?)?,
        Queue::Resume { topic } => output.row(STATS, service.resume(topic.into()).await?)?,
    }
    Ok(ExitCode::SUCCESS)
}
