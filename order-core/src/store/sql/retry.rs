//! Doing a transaction again after a transient failure: bounded, with growing, jittered pauses.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::backend::{LockFailure, SqlBackend};
use crate::{error::Error, metrics};

const MAX_ATTEMPTS: u32 = 6;
/// Far beyond what a lock or a large batch may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The time for which an operation waits for locks, all its attempts together.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause between two attempts that waited for a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// The time for which a transaction waits for a lock where that holds up no other operation, or where
/// an attempt in doubt may still hold it.
const LONG_LOCK_WAIT: Duration = Duration::from_secs(5);

/// One attempt at an operation of a store. (Attempts at a task are [`process::Attempt`].)
///
/// [`process::Attempt`]: crate::process::Attempt
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// An earlier attempt at the same operation ended as [`Error::OutcomeUnknown`]: this one first
    /// looks whether its ids are stored. [`Retry`] sets it, and never takes it back.
    ///
    /// Looking is race-free wherever it waits for the earlier transaction: by locking the
    /// rows that it locked, or by inserting the key that it inserted. The server may still
    /// be committing it on behalf of a connection that is lost to us.
    pub(crate) resolving: bool,
    /// The time for which its transactions wait for each lock, unless their sessions decide.
    pub(crate) lock_wait: Option<Duration>,
}

/// An attempt under way.
pub(super) trait Attempting<T>: Future<Output = Result<T, Error>> + Send {}

impl<T, F: Future<Output = Result<T, Error>> + Send> Attempting<T> for F {}

/// The attempts of one operation.
#[derive(Debug)]
pub(super) struct Retry {
    began: Instant,
    failures: u32,
    resolving: bool,
    /// Tells whether the caller gets an error of this kind at once. After any other failure to lock,
    /// an operation lets go of everything, and waits again.
    is_reported: fn(LockFailure) -> bool,
    lock_wait: Option<Duration>,
    is_long: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            failures: 0,
            resolving: false,
            is_reported: |_| false,
            lock_wait: None,
            is_long: false,
        }
    }
}

impl Retry {
    /// Gives up after a lock was waited for in vain, if `is_reported` says so of it.
    pub(super) fn reporting(is_reported: fn(LockFailure) -> bool) -> Self {
        Self {
            is_reported,
            ..Self::default()
        }
    }

    /// Waits for each lock for `lock_wait`, if that is given.
    pub(super) fn waiting(self, lock_wait: Option<Duration>) -> Self {
        Self { lock_wait, ..self }
    }

    /// Waits long for locks in the database, as an operation that holds up no other.
    pub(super) fn alone() -> Self {
        Self::default().waiting(Some(LONG_LOCK_WAIT))
    }

    /// Makes attempts that may take as long as one statement may.
    pub(super) fn long() -> Self {
        Self {
            is_long: true,
            ..Self::default()
        }
    }

    /// Makes attempts until one succeeds or fails for good.
    pub(super) async fn run<B: SqlBackend, T: Send, F: Attempting<T>>(
        &mut self,
        backend: &B,
        attempt: impl Fn(Attempt) -> F + Send + Sync,
    ) -> Result<T, Error> {
        loop {
            let next = attempt(self.next());
            let made = if self.is_long {
                limited(backend.attempt_long(next)).await
            } else {
                limited(backend.attempt(next)).await
            };
            match made {
                Err(error) if self.again::<B>(&error).await => {}
                result => return result.map_err(|error| self.conclude(error)),
            }
        }
    }

    /// Tells whether an attempt may have been committed although it failed.
    pub(super) const fn is_resolving(&self) -> bool {
        self.resolving
    }

    fn next(&self) -> Attempt {
        let long = self.resolving.then_some(LONG_LOCK_WAIT);
        Attempt {
            resolving: self.resolving,
            lock_wait: long.or(self.lock_wait),
        }
    }

    /// The error to give up with: once a commit was in doubt, it stays so whatever came after.
    fn conclude(&self, error: Error) -> Error {
        match error {
            Error::Unavailable { source } | Error::Backend { source } if self.resolving => {
                Error::OutcomeUnknown { source }
            }
            error => error,
        }
    }

    /// Tells whether to try again after `error`; waits before it says yes.
    ///
    /// The pause is drawn from 0 to 20 ms, 40 ms, 80 ms… ("full jitter": AWS Architecture
    /// Blog, "Exponential Backoff And Jitter", 2015).
    async fn again<B: SqlBackend>(&mut self, error: &Error) -> bool {
        if let Some(failure) = B::lock_failure(error) {
            return self.waits_again(failure).await;
        }
        self.failures += 1;
        self.resolving |= matches!(error, Error::OutcomeUnknown { .. });
        if self.failures >= MAX_ATTEMPTS || !error.is_transient() || B::is_conclusive(error) {
            return false;
        }
        metrics::retried();
        let ceiling = FIRST_PAUSE * 2_u32.pow(self.failures - 1);
        tracing::debug!(error = %error, failures = self.failures, "transaction is tried again");
        tokio::time::sleep(ceiling.mul_f64(rand::random::<f64>())).await;
        true
    }

    /// Tells whether to try again after waiting for a lock in vain; waits before it says yes. A
    /// transaction that may have been committed cannot be given up for that.
    async fn waits_again(&self, failure: LockFailure) -> bool {
        let is_reported = (self.is_reported)(failure) && !self.resolving;
        if is_reported || self.began.elapsed() >= LOCK_PATIENCE {
            return false;
        }
        metrics::retried();
        tokio::time::sleep(LOCK_PAUSE.mul_f64(rand::random::<f64>())).await;
        true
    }
}

/// Writes, and tries again after a transient failure.
pub(super) async fn with_retry<B: SqlBackend, T: Send, F: Attempting<T>>(
    backend: &B,
    attempt: impl Fn(Attempt) -> F + Send + Sync,
) -> Result<T, Error> {
    Retry::default().run(backend, attempt).await
}

/// Reads for somebody who asks: at its turn, and again after a transient failure where that is of use.
pub(super) async fn reading<B: SqlBackend, T: Send, F: Attempting<T>>(
    backend: &B,
    attempt: impl Fn() -> F + Send + Sync,
) -> Result<T, Error> {
    let _turn = backend.gates().reads.enter().await?;
    reading_at_once(backend, attempt).await
}

/// Reads for a key, a worker or an operation under way, which wait for no turn; again after a
/// transient failure where that is of use.
pub(super) async fn reading_at_once<B: SqlBackend, T: Send, F: Attempting<T>>(
    backend: &B,
    attempt: impl Fn() -> F + Send + Sync,
) -> Result<T, Error> {
    if B::RETRIES_READS {
        with_retry(backend, |_| attempt()).await
    } else {
        attempt().await
    }
}

/// An attempt, or what it is when the database does not answer at all: in doubt.
async fn limited<T>(attempt: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(ATTEMPT_LIMIT, attempt)
        .await
        .unwrap_or_else(|elapsed| {
            let source = Arc::new(elapsed);
            Err(Error::OutcomeUnknown { source })
        })
}
