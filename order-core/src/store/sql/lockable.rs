//! Operations that wait for products in vain.
//!
//! No operation waits long for a lock while it holds anything: a connection, or the lock of another
//! product. A session gives up waiting after a quarter of a second ([`LOCK_WAIT`]). The operation
//! then releases everything, examines which of its products are contended (see [`Contention`]), and
//! goes on without them. For products that are merely busy it waits again, twice as long each time,
//! so that it gets its locks however many operations wait. On a database whose statements wait for
//! no locks, nothing is contended, and an operation is tried once.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use super::{
    backend::{LockFailure, SqlBackend},
    retry::{Attempt, Attempting, LOCK_PATIENCE, Retry},
};
use crate::{
    domain::{NewOrder, ProductId},
    error::Error,
    store::{
        contention::Contention,
        orders::{Outcome, Purchase},
    },
};

/// The time for which a statement waits for a lock, unless its transaction says otherwise: its
/// session is set to it.
const LOCK_WAIT: Duration = Duration::from_millis(250);
/// The longest that a transaction waits for a product that is busy.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The steps of a database about products that cannot be locked: none, where no statement waits.
#[async_trait]
pub(crate) trait ContentionSteps: SqlBackend {
    /// The products that cannot be locked for now, where orders are set aside for them.
    fn contention(&self) -> Option<&Arc<Contention>> {
        None
    }

    /// Finds out which of `products` are contended, after somebody waited for one of them in vain.
    async fn examine(&self, _products: &[ProductId]) {}
}

/// Waiting for locks, from the first attempt on.
#[derive(Debug)]
pub(super) struct Waiting {
    until: Instant,
    lock_wait: Option<Duration>,
}

impl Waiting {
    pub(super) fn begin() -> Self {
        Self {
            until: Instant::now() + LOCK_PATIENCE,
            lock_wait: None,
        }
    }

    /// Attempts that end when they waited for a lock in vain.
    pub(super) fn retry(&self) -> Retry {
        Retry::reporting(|_| true).waiting(self.lock_wait)
    }

    /// Tells whether to wait once more after an attempt that waited in vain, and then longer: there
    /// may be more operations waiting than get their locks in that time. Not longer for a key, since
    /// an operation that waits for one holds all of its products.
    pub(super) fn goes_on<B: SqlBackend>(&mut self, error: &Error) -> bool {
        let failure = B::lock_failure(error);
        if failure != Some(LockFailure::Key) {
            let longer = self.lock_wait.unwrap_or(LOCK_WAIT) * 2;
            self.lock_wait = Some(longer.min(LONGEST_WAIT));
        }
        failure.is_some() && Instant::now() < self.until
    }

    /// Waits until none of `products` is contended.
    ///
    /// # Errors
    /// [`Error::ProductContended`] when that takes too long.
    async fn lockable(&self, contention: &Contention, products: &[ProductId]) -> Result<(), Error> {
        let mut ends = contention.ends();
        let until = tokio::time::Instant::from_std(self.until);
        while let Some(product_id) = contention.first_of(products.iter().copied()) {
            let changed = tokio::time::timeout_at(until, ends.changed());
            if changed.await.is_err() {
                return Err(Error::ProductContended { product_id });
            }
        }
        Ok(())
    }
}

/// Makes attempts that change `products`, when these can be locked. While they cannot, it waits
/// without a connection.
pub(super) async fn when_lockable<B: ContentionSteps, T: Send, P, F>(
    backend: &B,
    products: impl Fn() -> P + Send + Sync,
    attempt: impl Fn(Attempt) -> F + Send + Sync,
) -> Result<T, Error>
where
    P: Attempting<Vec<ProductId>>,
    F: Attempting<T>,
{
    let mut waiting = Waiting::begin();
    loop {
        if let Some(contention) = backend.contention()
            && !contention.is_empty()
        {
            waiting.lockable(contention, &products().await?).await?;
        }
        match waiting.retry().run(backend, &attempt).await {
            Err(error) if waiting.goes_on::<B>(&error) => {
                backend.examine(&products().await?).await;
            }
            result => return result,
        }
    }
}

/// Orders, those among them that can be sold, and why the others cannot.
pub(super) struct Split<'a> {
    pub(super) chosen: Cow<'a, [NewOrder]>,
    aside: Vec<Option<ProductId>>,
}

impl<'a> Split<'a> {
    pub(super) fn of(orders: &'a [NewOrder], contention: Option<&Arc<Contention>>) -> Self {
        let Some(contention) = contention.filter(|contention| !contention.is_empty()) else {
            return Self {
                chosen: Cow::Borrowed(orders),
                aside: Vec::new(),
            };
        };
        let contended = |order: &NewOrder| contention.among(&order.lines);
        let aside: Vec<_> = orders.iter().map(contended).collect();
        let chosen = orders.iter().zip(&aside);
        let chosen = chosen.filter(|(_, aside)| aside.is_none());
        Self {
            chosen: chosen.map(|(order, _)| order.clone()).collect(),
            aside,
        }
    }

    /// The results of all, in their order.
    pub(super) fn rejoin(self, outcome: Outcome<Purchase>) -> Outcome<Purchase> {
        if self.aside.iter().all(Option::is_none) {
            return outcome;
        }
        let mut chosen = outcome.results.into_iter();
        let missing = || Error::corrupt("the store gave no result for an order");
        let results = self.aside.into_iter().map(|aside| match aside {
            Some(product_id) => Err(Error::ProductContended { product_id }),
            None => chosen.next().unwrap_or_else(|| Err(missing())),
        });
        Outcome {
            results: results.collect(),
            ..outcome
        }
    }
}
