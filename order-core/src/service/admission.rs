//! Admission of requests that wait for a batch.
//!
//! When more requests come than the database can do, each waits for all before it: a queue that is
//! bounded by its length alone is as long as the database is slow, and then everybody waits in it,
//! for nothing when they give up. So the bound is a time: estimated wait = recent batch time ×
//! batches ahead. A request whose estimate is above the limit is refused at once, when it can still
//! go elsewhere or come back.
//!
//! Two batches are admitted whatever they take: one that is under way and one that fills. Without
//! them, a database that is slow for everybody would be left idle.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

use crate::{error::Error, sync::lock};

/// The time between two warnings in the log, while requests are refused.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// A bound on the requests that wait.
#[derive(Debug)]
pub(super) struct AdmissionControl {
    limits: Limits,
    /// The most requests that share a batch.
    batch_size: usize,
    state: Mutex<State>,
}

/// The limits of an admission control.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The most requests that may wait.
    pub(super) max_waiting: usize,
    /// The longest estimated wait until the end of the request's batch.
    pub(super) max_wait: Duration,
}

impl Limits {
    /// The length of the channel in which they wait.
    pub(super) fn channel(self) -> usize {
        self.max_waiting.clamp(1, Semaphore::MAX_PERMITS)
    }
}

#[derive(Debug)]
struct State {
    waiting: usize,
    /// The recent time of a batch, each from the end of the one before it.
    batch_time: Duration,
    /// The end of the last batch, or the first arrival after all had gone.
    last_end: Instant,
    /// The time of the last warning.
    warned: Option<Instant>,
}

/// The permit of an admitted request. It counts until it is dropped or set aside.
#[derive(Debug)]
pub(super) struct Permit {
    control: Arc<AdmissionControl>,
    is_aside: bool,
}

impl AdmissionControl {
    pub(super) fn new(limits: Limits, batch_size: usize) -> Arc<Self> {
        Arc::new(Self {
            limits,
            batch_size,
            state: Mutex::new(State {
                waiting: 0,
                batch_time: Duration::ZERO,
                last_end: Instant::now(),
                warned: None,
            }),
        })
    }

    /// Admits a request, or refuses it at once as [`Error::Overloaded`].
    pub(super) fn admit(self: &Arc<Self>) -> Result<Permit, Error> {
        let (mut state, now) = (self.state(), Instant::now());
        if state.waiting >= self.limits.max_waiting.max(1) || self.is_late(&state, now) {
            state.warn(now);
            return Err(Error::Overloaded);
        }
        state.add(now);
        drop(state);
        Ok(Permit {
            control: Arc::clone(self),
            is_aside: false,
        })
    }

    /// Measures a batch that just ended.
    pub(super) fn batch_ended(&self) {
        let (mut state, now) = (self.state(), Instant::now());
        let took = now - state.last_end;
        // The mean of about the last eight.
        state.batch_time = (state.batch_time * 7 + took) / 8;
        state.last_end = now;
    }

    fn is_late(&self, state: &State, now: Instant) -> bool {
        let batches_ahead = state.waiting / self.batch_size;
        if batches_ahead < 2 {
            return false;
        }
        let batches = u32::try_from(batches_ahead + 1).unwrap_or(u32::MAX);
        let stalled = (now - state.last_end).saturating_sub(state.batch_time);
        let estimated = state.batch_time.saturating_mul(batches);
        estimated.saturating_add(stalled) > self.limits.max_wait
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn add(&mut self, now: Instant) {
        if self.waiting == 0 {
            self.last_end = now;
        }
        self.waiting += 1;
    }

    /// Warns that requests are refused, and not each time.
    fn warn(&mut self, now: Instant) {
        if self.warned.is_none_or(|warned| now - warned >= WARN_EVERY) {
            self.warned = Some(now);
            let (waiting, batch_ms) = (self.waiting, self.batch_time.as_secs_f64() * 1e3);
            tracing::warn!(
                waiting,
                batch_ms,
                "more comes than can be done: some are refused"
            );
        }
    }
}

impl Permit {
    /// Measures the batch of this request, which it had alone.
    pub(super) fn batch_ended(self) {
        self.control.batch_ended();
    }

    /// The request waits for something else than its batch: it is ahead of nobody for that long.
    pub(super) fn set_aside(&mut self) {
        if !self.is_aside {
            self.control.state().waiting -= 1;
            self.is_aside = true;
        }
    }

    /// The request, which was set aside, waits for its batch again.
    pub(super) fn is_back(&mut self) {
        if self.is_aside {
            self.control.state().add(Instant::now());
            self.is_aside = false;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_aside {
            self.control.state().waiting -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::time::advance;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn control(batch_size: usize) -> Arc<AdmissionControl> {
        let limits = Limits {
            max_waiting: 10_000,
            max_wait: 500 * MS,
        };
        AdmissionControl::new(limits, batch_size)
    }

    /// Admits as many as it can.
    fn admit_all(control: &Arc<AdmissionControl>) -> VecDeque<Permit> {
        std::iter::from_fn(|| control.admit().ok()).collect()
    }

    async fn serve(
        control: &AdmissionControl,
        admitted: &mut VecDeque<Permit>,
        batch_time: Duration,
        served: usize,
    ) {
        advance(batch_time).await;
        control.batch_ended();
        admitted.drain(..served.min(admitted.len()));
    }

    #[tokio::test(start_paused = true)]
    async fn no_admitted_request_waits_longer_than_allowed() {
        let control = control(1);
        // Some batches show how long they take.
        for _ in 0..50 {
            let mut one = VecDeque::from([control.admit().unwrap()]);
            serve(&control, &mut one, 10 * MS, 1).await;
        }
        let mut inside = admit_all(&control);
        assert!((45..=50).contains(&inside.len()), "{}", inside.len());
        // While they are served, as many more get in, and no more.
        for _ in 0..20 {
            serve(&control, &mut inside, 10 * MS, 1).await;
            let more = admit_all(&control);
            assert_eq!(more.len(), 1);
            inside.extend(more);
        }
        // It goes on as soon as the crowd has gone.
        inside.clear();
        assert!(control.admit().is_ok());
    }

    /// A flash sale: thousands at once, of whom nobody knows how fast they go.
    #[tokio::test(start_paused = true)]
    async fn a_crowd_that_shares_few_batches_is_admitted() {
        let control = control(1_000);
        for _ in 0..10 {
            let mut alone = VecDeque::from([control.admit().unwrap()]);
            serve(&control, &mut alone, MS, 1).await;
        }
        assert_eq!(
            admit_all(&control).len(),
            10_000,
            "as many as may wait at all"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn two_batches_are_admitted_however_slow_they_are() {
        let control = control(100);
        for _ in 0..20 {
            let mut alone = VecDeque::from([control.admit().unwrap()]);
            serve(&control, &mut alone, 2_000 * MS, 1).await;
        }
        assert_eq!(admit_all(&control).len(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn while_nothing_moves_nobody_more_is_admitted() {
        let control = control(1);
        let inside: Vec<_> = (0..5).map(|_| control.admit().unwrap()).collect();
        advance(501 * MS).await;
        assert!(matches!(control.admit(), Err(Error::Overloaded)));
        drop(inside);
        assert!(control.admit().is_ok());
    }
}
