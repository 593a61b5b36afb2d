//! Gauges that have to be asked for: the lengths of queues, and the state of the parts.

use std::time::Duration;

use ::metrics::{counter, gauge};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::timeout;

use super::{OrderService, backend_sampler::Sample};
use crate::{
    cache::CacheStats,
    metrics::{
        CACHE_ENTRIES, CACHE_ERRORS, CACHE_READS, FOLLOW_QUERIES, FOLLOWED, Operation, PENDING,
        PENDING_AGE, POOL, POOL_MAX, QUEUE_AGE, QUEUE_ENTRIES, QUEUE_PAUSED, UP, WAITING,
        WATCH_QUERIES, WATCHED, float,
    },
    queue::{QueueStats, Topic},
    store::{Backlog, PoolStats},
};

impl OrderService {
    /// Sets all gauges that have to be asked for, to be called before they are read. Gauges that
    /// the backends do not answer within `limit` are set to NaN, and [`describe`] says which those
    /// are.
    ///
    /// [`describe`]: crate::metrics::describe
    pub async fn observe(&self, limit: Duration) {
        let sample = self.sampler.sample(|| take(self.clone()));
        let sample = timeout(limit, sample).await.unwrap_or_default();
        show_up("database", sample.backlog.is_some());
        if self.inner.queue.is_some() {
            show_up("queue", sample.validate.is_some());
        }
        show_backlog(sample.backlog);
        show_topic(Topic::Validate, sample.validate.as_ref());
        show_topic(Topic::Process, sample.process.as_ref());
        for pool in self.inner.store.pools() {
            show_pool(&pool);
        }
        if let Some(stats) = self.cache_stats() {
            show_cache(&stats);
        }
        for (operation, waiting) in [
            (Operation::Accept, self.accepts.waiting()),
            (Operation::Purchase, self.purchases.waiting()),
            (Operation::Confirm, self.confirmations.waiting()),
        ] {
            gauge!(WAITING, "operation" => operation.as_str()).set(float(waiting as u64));
        }
        let followed = self.watch_stats();
        gauge!(FOLLOWED).set(float(followed.orders as u64));
        counter!(FOLLOW_QUERIES).absolute(followed.queries);
        gauge!(WATCHED).set(float(followed.products as u64));
        counter!(WATCH_QUERIES).absolute(followed.product_queries);
    }
}

/// Asks the backends, one thing after another, in a task of its own: it ends also when nobody
/// waits any more, and gives its connection back.
fn take(service: OrderService) -> BoxFuture<'static, Sample> {
    let task = tokio::spawn(async move {
        let backlog = service.inner.orders.backlog().await.ok();
        Sample {
            backlog,
            validate: validate(&service, backlog).await,
            process: stats(&service, Topic::Process, None).await,
        }
    });
    async move { task.await.unwrap_or_default() }.boxed()
}

/// The entries of a queue that is there also while the database, which knows of pauses, is away.
async fn validate(service: &OrderService, backlog: Option<Backlog>) -> Option<QueueStats> {
    let known = stats(service, Topic::Validate, backlog).await;
    match &service.inner.queue {
        Some(queue) if known.is_none() => queue.stats(Topic::Validate).await.ok(),
        _ => known,
    }
}

async fn stats(
    service: &OrderService,
    topic: Topic,
    backlog: Option<Backlog>,
) -> Option<QueueStats> {
    let stats = service.topic_stats_given(topic, backlog).await;
    Some(stats.ok()?.stats)
}

fn show_up(backend: &'static str, is_up: bool) {
    gauge!(UP, "backend" => backend).set(if is_up { 1.0 } else { 0.0 });
}

fn show_backlog(backlog: Option<Backlog>) {
    let (pending, age) = backlog.map_or((f64::NAN, f64::NAN), |backlog| {
        let age = backlog.oldest_age.unwrap_or_default();
        (float(backlog.orders), age.as_secs_f64())
    });
    gauge!(PENDING).set(pending);
    gauge!(PENDING_AGE).set(age);
}

fn show_topic(topic: Topic, stats: Option<&QueueStats>) {
    let topic = topic.as_str();
    let value = |of: fn(&QueueStats) -> f64| stats.map_or(f64::NAN, of);
    for (state, entries) in [
        ("waiting", value(|stats| float(stats.waiting))),
        ("scheduled", value(|stats| float(stats.scheduled))),
        ("in_flight", value(|stats| float(stats.in_flight))),
        ("delayed", value(|stats| float(stats.delayed))),
        ("dead", value(|stats| float(stats.dead))),
    ] {
        gauge!(QUEUE_ENTRIES, "topic" => topic, "state" => state).set(entries);
    }
    gauge!(QUEUE_AGE, "topic" => topic).set(value(|stats| stats.oldest_age_seconds));
    gauge!(QUEUE_PAUSED, "topic" => topic).set(value(|stats| f64::from(stats.paused)));
}

fn show_pool(pool: &PoolStats) {
    let name = pool.name;
    let busy = pool.open.saturating_sub(pool.idle);
    gauge!(POOL, "pool" => name, "state" => "idle").set(f64::from(pool.idle));
    gauge!(POOL, "pool" => name, "state" => "busy").set(f64::from(busy));
    gauge!(POOL_MAX, "pool" => name).set(f64::from(pool.max));
}

fn show_cache(stats: &CacheStats) {
    counter!(CACHE_READS, "result" => "hit").absolute(stats.hits);
    counter!(CACHE_READS, "result" => "miss").absolute(stats.misses);
    counter!(CACHE_ERRORS).absolute(stats.errors);
    if let Some(entries) = stats.entries {
        gauge!(CACHE_ENTRIES).set(float(entries));
    }
}
