//! The connections of a store: handed out when they are of use, and taken back within a limit.
//!
//! On a network that falls silent without a reset, nothing tells that a connection is gone. The
//! driver's pool waits for an answer for good, when a connection comes back and when one that was
//! idle is taken: its place in the pool would be lost. So every wait here has a limit, past which
//! the connection is closed, and the next one is made anew: an attempt, the way back, and the
//! questions before. Together they take less than ten seconds.
//!
//! A connection that was used a moment ago is taken as it is: asking would be one more round trip
//! for every operation. When an attempt fails in a way that casts doubt on connections, all of them
//! are asked for a while: after a failover, most of them lead to where the primary was. Where the
//! new primary is known, those with the one before are closed.

use std::{
    fmt,
    future::Future,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, PgConnection, PgPool, Postgres, pool::PoolConnection, postgres::PgPoolOptions,
    raw_sql,
};
use tokio::{runtime::Handle, time::timeout};

use super::{claim_cursor::Claim, error::casts_doubt, session::Sessions, writable::is_writable};
use crate::{
    error::Error,
    store::{connect_options::ConnectOptions, database::PoolStats},
    sync::lock,
};

/// The most connections, unless it is given.
const MAX_CONNECTIONS: u32 = 10;
/// The most connections for keys and heartbeats.
const MAX_APART: u32 = 2;
/// The time that an attempt at an operation may take, from asking for a connection to its end. It
/// is longer than anybody is left to wait for a lock.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(7);
/// The time that an attempt has at least once it has a connection.
const SHORTEST: Duration = Duration::from_secs(2);
/// The time in which a connection that comes back must say that it lives.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);
/// The time for which an idle connection is trusted.
const TRUSTED_WHILE_IDLE: Duration = Duration::from_secs(1);
/// The time for which connections are asked after a failure: longer than the one that it arose
/// from may take to come back.
const DOUBTED_FOR: Duration = Duration::from_secs(3);
/// The time for which it counts that no connection could be had.
const STARVED_FOR: Duration = Duration::from_secs(5);

/// Connections to one database.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pool: PgPool,
    limit: Duration,
    health: Arc<Health>,
}

impl Connections {
    /// Opens the first one, to find out whether there is a database.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when nobody answers.
    pub(super) async fn open(sessions: &Sessions, options: &ConnectOptions) -> Result<Self, Error> {
        let health = Arc::<Health>::default();
        let most = options.max_connections.unwrap_or(MAX_CONNECTIONS);
        let pool = pool(sessions, options.acquire_timeout, most, &health);
        let pool = pool.connect_with(sessions.connect_options()).await?;
        Ok(Self {
            pool,
            limit: limit(options.acquire_timeout),
            health,
        })
    }

    /// A few more, which are made when they are asked for.
    pub(super) fn apart(sessions: &Sessions, options: &ConnectOptions) -> Self {
        let health = Arc::<Health>::default();
        let pool = pool(sessions, options.acquire_timeout, MAX_APART, &health);
        Self {
            pool: pool.connect_lazy_with(sessions.connect_options()),
            limit: limit(options.acquire_timeout),
            health,
        }
    }

    /// The most reads at once: two of five connections are left for what is sold.
    pub(super) fn most_reads(&self) -> u32 {
        (self.pool.options().get_max_connections() * 3 / 5).max(1)
    }

    /// The driver's pool. A connection that is taken from it directly comes back without a limit.
    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(super) fn stats(&self, name: &'static str) -> PoolStats {
        PoolStats::of(name, &self.pool)
    }

    /// A connection, for as long as the value lives.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none is free, or none can be made, in time.
    pub(crate) async fn acquire(&self) -> Result<PooledConnection, Error> {
        let acquired = self.pool.acquire().await;
        self.health.acquired(&acquired);
        Ok(PooledConnection {
            inner: Some(acquired?),
            is_in_transaction: false,
            claim: None,
        })
    }

    /// Makes one attempt at an operation, within a limit. When it ends without an answer, its
    /// connection is closed.
    ///
    /// # Errors
    /// Those of the attempt; [`Error::OutcomeUnknown`] when it has none in time.
    pub(crate) async fn attempt<T>(
        &self,
        attempt: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        self.within(self.limit, attempt).await
    }

    /// Does what takes longer.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt).
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        attempt: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let result = timeout(limit, attempt).await.unwrap_or_else(|elapsed| {
            let source = Arc::new(elapsed);
            Err(Error::OutcomeUnknown { source })
        });
        if let Err(error) = &result
            && casts_doubt(error)
        {
            self.health.doubt();
        }
        result
    }

    /// Tells whether an operation waited for a connection in vain lately.
    pub(super) fn is_starved(&self) -> bool {
        self.health.is_starved()
    }
}

/// Options of a pool of up to `most` sessions, which `health` says whether to trust.
fn pool(
    sessions: &Sessions,
    acquire_timeout: Duration,
    most: u32,
    health: &Arc<Health>,
) -> PgPoolOptions {
    let (sessions, health) = (sessions.clone(), Arc::clone(health));
    let servers = Arc::clone(&sessions.servers);
    PgPoolOptions::new()
        .max_connections(most)
        .acquire_timeout(acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let is_of_before = servers.was_replaced(meta.age);
            let is_trusted = health.trusts(meta.idle_for);
            Box::pin(async move {
                if is_of_before || is_trusted {
                    return Ok(!is_of_before);
                }
                is_writable(connection).await
            })
        })
        .after_connect(move |connection, _| {
            let sessions = sessions.clone();
            Box::pin(async move { sessions.begin(connection).await })
        })
}

