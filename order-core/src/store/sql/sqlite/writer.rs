//! The one connection that writes, and the order in which transactions get it.
//!
//! Transactions stand in line for it: first come, first served. Those that no request waits for
//! (tasks, decisions of a backlog, heartbeats) send one at a time to that line. So a request waits
//! for one of those transactions at most, however many there are to make, and they have every
//! second turn when there are always requests. Tasks rest besides, as long as there are requests: a
//! client that buys one thing after the other finds the line empty most of the time.
//!
//! A full disk and the like may end a transaction behind the driver's back: `SQLite` rolls it
//! back by itself. Such a connection is closed when it comes back, and the next transaction gets a
//! new one.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Sqlite, SqliteConnection, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::timeout,
};

use super::{error::on_commit, file::DatabaseFile, meter::Meter, turns::Turns};
use crate::{error::Error, store::sql::backend::Priority, sync::lock};

/// For how long a commit says that another would do.
const COMMIT_TELLS: Duration = Duration::from_secs(1);
/// For how long an attempt to write says how the next would end.
const ATTEMPT_TELLS: Duration = Duration::from_millis(500);
/// The time that an attempt to write may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);
/// The log may grow to this while readers need it, and is cut when it did.
pub(super) const LOG_BYTES: u64 = 16 << 20;
/// The longest wait, with nobody writing, until no reader needs the log.
const CUT_LIMIT: Duration = Duration::from_millis(200);
/// The time that closing may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// Gives out the connection that writes.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pool: SqlitePool,
    options: SqliteConnectOptions,
    file: Arc<DatabaseFile>,
    background: Arc<AsyncMutex<()>>,
    tasks: Arc<AsyncMutex<()>>,
    last: Arc<Last>,
}

/// The turns of what nobody waits for.
type InLine = [Option<OwnedMutexGuard<()>>; 2];

/// The last transactions of this process.
#[derive(Debug, Default)]
struct Last {
    /// When something was committed, unless it failed since.
    commit: Mutex<Option<Instant>>,
    /// The result of the last attempt that was made to find out.
    attempt: AsyncMutex<Option<(Instant, Result<(), Error>)>>,
    turns: Mutex<Turns>,
}

impl Last {
    fn committed(&self, at: Option<Instant>) {
        *lock(&self.commit) = at;
    }

    /// Notes a turn that began at `began` and ends now.
    fn had_turn(&self, priority: Priority, began: Instant, did: Did) {
        let mut turns = lock(&self.turns);
        turns.had(priority, began, Instant::now());
        turns.sold(did.sold);
        if did.ended {
            turns.ended();
        }
    }

    fn is_fresh(&self) -> bool {
        let commit = *lock(&self.commit);
        commit.is_some_and(|at| at.elapsed() < COMMIT_TELLS)
    }
}

impl Writer {
    /// Opens the file, as `options` say. A later connection never makes one. Nobody waits longer than
    /// `turn_limit` for the connection.
    pub(super) async fn open(
        options: SqliteConnectOptions,
        file: Arc<DatabaseFile>,
        meter: Meter,
        turn_limit: Duration,
    ) -> Result<Self, Error> {
        let opened = Arc::clone(&file);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(turn_limit)
            // As long as it is open, nobody else removes the log.
            .idle_timeout(None)
            .max_lifetime(None)
            // It is asked when it comes back.
            .test_before_acquire(false)
            .after_connect(move |connection, _| {
                let (file, meter) = (Arc::clone(&opened), meter.clone());
                Box::pin(async move {
                    meter.count(connection).await?;
                    // Opens the log.
                    sqlx::query("SELECT count(*) FROM sqlite_schema")
                        .execute(&mut *connection)
                        .await?;
                    Ok(file.remember()?)
                })
            })
            .after_release(|connection, _| {
                Box::pin(async move {
                    // When this is answered, what was asked before is done: a transaction that
                    // was dropped is rolled back, or that failed. One that was committed needs no
                    // question, for which the next turn would wait.
                    if connection.is_in_transaction() {
                        connection.ping().await?;
                    }
                    Ok(!connection.is_in_transaction())
                })
            })
            .connect_with(options.clone())
            .await?;
        let options = options.create_if_missing(false);
        pool.set_connect_options(options.clone());
        Ok(Self {
            pool,
            options,
            file,
            background: Arc::default(),
            tasks: Arc::default(),
            last: Arc::default(),
        })
    }

    /// A transaction that holds the write lock from its start.
    pub(super) async fn begin(&self, priority: Priority) -> Result<WriteTransaction, Error> {
        let in_line = match priority {
            Priority::Request => [None, None],
            Priority::Background => [Some(Arc::clone(&self.background).lock_owned().await), None],
            Priority::Tasks => {
                let first = Arc::clone(&self.tasks).lock_owned().await;
                let rest = lock(&self.last.turns).rest(Instant::now());
                if let Some(rest) = rest {
                    tokio::time::sleep_until(rest.into()).await;
                }
                let turn = Arc::clone(&self.background).lock_owned().await;
                [Some(turn), Some(first)]
            }
        };
        self.begin_in_line(priority, in_line).await
    }

