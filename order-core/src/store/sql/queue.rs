//! The table `queue_entries` of a database as an order queue.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    audit::record,
    backend::{Priority, SqlConnection, SqlTransaction, Values},
    dead_letters::{dead_letters, dead_summary},
    queue_counts::queue_stats,
    tasks::TaskSteps,
    value::Value,
};
use crate::{
    audit::{Action, AuditChange},
    clock::{Clock, SystemClock},
    domain::{IdGenerator, OrderId},
    error::Error,
    queue::{DeadFilter, DeadLetter, DeadQuery, DeadSummary, Lease, OrderQueue, QueueStats, Topic},
};

const PAUSE: &str = "INSERT INTO queue_pauses (topic) VALUES ($1) ON CONFLICT DO NOTHING";

const RESUME: &str = "DELETE FROM queue_pauses WHERE topic = $1";

/// A queue in a database. Time is that of the database: what several workers say about leases cannot
/// disagree.
#[derive(Debug)]
pub struct SqlQueue<B> {
    backend: B,
    claim_ids: IdGenerator,
}

impl<B> SqlQueue<B> {
    /// A queue in a database whose schema is migrated.
    pub(super) fn over(backend: B) -> Self {
        Self {
            backend,
            claim_ids: IdGenerator::default(),
        }
    }
}

async fn execute<B: TaskSteps>(
    backend: &B,
    priority: Priority,
    statement: &'static str,
    values: Values<'_>,
) -> Result<usize, Error> {
    let executed = backend.execute_single(priority, statement, values);
    let changed = backend.attempt(executed).await?;
    Ok(usize::try_from(changed).unwrap_or(usize::MAX))
}

/// Executes the statement of an operator, with an entry of the audit log if it changes something.
async fn operate<B: TaskSteps>(
    backend: &B,
    statement: &'static str,
    change: AuditChange,
) -> Result<(), Error> {
    let topic = [Value::text(&change.subject)];
    let operated = async {
        let mut tx = backend.begin(Priority::Request, None).await?;
        if tx.execute(statement, &topic).await? > 0 {
            record(&mut *tx, &change).await?;
        }
        tx.commit().await
    };
    backend.attempt(operated).await
}

fn ids(orders: &[OrderId]) -> Value<'static> {
    Value::Ids(orders.iter().map(|id| id.0).collect())
}

#[async_trait]
impl<B: TaskSteps> OrderQueue for SqlQueue<B> {
    async fn push(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let topic = Value::text(topic.as_str());
        let values = [topic, ids(orders), Value::Now];
        execute(&self.backend, Priority::Request, B::SQL.queue.push, &values).await
    }

    async fn claim(
        &self,
        topic: Topic,
        max: usize,
        lease: Duration,
        _wait: Duration,
    ) -> Result<Vec<Lease>, Error> {
        let prepared = self.backend.prepare_claim(topic, max);
        if !self.backend.attempt(prepared).await? {
            return Ok(Vec::new());
        }
        let claim_id = self.claim_ids.next(SystemClock.now());
        let values = [
            Value::text(topic.as_str()),
            Value::count(max),
            Value::FromNow(lease),
            Value::Id(claim_id),
            Value::Now,
        ];
        let claimed = self
            .backend
            .fetch_single(Priority::Background, B::SQL.queue.claim, &values);
        let rows: Vec<(Uuid, i32)> = self.backend.attempt(claimed).await?;
        let lease = |(order_id, attempts): (Uuid, i32)| Lease {
            order_id: OrderId(order_id),
            attempts: attempts.unsigned_abs(),
            claim_id,
        };
        let mut leases: Vec<Lease> = rows.into_iter().map(lease).collect();
        leases.sort_unstable_by_key(|lease| lease.order_id);
        Ok(leases)
    }

    async fn ack(&self, topic: Topic, leases: Vec<Lease>) -> Result<usize, Error> {
        let values = [Value::text(topic.as_str()), Value::Leases(&leases)];
        execute(
            &self.backend,
            Priority::Background,
            B::SQL.queue.ack,
            &values,
        )
        .await
    }

    async fn retry(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        delay: Duration,
    ) -> Result<usize, Error> {
        let values = [
            Value::text(topic.as_str()),
            Value::Leases(&leases),
            Value::FromNow(delay),
        ];
        execute(
            &self.backend,
            Priority::Background,
            B::SQL.queue.retry,
            &values,
        )
        .await
    }

    async fn dead_letter(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        reason: &str,
    ) -> Result<usize, Error> {
        let values = [
            Value::text(topic.as_str()),
            Value::Leases(&leases),
            Value::Now,
            Value::text(reason),
        ];
        execute(
            &self.backend,
            Priority::Background,
            B::SQL.queue.dead_letter,
            &values,
        )
        .await
    }

    async fn dead(&self, topic: Topic, query: &DeadQuery) -> Result<Vec<DeadLetter>, Error> {
        dead_letters(&self.backend, topic, query).await
    }

    async fn dead_summary(
        &self,
        topic: Topic,
        filter: &DeadFilter,
        groups: usize,
    ) -> Result<DeadSummary, Error> {
        dead_summary(&self.backend, topic, filter, groups).await
    }

    async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let values = [Value::text(topic.as_str()), ids(orders), Value::Now];
        let redriven = async {
            let mut tx = self.backend.begin(Priority::Request, None).await?;
            let redriven = tx.fetch_ids(B::SQL.queue.redrive, &values).await?;
            for id in &redriven {
                record(&mut *tx, &AuditChange::redriven(topic, OrderId(*id))).await?;
            }
            tx.commit().await?;
            Ok(redriven.len())
        };
        self.backend.attempt(redriven).await
    }

    async fn pause(&self, topic: Topic) -> Result<(), Error> {
        let change = AuditChange::topic(Action::TopicPause, topic);
        operate(&self.backend, PAUSE, change).await
    }

    async fn resume(&self, topic: Topic) -> Result<(), Error> {
        let change = AuditChange::topic(Action::TopicResume, topic);
        operate(&self.backend, RESUME, change).await
    }

    async fn stats(&self, topic: Topic) -> Result<QueueStats, Error> {
        queue_stats(&self.backend, topic, Duration::ZERO).await
    }
}
