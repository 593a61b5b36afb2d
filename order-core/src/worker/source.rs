//! Where a worker gets its orders from: the database itself, or a queue with leases.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, Notify},
    time::Instant,
};
use tracing::{Instrument, debug_span, field::Empty};

use super::{Decided, Step, WorkerOptions, tally::Tally};
use crate::{
    clock::Clock,
    decide::Decision,
    domain::OrderId,
    error::Error,
    metrics,
    queue::{Lease, OrderQueue, Topic},
    store::{Outcome, Selection, Store},
    supervise::{self, catch},
};

/// How often an order that fails for good is tried before it is given up.
const MAX_ATTEMPTS: u32 = 5;
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// How long an order waits that is locked, or whose product is: shortly at first.
const PUT_OFF: Duration = Duration::from_millis(200);
/// How often it waits shortly.
const SHORT_WAITS: u32 = 3;

/// The claims that a worker holds between two steps.
#[derive(Default)]
struct Hands {
    /// To be decided next.
    claimed: Vec<Lease>,
    /// Decided, and not consumed yet.
    done: Vec<Lease>,
}

pub(super) struct Source {
    hands: Mutex<Hands>,
    store: Arc<dyn Store>,
    queue: Option<Arc<dyn OrderQueue>>,
    clock: Arc<dyn Clock>,
    options: WorkerOptions,
    watcher: Arc<Notify>,
    sold: Arc<Notify>,
    tally: Arc<Tally>,
}

impl Source {
    pub(super) fn new(
        store: Arc<dyn Store>,
        queue: Option<Arc<dyn OrderQueue>>,
        clock: Arc<dyn Clock>,
        options: WorkerOptions,
        tally: Arc<Tally>,
    ) -> Self {
        Self {
            hands: Mutex::default(),
            store,
            queue,
            clock,
            options,
            watcher: Arc::default(),
            sold: Arc::default(),
            tally,
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

    /// How many batches may be under way at once: with a queue, its order is kept by one.
    pub(super) fn lanes(&self) -> usize {
        match self.queue {
            None => self.options.lanes.max(1),
            Some(_) => 1,
        }
    }

    /// Decides one batch.
    pub(super) async fn step(&self) -> Result<Step, Error> {
        match &self.queue {
            None => self.decide_oldest().await,
            Some(queue) => self.decide_claimed(queue.as_ref()).await,
        }
    }

    /// Claims and decides in one transaction: no lease to write, none to run out.
    pub(super) async fn decide_oldest(&self) -> Result<Step, Error> {
        let batch = self.options.batch_orders;
        match self.decide(Selection::Oldest(batch)).await {
            Ok(Outcome { results, .. }) => Ok(Step {
                decided: tally(&results),
                idle: results.is_empty(),
                full: results.len() >= batch,
            }),
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                log_batch(&error);
                let ids = self.store.pending_for(Duration::ZERO, None, batch).await?;
                let mut decided = Decided::default();
                for id in &ids {
                    match self.decide(Selection::ByIds(&[*id])).await {
                        Ok(outcome) => decided += tally(&outcome.results),
                        Err(error) => {
                            let error = &error as &dyn std::error::Error;
                            tracing::error!(error, order = %id, "order stays pending");
                        }
                    }
                }
                Ok(Step {
                    decided,
                    idle: decided.total() == 0,
                    full: false,
                })
            }
        }
    }

    /// Claims from the queue, decides, and consumes the claims. What the store no longer
    /// holds as pending is decided already: its claim is consumed all the same.
    ///
    /// While the database decides a batch, Redis hands out the next and hears of the one
    /// before.
    async fn decide_claimed(&self, queue: &dyn OrderQueue) -> Result<Step, Error> {
        let mut hands = self.hands.lock().await;
        let mut leases = std::mem::take(&mut hands.claimed);
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
        let done = std::mem::take(&mut hands.done);
        if leases.is_empty() {
            self.ack(queue, done).await;
            return Ok(Step {
                decided: Decided::default(),
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
        hands.claimed = next.unwrap_or_default();
        let decided = match decisions {
            Ok(outcome) => {
                hands.done = self.put_off(queue, leases, &outcome.put_off).await;
                tally(&outcome.results)
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
        Ok(Step {
            decided,
            idle: false,
            full: false,
        })
    }

    /// Finishes what is in hand: decides what is claimed, and consumes the claims.
    pub(super) async fn finish(&self) -> Result<Decided, Error> {
        let Some(queue) = &self.queue else {
            return Ok(Decided::default());
        };
        let Hands { claimed, mut done } = std::mem::take(&mut *self.hands.lock().await);
        let mut decided = Decided::default();
        if !claimed.is_empty() {
            let ids: Vec<OrderId> = claimed.iter().map(|lease| lease.order_id).collect();
            let outcome = self.decide(Selection::ByIds(&ids)).await?;
            decided = tally(&outcome.results);
            done.extend(
                self.put_off(queue.as_ref(), claimed, &outcome.put_off)
                    .await,
            );
        }
        self.ack(queue.as_ref(), done).await;
        Ok(decided)
    }

    /// A panic counts as a failure of the queue: what is being decided meanwhile goes on.
    async fn claim(&self, queue: &dyn OrderQueue, wait: Duration) -> Result<Vec<Lease>, Error> {
        let (batch, lease) = (self.options.batch_orders, self.options.lease);
        let claimed = queue.claim(Topic::Validate, batch, lease, wait);
        let claimed = catch(supervise::DECIDE, claimed).await;
        claimed.unwrap_or_else(|panic| Err(Error::backend(panic)))
    }

    async fn decide_singly(
        &self,
        queue: &dyn OrderQueue,
        leases: Vec<Lease>,
    ) -> Result<Decided, Error> {
        let mut decided = Decided::default();
        for lease in leases {
            match self.decide(Selection::ByIds(&[lease.order_id])).await {
                Ok(outcome) => {
                    let done = self.put_off(queue, vec![lease], &outcome.put_off).await;
                    self.ack(queue, done).await;
                    decided += tally(&outcome.results);
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

    /// Consumes claims of what is decided. The decision stands in any case: claims that the
    /// queue does not hear of are taken over, and found decided.
    async fn ack(&self, queue: &dyn OrderQueue, leases: Vec<Lease>) {
        if leases.is_empty() {
            return;
        }
        let consumed = catch(supervise::DECIDE, queue.ack(Topic::Validate, leases)).await;
        if let Err(error) = consumed.unwrap_or_else(|panic| Err(Error::backend(panic))) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "claims were not consumed"
            );
        }
    }

    async fn decide(&self, pick: Selection<'_>) -> Result<Outcome<(OrderId, Decision)>, Error> {
        let (strategy, start) = (self.options.strategy, Instant::now());
        let span = debug_span!("decide", orders = Empty);
        let deciding = self.store.decide(pick, strategy, self.clock.now());
        let deciding = catch(supervise::DECIDE, deciding.instrument(span.clone()));
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
            let decided = tally(decided);
            self.tally.decided(decided);
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

fn tally(decisions: &[(OrderId, Decision)]) -> Decided {
    let sold = decisions.iter().filter(|(_, d)| d.is_ok()).count() as u64;
    Decided {
        sold,
        failed: decisions.len() as u64 - sold,
    }
}
