//! Doing a transaction again after a transient failure: bounded, with growing, jittered pauses.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{domain::ProductId, error::Error};

const MAX_ATTEMPTS: u32 = 6;
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
        if self.failures >= MAX_ATTEMPTS || !error.is_transient() {
            return false;
        }
        let ceiling = FIRST_PAUSE * 2_u32.pow(self.failures - 1);
        tracing::debug!(error = %error, failures = self.failures, "transaction is tried again");
        tokio::time::sleep(ceiling.mul_f64(rand::random::<f64>())).await;
        true
    }
}

/// Makes `$attempt` until it succeeds or fails for good; `$retry` is in scope of it.
macro_rules! with_retry {
    ($retry:ident => $attempt:expr) => {{
        let mut $retry = $crate::store::retry::Retry::default();
        $crate::store::retry::with_retry!($retry, $attempt)
    }};
    ($retry:ident, $attempt:expr) => {
        loop {
            match $attempt.await {
                Err(error) if $retry.again(&error).await => {}
                result => break result,
            }
        }
    };
}

pub(super) use with_retry;
