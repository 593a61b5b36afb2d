//! A check that a purchase could be written now, at a cost that does not grow with the number of
//! those who ask: all who ask within a second share one look, which has a connection of its own, so that it
//! does not queue behind what is sold.
//!
//! A look is a transaction: it takes the locks that a purchase takes on its tables, lets the
//! database write a little to the disk that data is on, and commits a record that means nothing. So
//! it fails where a purchase would: on a standby or a read-only database, without the tables, with
//! a full disk, and when the synchronous standby is gone, which a commit waits for.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use sqlx::{AssertSqlSafe, PgConnection, Row, raw_sql};
use tokio::time::timeout;
use uuid::Uuid;

use super::{session::Sessions, writable::writable};
use crate::{error::Error, sync::lock};

/// The time that a look may take.
const LIMIT: Duration = Duration::from_secs(2);
/// The time that the connection of the look before has to answer, before another is made.
const KEPT_LIMIT: Duration = Duration::from_millis(800);
/// The time for which a look is good for others who ask.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// The numbers are more than fit the memory that is set for them: they go to a temporary file,
/// where data is. One string of statements is one round trip.
const WRITE: &str = concat!(
    "BEGIN; SET LOCAL work_mem = 64; SET LOCAL temp_tablespaces = '';
     LOCK TABLE products, orders, order_lines, task_batches, order_counters, idempotency_keys
         IN ROW EXCLUSIVE MODE;
     SELECT ",
    writable!(),
    ", pg_logical_emit_message(true, 'orders', ''), count(*) FROM generate_series(1, 10000)
         GROUP BY 1, 2;
     COMMIT"
);

type Look = Shared<BoxFuture<'static, Result<(), Error>>>;

/// Looks whether the database takes writes.
pub(super) struct Probe {
    sessions: Sessions,
    /// No other connection has this name.
    name: String,
    /// That of the last look that went well.
    kept: Mutex<Option<PgConnection>>,
    last: Mutex<Option<(Instant, Look)>>,
}

impl Probe {
    /// A probe of the database that the sessions lead to.
    pub(super) fn new(sessions: &Sessions, id: Uuid) -> Self {
        let name = format!("orders-ready-{}", id.simple());
        Self {
            sessions: sessions.named(&name),
            name,
            kept: Mutex::default(),
            last: Mutex::default(),
        }
    }

    /// Fails when the database does not take writes now, or took none up to a second ago.
    ///
    /// # Errors
    /// [`Error::Unavailable`], whatever the cause.
    pub(super) async fn check(self: &Arc<Self>) -> Result<(), Error> {
        let look = {
            let mut last = lock(&self.last);
            match last.as_ref() {
                Some((began, look)) if look.peek().is_none() || began.elapsed() < FRESH_FOR => {
                    look.clone()
                }
                _ => {
                    let look = Arc::clone(self).look();
                    *last = Some((Instant::now(), look.clone()));
                    look
                }
            }
        };
        look.await
    }

    /// Begins a look, in a task of its own: it ends also when nobody waits any more.
    fn look(self: Arc<Self>) -> Look {
        let task = tokio::spawn(async move {
            timeout(LIMIT, self.write())
                .await
                .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        });
        let outcome = async move {
            task.await
                .map_err(io::Error::other)
                .map_err(sqlx::Error::from)
                .flatten()
                .map_err(|error| Error::Unavailable {
                    source: Arc::new(error),
                })
        };
        outcome.boxed().shared()
    }

    /// Writes on the connection that is there, or else, and when that fails, on another.
    async fn write(&self) -> Result<(), sqlx::Error> {
        let kept = self.kept().take();
        if let Some(mut connection) = kept
            && let Ok(Ok(())) = timeout(KEPT_LIMIT, write(&mut connection)).await
        {
            *self.kept() = Some(connection);
            return Ok(());
        }
        let mut connection = self.sessions.open().await?;
        self.end_abandoned(&mut connection).await?;
        write(&mut connection).await?;
        *self.kept() = Some(connection);
        Ok(())
    }

    /// A look that had no answer may still be waiting in the database for a standby, for as long
    /// as that is gone: there shall not be one more each second.
    async fn end_abandoned(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let others = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = '{}' AND pid <> pg_backend_pid()",
            self.name
        );
        raw_sql(AssertSqlSafe(others)).execute(connection).await?;
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Option<PgConnection>> {
        lock(&self.kept)
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

async fn write(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let rows = raw_sql(WRITE).fetch_all(connection).await?;
    match rows.first().map(|row| row.try_get(0)).transpose()? {
        Some(true) => Ok(()),
        _ => Err(io::Error::other("the database is read-only").into()),
    }
}
