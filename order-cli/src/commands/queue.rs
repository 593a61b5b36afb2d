//! `order-cli queue`: the queue on Redis. Without Redis the database is the queue, and there
//! is nothing to look after: `order list --status pending` shows what waits.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use order_core::{
    domain::OrderId,
    queue::{OrderQueue, QueueStats, Topic},
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
    /// How much each topic holds
    Stats,
    /// What was given up, the latest first
    Dead {
        #[arg(long, default_value = "validate")]
        topic: TopicName,
        /// How many at most
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Offers orders again that were given up
    Redrive {
        #[arg(long, default_value = "validate")]
        topic: TopicName,
        #[arg(required = true)]
        orders: Vec<OrderId>,
    },
    /// Stops giving out a topic, to all workers
    Pause { topic: TopicName },
    /// Gives out a paused topic again
    Resume { topic: TopicName },
}

/// A topic by its name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TopicName {
    Validate,
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
struct TopicStats {
    topic: Topic,
    #[serde(flatten)]
    stats: QueueStats,
}

#[derive(Serialize)]
struct Redriven {
    redriven: usize,
}

pub(crate) async fn run(
    command: Queue,
    queue: &dyn OrderQueue,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    match command {
        Queue::Stats => {
            let mut rows = Vec::new();
            for topic in Topic::ALL {
                let stats = queue.stats(topic).await?;
                rows.push(TopicStats { topic, stats });
            }
            output.rows(STATS, &rows)?;
        }
        Queue::Dead { topic, limit } => {
            output.rows(DEAD, &queue.dead(topic.into(), limit).await?)?;
        }
        Queue::Redrive { topic, orders } => {
            let redriven = queue.redrive(topic.into(), &orders).await?;
            output.row(REDRIVEN, Redriven { redriven })?;
        }
        Queue::Pause { topic } => queue.pause(topic.into()).await?,
        Queue::Resume { topic } => queue.resume(topic.into()).await?,
    }
    Ok(ExitCode::SUCCESS)
}