fn limit(acquire_timeout: Duration) -> Duration {
    ATTEMPT_LIMIT.max(acquire_timeout.saturating_add(SHORTEST))
}

/// The state of the connections, by the last operations.
#[derive(Debug, Default)]
struct Health {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    doubted_at: Option<Instant>,
    /// Since then no connection could be had.
    starved_at: Option<Instant>,
}

impl Health {
    /// Tells whether a connection that was idle for so long is taken as it is.
    fn trusts(&self, idle_for: Duration) -> bool {
        let doubted_at = self.seen().doubted_at;
        idle_for < TRUSTED_WHILE_IDLE && doubted_at.is_none_or(|at| at.elapsed() >= DOUBTED_FOR)
    }

    fn doubt(&self) {
        self.seen().doubted_at = Some(Instant::now());
    }

    fn acquired<T>(&self, acquired: &Result<T, sqlx::Error>) {
        match acquired {
            Ok(_) => self.seen().starved_at = None,
            Err(sqlx::Error::PoolTimedOut) => self.seen().starved_at = Some(Instant::now()),
            Err(_) => {}
        }
    }

    fn is_starved(&self) -> bool {
        let starved_at = self.seen().starved_at;
        starved_at.is_some_and(|at| at.elapsed() < STARVED_FOR)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // It is never left half written.
        lock(&self.seen)
    }
}

/// A connection that goes back when it is dropped, after its transaction was rolled back. Outside of
/// a transaction, each statement commits by itself.
pub(crate) struct PooledConnection {
    /// Taken when it is dropped.
    inner: Option<PoolConnection<Postgres>>,
    pub(super) is_in_transaction: bool,
    /// The orders that the transaction holds. Dropped before it is committed, the claim gives them
    /// back: before they are unlocked.
    pub(super) claim: Option<Claim>,
}

impl PooledConnection {
    /// Begins a transaction. Its statements wait for each lock up to `lock_wait`, if that is given:
    /// in one round trip, too.
    ///
    /// # Errors
    /// When the database does not begin one.
    pub(super) async fn begin(&mut self, lock_wait: Option<Duration>) -> Result<(), sqlx::Error> {
        let begin = match lock_wait {
            None => "BEGIN".to_owned(),
            Some(wait) => format!("BEGIN; SET LOCAL lock_timeout = {}", wait.as_millis()),
        };
        // Before the answer, which may not come.
        self.is_in_transaction = true;
        raw_sql(AssertSqlSafe(begin)).execute(&mut **self).await?;
        Ok(())
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// When the database does not end it.
    pub(super) async fn end(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        raw_sql(statement).execute(&mut **self).await?;
        self.is_in_transaction = false;
        Ok(())
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        drop(self.claim.take());
        let Some(mut connection) = self.inner.take() else {
            return;
        };
        match Handle::try_current() {
            Ok(runtime) if self.is_in_transaction => {
                runtime.spawn(roll_back(connection));
            }
            Ok(runtime) => {
                runtime.spawn(give_back(connection.return_to_pool()));
            }
            Err(_) => close(connection),
        }
    }
}

async fn roll_back(mut connection: PoolConnection<Postgres>) {
    let rolled_back = timeout(RELEASE_LIMIT, raw_sql("ROLLBACK").execute(&mut *connection)).await;
    if matches!(rolled_back, Ok(Ok(_))) {
        give_back(connection.return_to_pool()).await;
    } else {
        close(connection);
    }
}

async fn give_back(returned: impl Future<Output = ()>) {
    if timeout(RELEASE_LIMIT, returned).await.is_err() {
        tracing::warn!("a connection to the database is silent, and was closed");
    }
}

/// Closes a connection: dropped before it is done, the way back does so, and frees its place.
fn close(mut connection: PoolConnection<Postgres>) {
    drop(connection.return_to_pool());
}

#[expect(
    clippy::expect_used,
    reason = "it is taken when it is dropped, and then used no more"
)]
impl Deref for PooledConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.inner.as_ref().expect("it is not dropped")
    }
}

#[expect(
    clippy::expect_used,
    reason = "it is taken when it is dropped, and then used no more"
)]
impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.inner.as_mut().expect("it is not dropped")
    }
}

impl fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledConnection").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_just_used_is_trusted_until_something_fails() {
        let health = Health::default();
        assert!(health.trusts(Duration::ZERO));
        assert!(!health.trusts(TRUSTED_WHILE_IDLE));
        health.doubt();
        assert!(!health.trusts(Duration::ZERO));
    }

    #[test]
    fn doubt_ends() {
        let health = Health::default();
        health.seen().doubted_at = Instant::now().checked_sub(DOUBTED_FOR);
        assert!(health.trusts(Duration::ZERO));
    }

    #[test]
    fn starvation_ends_with_the_next_connection() {
        let health = Health::default();
        health.acquired::<()>(&Err(sqlx::Error::PoolTimedOut));
        assert!(health.is_starved());
        health.acquired(&Ok(()));
        assert!(!health.is_starved());
    }
}
