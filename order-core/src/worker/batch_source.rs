//! The source of a worker's batches: the database itself, or a queue with leases.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, Notify},
    time::Instant,
};
use tracing::{Instrument, debug_span, field::Empty};

use super::{DecisionCounts, WorkerOptions, counters::WorkerCounters};
use crate::{
    clock::Clock,
    decision::Decided,
    domain::OrderId,
    error::Error,
    metrics::{self, part},
    queue::{Lease, OrderQueue, Topic},
    store::{OrderStore, Outcome, Selection},
    supervise::catch,
};

/// The attempts at an order that fails for good before it is given up.
const MAX_ATTEMPTS: u32 = 5;
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The short wait of an order that is locked, or whose product is.
const PUT_OFF: Duration = Duration::from_millis(200);
/// The number of short waits before longer ones.
const SHORT_WAITS: u32 = 3;

/// The claims that a worker holds between two steps.
#[derive(Default)]
struct HeldLeases {
    /// To be decided next.
    claimed: Vec<Lease>,
    /// Decided, and not consumed yet.
    done: Vec<Lease>,
}

/// One look at the work.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchStep {
    pub(super) decided: DecisionCounts,
    /// True when nothing was there to do.
    pub(super) idle: bool,
    /// True when there may be more than was taken on.
    pub(super) full: bool,
}

pub(super) struct BatchSource {
    held: Mutex<HeldLeases>,
    orders: Arc<dyn OrderStore>,
    queue: Option<Arc<dyn OrderQueue>>,
    clock: Arc<dyn Clock>,
    options: WorkerOptions,
    watcher: Arc<Notify>,
    sold: Arc<Notify>,
    counters: Arc<WorkerCounters>,
}

impl BatchSource {
    pub(super) fn new(
        orders: Arc<dyn OrderStore>,
        queue: Option<Arc<dyn OrderQueue>>,
        clock: Arc<dyn Clock>,
        options: WorkerOptions,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        Self {
            held: Mutex::default(),
            orders,
            queue,
            clock,
            options,
            watcher: Arc::default(),
            sold: Arc::default(),
            counters,
        }
    }

    pub(super) fn watcher(&self) -> Arc<Notify> {
        Arc::clone(&self.watcher)
    }

    pub(super) fn sold(&self) -> Arc<Notify> {
        Arc::clone(&self.sold)
    }

    pub(super) fn wake_after_sales(&mut self, sold: Arc<Notify>) {
        self.sold = sold;
    }

    pub(super) fn wake_after_decisions(&mut self, watcher: Arc<Notify>) {
        self.watcher = watcher;
    }

    /// The most batches that may be under way at once: one with a queue, which keeps its order.
    pub(super) fn max_concurrent_batches(&self) -> usize {
        match self.queue {
            None => self.options.max_concurrent_batches.max(1),
            Some(_) => 1,
        }
    }

    /// Decides one batch.
    pub(super) async fn step(&self) -> Result<BatchStep, Error> {
        match &self.queue {
            None => self.decide_oldest().await,
            Some(queue) => self.decide_claimed(queue.as_ref()).await,
        }
    }