    async fn begin_in_line(
        &self,
        priority: Priority,
        in_line: InLine,
    ) -> Result<WriteTransaction, Error> {
        self.file.check()?;
        let begun = self.pool.begin_with("BEGIN IMMEDIATE").await;
        let transaction = begun.inspect_err(|_| self.last.committed(None))?;
        // It may have gone while we waited.
        self.file.check()?;
        Ok(WriteTransaction {
            transaction,
            file: Arc::clone(&self.file),
            last: Arc::clone(&self.last),
            priority,
            began: Instant::now(),
            did: Did::default(),
            _in_line: in_line,
        })
    }

    /// Checks that something can be written: a commit just now tells, and otherwise an attempt
    /// that changes nothing and is written all the same. However many ask, one makes it.
    pub(super) async fn check(&self) -> Result<(), Error> {
        self.file.check()?;
        if self.last.is_fresh() {
            return Ok(());
        }
        let mut attempt = self.last.attempt.lock().await;
        if let Some((at, result)) = &*attempt
            && at.elapsed() < ATTEMPT_TELLS
        {
            return result.clone();
        }
        let made = timeout(ATTEMPT_LIMIT, self.write_nothing()).await;
        let result = made.unwrap_or_else(|elapsed| {
            let source = Arc::new(elapsed);
            Err(Error::Unavailable { source })
        });
        *attempt = Some((Instant::now(), result.clone()));
        result
    }

    /// Writes a number that nobody uses as it is: a page goes to the log.
    async fn write_nothing(&self) -> Result<(), Error> {
        let mut tx = self.begin(Priority::Request).await?;
        let number: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut *tx)
            .await?;
        let write = AssertSqlSafe(format!("PRAGMA user_version = {number}"));
        sqlx::query(write)
            .persistent(false)
            .execute(&mut *tx)
            .await?;
        tx.commit_written().await
    }

    /// Cuts the log, when it has grown beyond its size: readers that never end together keep
    /// `SQLite` from beginning it anew.
    pub(super) async fn cut_log(&self) -> Result<(), Error> {
        if self.file.log_bytes() <= LOG_BYTES {
            return Ok(());
        }
        let _turn = self.background.lock().await;
        self.file.check()?;
        // Nobody of this process writes meanwhile.
        let _connection = self.pool.acquire().await?;
        self.cut(CUT_LIMIT).await
    }

    /// By a connection of its own, which takes its own limit with it when it goes.
    async fn cut(&self, limit: Duration) -> Result<(), Error> {
        let options = self.options.clone().busy_timeout(limit);
        let mut connection = options.connect().await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut connection)
            .await?;
        Ok(connection.close().await?)
    }

    /// Closes the connection, after the log was cut.
    pub(super) async fn close(&self) {
        let close = async {
            if self.file.check().is_ok()
                && let Err(error) = self.cut(CUT_LIMIT).await
            {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the log of the database was not cut");
            }
            self.pool.close().await;
        };
        // Who holds the lock for longer is somebody else.
        let _ = timeout(CLOSE_LIMIT, close).await;
    }

    pub(super) const fn pool(&self) -> &SqlitePool {
        &self.pool
    }
}

/// A transaction that holds the write lock. It is rolled back when it is dropped.
pub(crate) struct WriteTransaction {
    transaction: Transaction<'static, Sqlite>,
    file: Arc<DatabaseFile>,
    last: Arc<Last>,
    priority: Priority,
    began: Instant,
    did: Did,
    _in_line: InLine,
}

/// What a transaction does that decides on the turns after it.
#[derive(Clone, Copy, Debug, Default)]
struct Did {
    sold: usize,
    ended: bool,
}

impl WriteTransaction {
    /// Notes that the transaction sells so many orders.
    pub(super) const fn sells(&mut self, orders: usize) {
        self.did.sold += orders;
    }

    /// Notes that the transaction ends attempts.
    pub(super) const fn ends_attempts(&mut self) {
        self.did.ended = true;
    }

    /// The most attempts that this transaction may end: whoever buys waits for them.
    pub(super) fn may_end(&self) -> usize {
        lock(&self.last.turns).most_ended()
    }

    /// Makes what was written durable.
    pub(super) async fn commit_written(self) -> Result<(), Error> {
        let committed = self.transaction.commit().await;
        self.last.committed(committed.is_ok().then(Instant::now));
        self.last.had_turn(self.priority, self.began, self.did);
        committed.map_err(on_commit)?;
        // What was moved away meanwhile may have taken this along, and may come back.
        self.file.check().map_err(|error| match error {
            Error::Unavailable { source } => Error::OutcomeUnknown { source },
            error => error,
        })
    }

    pub(super) async fn roll_back(self) -> Result<(), Error> {
        Ok(self.transaction.rollback().await?)
    }
}

impl Deref for WriteTransaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for WriteTransaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}
