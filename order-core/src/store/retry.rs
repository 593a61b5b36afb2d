//! Doing a transaction again after a transient failure: bounded, with growing, jittered pauses.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{
    error::{is_lock_timeout, is_sqlite_busy, waits_for_key, waits_for_row},
    sqlite,
};
use crate::{domain::ProductId, error::Error, metrics};

const MAX_ATTEMPTS: u32 = 6;
/// Far beyond what a lock or a large batch may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// How long an operation waits for locks, all its attempts together.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause between two attempts that waited for a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// How long a transaction waits for locks that nobody else is held up by, or that an attempt in
/// doubt may still hold.
const LONG_LOCK_WAIT: Duration = Duration::from_secs(5);

/// The attempts of one operation.
#[derive(Debug)]
pub(super) struct Retry {
    began: Instant,
    failures: u32,
    resolving: bool,
    /// Of which locks the caller is told when it waited in vain. For any other, it lets go of
    /// everything, and waits again.
    is_told: fn(&Error) -> bool,
    lock_wait: Option<Duration>,
    /// The products that an attempt is about to change.
    changing: Mutex<Vec<ProductId>>,
    /// The products that an attempt is about to lock.
    wanted: Mutex<Vec<ProductId>>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            failures: 0,
            resolving: false,
            is_told: |_| false,
            lock_wait: None,
            changing: Mutex::default(),
            wanted: Mutex::default(),
        }
    }
}

impl Retry {
    /// Gives an attempt up that waited for a lock in vain, after `lock_wait` if that is given:
    /// nothing was done.
    pub(super) fn told_of_locks(lock_wait: Option<Duration>) -> Self {
        Self {
            is_told: is_lock_timeout,
            lock_wait,
            ..Self::default()
        }
    }

    /// The same, but only of those who insert the key of a request that somebody else inserts.
    pub(super) fn told_of_keys() -> Self {
        Self {
            is_told: waits_for_key,
            ..Self::default()
        }
    }

    /// The same, but only of rows.
    pub(super) fn told_of_rows() -> Self {
        Self {
            is_told: waits_for_row,
            ..Self::default()
        }
    }

    /// Waits for locks in the database, as one who holds up nobody but himself.
    pub(super) fn alone() -> Self {
        Self {
            lock_wait: Some(LONG_LOCK_WAIT),
            ..Self::default()
        }
    }

    /// How long the transactions of the next attempt wait for each lock, unless that is what
    /// their sessions do.
    pub(super) fn lock_wait(&self) -> Option<Duration> {
        if self.resolving {
            Some(LONG_LOCK_WAIT)
        } else {
            self.lock_wait
        }
    }

    /// Notes which products an attempt is about to lock.
    pub(super) fn want(&self, products: Vec<ProductId>) {
        *lock(&self.wanted) = products;
    }

    /// The products that the last attempt was about to lock.
    pub(super) fn wanted(&self) -> Vec<ProductId> {
        std::mem::take(&mut lock(&self.wanted))
    }

    /// Whether an earlier attempt may have been committed, so that this one must look first.
    ///
    /// Looking is race-free wherever it waits for the earlier transaction: by locking the
    /// rows that it locked, or by inserting the key that it inserted. The server may still
    /// be committing it on behalf of a connection that is lost to us.
    pub(super) const fn resolving(&self) -> bool {
        self.resolving
    }

    /// The error to give up with: once a commit was in doubt, it stays so whatever came after.
    pub(super) fn conclude(&self, error: Error) -> Error {
        match error {
            Error::Unavailable { source } | Error::Backend { source } if self.resolving => {
                Error::OutcomeUnknown { source }
            }
            error => error,
        }
    }

    /// Notes what an attempt is about to change: when its commit stays in doubt, and the next
    /// attempt has other work, these are the products that may have changed.
    pub(super) fn note(&self, products: impl Iterator<Item = ProductId>) {
        lock(&self.changing).extend(products);
    }

    /// The products that attempts in doubt may have changed.
    pub(super) fn doubted(&self) -> Vec<ProductId> {
        if self.resolving {
            std::mem::take(&mut lock(&self.changing))
        } else {
            Vec::new()
        }
    }

    /// Whether to try again after `error`; waits before it says yes.
    ///
    /// The pause is drawn from 0 to 20 ms, 40 ms, 80 ms… ("full jitter": AWS Architecture
    /// Blog, "Exponential Backoff And Jitter", 2015).
    pub(super) async fn again(&mut self, error: &Error) -> bool {
        if is_lock_timeout(error) {
            return self.waits_again(error).await;
        }
        self.failures += 1;
        self.resolving |= matches!(error, Error::OutcomeUnknown { .. });
        if self.failures >= MAX_ATTEMPTS || !error.is_transient() || has_waited_long(error) {
            return false;
        }
        metrics::retried();
        let ceiling = FIRST_PAUSE * 2_u32.pow(self.failures - 1);
        tracing::debug!(error = %error, failures = self.failures, "transaction is tried again");
        tokio::time::sleep(ceiling.mul_f64(rand::random::<f64>())).await;
        true
    }

    /// Whether to try again after waiting for a lock in vain; waits before it says yes. What may
    /// have been committed cannot be given up for that.
    async fn waits_again(&self, error: &Error) -> bool {
        let is_told = (self.is_told)(error);
        if (is_told && !self.resolving) || self.began.elapsed() >= LOCK_PATIENCE {
            return false;
        }
        metrics::retried();
        tokio::time::sleep(LOCK_PAUSE.mul_f64(rand::random::<f64>())).await;
        true
    }
}

/// Ids are never left half written, so that a poisoned lock is still good.
fn lock(ids: &Mutex<Vec<ProductId>>) -> MutexGuard<'_, Vec<ProductId>> {
    ids.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the attempt has waited for its turn as long as any caller should, or what is wrong
/// does not pass by itself.
fn has_waited_long(error: &Error) -> bool {
    let Error::Unavailable { source } = error else {
        return false;
    };
    source.is::<sqlite::Replaced>()
        || source.downcast_ref().is_some_and(|error| {
            matches!(error, sqlx::Error::PoolTimedOut) || is_sqlite_busy(error)
        })
}

/// An attempt, or what it is when the database does not answer at all: in doubt.
pub(super) async fn limited<T>(
    attempt: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(ATTEMPT_LIMIT, attempt)
        .await
        .unwrap_or_else(|elapsed| {
            let source = Arc::new(elapsed);
            Err(Error::OutcomeUnknown { source })
        })
}

/// Makes `$attempt` until it succeeds or fails for good; `$retry` is in scope of it.
macro_rules! with_retry {
    ($retry:ident => $attempt:expr) => {{
        let mut $retry = $crate::store::retry::Retry::default();
        $crate::store::retry::with_retry!($retry, $attempt)
    }};
    ($retry:ident, $attempt:expr) => {
        loop {
            match $crate::store::retry::limited($attempt).await {
                Err(error) if $retry.again(&error).await => {}
                result => break result.map_err(|error| $retry.conclude(error)),
            }
        }
    };
}

pub(super) use with_retry;