    /// Claims and decides in one transaction: no lease to write, none to run out.
    pub(super) async fn decide_oldest(&self) -> Result<BatchStep, Error> {
        let batch = self.options.batch_orders;
        match self.decide(Selection::Oldest(batch)).await {
            Ok(Outcome { results, .. }) => Ok(BatchStep {
                decided: DecisionCounts::of(&results),
                idle: results.is_empty(),
                full: results.len() >= batch,
            }),
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                log_batch(&error);
                let ids = self.orders.pending_for(Duration::ZERO, None, batch).await?;
                let mut decided = DecisionCounts::default();
                for id in &ids {
                    match self.decide(Selection::ByIds(&[*id])).await {
                        Ok(outcome) => decided += DecisionCounts::of(&outcome.results),
                        Err(error) => {
                            let error = &error as &dyn std::error::Error;
                            tracing::error!(error, order = %id, "order stays pending");
                        }
                    }
                }
                Ok(BatchStep {
                    decided,
                    idle: decided.total() == 0,
                    full: false,
                })
            }
        }
    }

    /// Claims from the queue, decides, and consumes the claims. An order that the store no longer
    /// holds as pending is decided already: its claim is consumed all the same.
    ///
    /// While the database decides a batch, Redis hands out the next and hears of the one
    /// before.
    async fn decide_claimed(&self, queue: &dyn OrderQueue) -> Result<BatchStep, Error> {
        let mut held = self.held.lock().await;
        let mut leases = std::mem::take(&mut held.claimed);
        if leases.is_empty() {
            leases = match self.claim(queue, self.options.idle_poll).await {
                Ok(leases) => leases,
                Err(error) => {
                    // The queue only says where to look first. Without it, the database does.
                    tracing::debug!(error = &error as &dyn std::error::Error, "no claims");
                    return self.decide_oldest().await;
                }
            };
        }
        let done = std::mem::take(&mut held.done);
        if leases.is_empty() {
            self.ack(queue, done).await;
            return Ok(BatchStep {
                decided: DecisionCounts::default(),
                idle: true,
                full: false,
            });
        }
        let ids: Vec<OrderId> = leases.iter().map(|lease| lease.order_id).collect();
        let (decisions, next, ()) = tokio::join!(
            self.decide(Selection::ByIds(&ids)),
            self.claim(queue, Duration::ZERO),
            self.ack(queue, done),
        );
        // A queue that fails is met again, and passed by, in the next step.
        held.claimed = next.unwrap_or_default();
        let decided = match decisions {
            Ok(outcome) => {
                held.done = self.put_off(queue, leases, &outcome.put_off).await;
                DecisionCounts::of(&outcome.results)
            }
            Err(error) if error.is_transient() => {
                // What cannot be handed back is taken over when its lease runs out.
                let _ = queue.retry(Topic::Validate, leases, RETRY_DELAY).await;
                return Err(error);
            }
            Err(error) => {
                log_batch(&error);
                self.decide_singly(queue, leases).await?
            }
        };
        Ok(BatchStep {
            decided,
            idle: false,
            full: false,
        })
    }

    /// Decides the orders under held leases, and consumes the claims.
    pub(super) async fn finish(&self) -> Result<DecisionCounts, Error> {
        let Some(queue) = &self.queue else {
            return Ok(DecisionCounts::default());
        };
        let HeldLeases { claimed, mut done } = std::mem::take(&mut *self.held.lock().await);
        let mut decided = DecisionCounts::default();
        if !claimed.is_empty() {
            let ids: Vec<OrderId> = claimed.iter().map(|lease| lease.order_id).collect();
            let outcome = self.decide(Selection::ByIds(&ids)).await?;
            decided = DecisionCounts::of(&outcome.results);
            done.extend(
                self.put_off(queue.as_ref(), claimed, &outcome.put_off)
                    .await,
            );
        }
        self.ack(queue.as_ref(), done).await;
        Ok(decided)
    }

    /// Claims. A panic counts as a failure of the queue: the batch that is being decided meanwhile
    /// goes on.
    async fn claim(&self, queue: &dyn OrderQueue, wait: Duration) -> Result<Vec<Lease>, Error> {
        let (batch, lease) = (self.options.batch_orders, self.options.lease);
        let claimed = queue.claim(Topic::Validate, batch, lease, wait);
        let claimed = catch(part::DECIDE, claimed).await;
        claimed.unwrap_or_else(|panic| Err(Error::backend(panic)))
    }

    async fn decide_singly(
        &self,
        queue: &dyn OrderQueue,
        leases: Vec<Lease>,
    ) -> Result<DecisionCounts, Error> {
        let mut decided = DecisionCounts::default();
        for lease in leases {
            match self.decide(Selection::ByIds(&[lease.order_id])).await {
                Ok(outcome) => {
                    let done = self.put_off(queue, vec![lease], &outcome.put_off).await;
                    self.ack(queue, done).await;
                    decided += DecisionCounts::of(&outcome.results);
                }
                Err(error) if error.is_transient() || lease.attempts < MAX_ATTEMPTS => {
                    queue
                        .retry(Topic::Validate, vec![lease], RETRY_DELAY)
                        .await?;
                }
                Err(error) => {
                    let reason = error.with_causes();
                    tracing::error!(reason, order = %lease.order_id, "order is given up");
                    queue
                        .dead_letter(Topic::Validate, vec![lease], &reason)
                        .await?;
                }
            }
        }
        Ok(decided)
    }

    /// Hands those claims back that are of orders that were put off; gives the others.
    async fn put_off(
        &self,
        queue: &dyn OrderQueue,
        leases: Vec<Lease>,
        put_off: &[OrderId],
    ) -> Vec<Lease> {
        if put_off.is_empty() {
            return leases;
        }
        metrics::put_off(put_off.len());
        let put_off: HashSet<OrderId> = put_off.iter().copied().collect();
        let is_put_off = |lease: &Lease| put_off.contains(&lease.order_id);
        let (back, done): (Vec<_>, Vec<_>) = leases.into_iter().partition(is_put_off);
        let is_new = |lease: &Lease| lease.attempts <= SHORT_WAITS;
        let (new, old): (Vec<_>, Vec<_>) = back.into_iter().partition(is_new);
        for (leases, delay) in [(new, PUT_OFF), (old, RETRY_DELAY)] {
            if !leases.is_empty() {
                // What cannot be handed back is taken over when its lease runs out.
                let _ = queue.retry(Topic::Validate, leases, delay).await;
            }
        }
        done
    }

    /// Consumes claims of decided orders. The decision stands in any case: claims that the queue
    /// does not hear of are taken over, and found decided.
    async fn ack(&self, queue: &dyn OrderQueue, leases: Vec<Lease>) {
        if leases.is_empty() {
            return;
        }
        let consumed = catch(part::DECIDE, queue.ack(Topic::Validate, leases)).await;
        if let Err(error) = consumed.unwrap_or_else(|panic| Err(Error::backend(panic))) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "claims were not consumed"
            );
        }
    }

    async fn decide(&self, pick: Selection<'_>) -> Result<Outcome<Decided>, Error> {
        let (strategy, start) = (self.options.strategy.unwrap_or_default(), Instant::now());
        let span = debug_span!("decide", orders = Empty);
        let deciding = self.orders.decide(pick, strategy, self.clock.now());
        let deciding = catch(part::DECIDE, deciding.instrument(span.clone()));
        // One order that makes it panic, each time, is then found by trying them alone.
        let outcome = deciding
            .await
            .unwrap_or_else(|panic| Err(Error::backend(panic)));
        let results = outcome.as_ref().map(|outcome| outcome.results.as_slice());
        metrics::decided(start.elapsed(), &results);
        if let Ok(decided) = results
            && !decided.is_empty()
        {
            span.record("orders", metrics::signed(decided.len()));
            self.watcher.notify_one();
            let decided = DecisionCounts::of(decided);
            self.counters.decided(decided);
            if decided.sold > 0 {
                self.sold.notify_one();
            }
        }
        outcome
    }
}

fn log_batch(error: &Error) {
    let error = error as &dyn std::error::Error;
    tracing::error!(error, "batch failed, trying its orders alone");
}
