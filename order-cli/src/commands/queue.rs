//! `order-cli queue`: queues, dead letters, and pauses.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use order_core::{
    OrderService,
    domain::OrderId,
    queue::{DeadQuery, Topic},
};
use serde::Serialize;

use crate::output::{Column, Output};

const STATS: &[Column] = &[
    ("topic", "/topic"),
    ("waiting", "/waiting"),
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
const REDRIVEN: &[Column] = &[("redriven", "/redriven")];

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Show how much waits on each topic
    Stats,
    /// List dead letters, the latest first
    Dead {
        /// Topic of the dead letters
        #[arg(long, default_value = "process")]
        topic: TopicName,
        /// Maximum number of dead letters to print
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Put dead letters back on the queue, as if they had never been tried
    Redrive {
        /// Topic of the dead letters
        #[arg(long, default_value = "process")]
        topic: TopicName,
        /// Ids of their orders
        #[arg(required = true)]
        orders: Vec<OrderId>,
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
        Queue::Dead { topic, limit } => {
            let query = DeadQuery::latest(limit);
            output.rows(DEAD, &service.dead_letters(topic.into(), &query).await?)?;
        }
        Queue::Redrive { topic, orders } => {
            let redriven = service.redrive(topic.into(), &orders).await?;
            output.row(REDRIVEN, Redriven { redriven })?;
        }
        Queue::Pause { topic } => output.row(STATS, service.pause(topic.into()).await?)?,
        Queue::Resume { topic } => output.row(STATS, service.resume(topic.into()).await?)?,
    }
    Ok(ExitCode::SUCCESS)
}
