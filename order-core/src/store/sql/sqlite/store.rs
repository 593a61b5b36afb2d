//! The store, and how it begins transactions.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sqlx::{
    ConnectOptions as _, Sqlite, SqliteConnection,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::time::sleep;

use super::{
    error,
    file::DatabaseFile,
    meter::Meter,
    orders::{CLAIM_BY_IDS, CLAIM_OLDEST},
    products::{COUNT, HAS_UNFOLDED, PAGE},
    readers::Readers,
    writer::{LOG_BYTES, WriteTransaction, Writer},
};
use crate::{
    domain::MAX_OFFSET_ROWS,
    error::Error,
    store::{
        connect_options::ConnectOptions,
        orders::Selection,
        products::ProductQuery,
        sql::{
            backend::{Priority, SqlBackend, SqlConnection},
            decide::{ClaimSteps, ClaimedOrders},
            gate::Gates,
            lockable::ContentionSteps,
            products::ProductSteps,
            purchase::PurchaseSteps,
            retry::Attempt,
            rows::{self, Count, ProductRow},
            sorted::beginning,
            value::Value,
        },
    },
};

/// The time between two attempts to open a file that somebody else opens.
const OPEN_PAUSE: Duration = Duration::from_millis(100);

/// Products and orders in a `SQLite` file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    pub(super) writer: Writer,
    pub(super) readers: Readers,
    gates: Arc<Gates>,
    #[cfg_attr(not(feature = "testing"), allow(dead_code))]
    meter: Meter,
}

impl SqliteStore {
    /// Opens the file that `url` names (`sqlite://path`), and makes it when it is not there.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `database_url`; [`Error::Unavailable`] or
    /// [`Error::Backend`] when the file cannot be opened.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, ConnectOptions::default()).await
    }

    /// The same, otherwise than usual.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); [`Error::Invalid`] also when it names an option, and when a
    /// file that is not to be made is not there, or no database of ours.
    pub async fn connect_with(url: &str, options: ConnectOptions) -> Result<Self, Error> {
        options.check()?;
        if options.schema.is_some() {
            let reason = "is for Postgres: a SQLite file has none";
            return Err(Error::invalid("database_schema", reason));
        }
        if !options.create {
            check_existing(url).await?;
        }
        let connect = parsed(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("journal_size_limit", LOG_BYTES.to_string())
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(options.busy_timeout)
            .foreign_keys(true);
        let (meter, file) = (
            Meter::default(),
            Arc::new(DatabaseFile::new(connect.get_filename())),
        );
        let turn_limit = options.acquire_timeout;
        // When two open a file that has no log yet, one of them is refused without a wait.
        let start = Instant::now();
        let writer = loop {
            let file = Arc::clone(&file);
            match Writer::open(connect.clone(), file, meter.clone(), turn_limit).await {
                Err(error) if error::is_busy(&error) && start.elapsed() < options.busy_timeout => {
                    sleep(OPEN_PAUSE).await;
                }
                opened => break opened?,
            }
        };
        let readers = Readers::new(connect, file, meter.clone(), &options);
        Ok(Self {
            writer,
            gates: Arc::new(Gates::new(readers.most_reads())),
            readers,
            meter,
        })
    }

    /// The number of steps that the virtual machine of `SQLite` took for this store, to the last
    /// 1 000 of each statement: the cost of statements, whatever the machine.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.meter.steps()
    }
}

/// Refuses a file that is not there, or no database of ours.
async fn check_existing(url: &str) -> Result<(), Error> {
    let look = parsed(url)?.create_if_missing(false).read_only(true);
    let path = look.get_filename().to_owned();
    let refused = |what: &str, path: &Path| {
        let path = path.display();
        let reason = format!("names {what}: {path}; `order-cli migrate` makes a database");
        Error::invalid("database_url", reason)
    };
    if !path.exists() {
        return Err(refused("no file", &path));
    }
    let mut connection = look.connect().await?;
    let is_ours: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')",
    )
    .fetch_one(&mut connection)
    .await?;
    if !is_ours {
        return Err(refused("a file without products and orders", &path));
    }
    Ok(())
}

fn parsed(url: &str) -> Result<SqliteConnectOptions, Error> {
    if url.contains(":memory:") || url.contains("mode=memory") {
        let reason = "must name a file: a database in memory does not survive the process";
        return Err(Error::invalid("database_url", reason));
    }
    url.parse()
        .map_err(|_| Error::invalid("database_url", "is not a SQLite URL"))
}

#[async_trait]
impl SqlBackend for SqliteStore {
    /// A read that was interrupted would take as long again.
    const RETRIES_READS: bool = false;

    type Transaction = WriteTransaction;
    type Reader = PoolConnection<Sqlite>;
    type Connection = SqliteConnection;

    /// Nobody waits for a lock who has the write lock.
    async fn begin(
        &self,
        priority: Priority,
        _lock_wait: Option<Duration>,
    ) -> Result<WriteTransaction, Error> {
        self.writer.begin(priority).await
    }

    fn is_conclusive(error: &Error) -> bool {
        error::is_conclusive(error)
    }

    async fn read(&self) -> Result<PoolConnection<Sqlite>, Error> {
        self.readers.acquire().await
    }

    fn gates(&self) -> &Gates {
        &self.gates
    }

    async fn read_apart(&self) -> Result<PoolConnection<Sqlite>, Error> {
        self.readers.acquire_for_keys().await
    }
}

impl ContentionSteps for SqliteStore {}
impl PurchaseSteps for SqliteStore {}

#[async_trait]
impl ClaimSteps for SqliteStore {
    async fn claim(
        &self,
        tx: &mut WriteTransaction,
        selection: Selection<'_>,
        _attempt: Attempt,
    ) -> Result<ClaimedOrders, Error> {
        let rows = match selection {
            Selection::Oldest(limit) => tx.fetch_all(CLAIM_OLDEST, &[Value::count(limit)]).await?,
            Selection::ByIds(ids) => {
                let ids = Value::Ids(ids.iter().map(|id| id.0).collect());
                tx.fetch_all(CLAIM_BY_IDS, &[ids]).await?
            }
        };
        Ok(ClaimedOrders {
            pending: rows::gather(rows)?,
            put_off: Vec::new(),
        })
    }
}

#[async_trait]
impl ProductSteps for SqliteStore {
    async fn find_products(&self, query: &ProductQuery) -> Result<Vec<ProductRow>, Error> {
        let (after, offset) = query.page.bounds();
        let values = [
            Value::Id(after.map_or_else(|| beginning(query.sort), |id| id.0)),
            Value::Text(query.folded_part().map(Into::into)),
            Value::Int(query.page.limit()),
            Value::Int(offset),
        ];
        let page = PAGE.by(query.sort);
        self.read().await?.fetch_all(page, &values).await
    }

    async fn count_products(&self, query: &ProductQuery) -> Result<i64, Error> {
        let part = Value::Text(query.folded_part().map(Into::into));
        let values = [part, Value::Int(i64::from(MAX_OFFSET_ROWS))];
        let (count,): Count = self.read().await?.fetch_one(COUNT, &values).await?;
        Ok(count)
    }

    /// Names that are folded need no write lock.
    async fn may_have_unfolded_names(&self) -> Result<bool, Error> {
        let (has_unfolded,): (bool,) = self.read().await?.fetch_one(HAS_UNFOLDED, &[]).await?;
        Ok(has_unfolded)
    }
}
