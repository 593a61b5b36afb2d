//! Doing a transaction again after a transient failure: bounded, with growing, jittered pauses.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::timeout;

use crate::{domain::ProductId, error::Error, metrics};

const MAX_ATTEMPTS: u32 = 6;
/// Far beyond what a lock or a large batch may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The attempts of one operation.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
    resolving: bool,
    /// The products that an attempt is about to change.
    changing: Mutex<Vec<ProductId>>,
}

impl Retry {
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
        self.changing().extend(products);
    }

    /// The products that attempts in doubt may have changed.
    pub(super) fn doubted(&self) -> Vec<ProductId> {
        if self.resolving {
            std::mem::take(&mut self.changing())
        } else {
            Vec::new()
        }
    }

    fn changing(&self) -> MutexGuard<'_, Vec<ProductId>> {
        // Ids are never left half written, so that a poisoned lock is still good.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to try again after `error`; waits before it says yes.
    ///
    /// The pause is drawn from 0 to 20 ms, 40 ms, 80 ms… ("full jitter": AWS Architecture
    /// Blog, "Exponential Backoff And Jitter", 2015).
    pub(super) async fn again(&mut self, error: &Error) -> bool {
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
}

/// Whether the attempt has waited for a connection as long as any caller should.
fn has_waited_long(error: &Error) -> bool {
    matches!(error, Error::Unavailable { source }
        if matches!(source.downcast_ref(), Some(sqlx::Error::PoolTimedOut)))
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
