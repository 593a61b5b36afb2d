//! The connections that transactions of the hot path run on.
//!
//! The driver's pool asks each connection that comes back whether it still lives: a round trip
//! during which the next transaction takes another connection, and the server wakes another
//! process. Here a connection is kept at hand after a commit, as long as all goes well. At the
//! first failure all of them go back to the pool, which tests them.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};

use crate::error::Error;

/// How long a connection that nobody used is taken to be alive.
pub(super) const TRUSTED_WHILE_IDLE: Duration = Duration::from_secs(1);

/// Connections at hand, before a pool.
#[derive(Debug)]
pub(super) struct Connections {
    pool: PgPool,
    at_hand: Mutex<Vec<(PoolConnection<Postgres>, Instant)>>,
}

impl Connections {
    pub(super) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            at_hand: Mutex::default(),
        }
    }

    /// The one that was used last, or one of the pool.
    pub(super) async fn take(&self) -> Result<Lease<'_>, Error> {
        let last = self.at_hand().pop();
        let connection = match last {
            Some((connection, since)) if since.elapsed() < TRUSTED_WHILE_IDLE => connection,
            _ => self.pool.acquire().await?,
        };
        let doubt = Doubt {
            home: self,
            dispelled: false,
        };
        Ok(Lease { connection, doubt })
    }

    /// Half of the pool may be at hand: whoever asks the pool itself finds the other half.
    fn most(&self) -> usize {
        self.pool.options().get_max_connections() as usize / 2
    }

    fn at_hand(&self) -> MutexGuard<'_, Vec<(PoolConnection<Postgres>, Instant)>> {
        // It is never left half changed.
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection for one transaction. Dropped before it is kept, it is not trusted any more,
/// and neither are those at hand.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    connection: PoolConnection<Postgres>,
    doubt: Doubt<'a>,
}

impl Lease<'_> {
    /// All went well, and nothing is under way on it.
    pub(super) fn keep(self) {
        let home = self.doubt.home;
        self.doubt.dispel();
        let mut at_hand = home.at_hand();
        if at_hand.len() < home.most() {
            at_hand.push((self.connection, Instant::now()));
        }
    }
}

impl Deref for Lease<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// Sends the connections at hand back to the pool when it is dropped.
#[derive(Debug)]
struct Doubt<'a> {
    home: &'a Connections,
    dispelled: bool,
}

impl Doubt<'_> {
    fn dispel(mut self) {
        self.dispelled = true;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.dispelled {
            let doubted = std::mem::take(&mut *self.home.at_hand());
            drop(doubted);
        }
    }
}
