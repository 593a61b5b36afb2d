//! A private Postgres server on a free port, thrown away with the process that started it,
//! however that ends: a shell holds the server and waits for our end of a pipe to close.

use std::{
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::process::{free_port, wait_until};
use crate::store::{PostgresStore, Store};

/// Starts the server as the user that the shell runs as, and ends it with its input.
const HOLD: &str = r#"
    bin=$1 dir=$2 port=$3 fsync=$4
    {
        "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 &&
        exec "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 \
        -c max_connections=200 -c fsync="$fsync" -c full_page_writes="$fsync" \
        -c shared_buffers=256MB -c max_wal_size=4GB >>"$dir/log" 2>&1
    } &
    server=$!
    cat >/dev/null
    kill -INT "$server"
    wait "$server"
    rm -rf "$dir"
"#;

/// A running private server.
#[derive(Debug)]
pub struct PostgresServer {
    port: u16,
    /// Its standard input is the pipe: dropped, the server goes.
    _holder: Child,
    databases: AtomicU32,
    template: tokio::sync::Mutex<bool>,
}

impl PostgresServer {
    /// The server that the tests of this process share. It does not wait for the disk, so
    /// that it survives killed processes and not a power cut.
    ///
    /// # Panics
    /// When Postgres is not installed or does not start; says how to get it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(false))
    }

    /// Starts a server; a `durable` one waits for the disk at each commit, as in production.
    ///
    /// # Panics
    /// When Postgres is not installed or does not start; says how to get it.
    #[must_use]
    pub fn start(durable: bool) -> Self {
        let bin = binaries();
        // A port that was free may be taken a moment later by someone else: try another.
        for _ in 0..3 {
            if let Some(server) = Self::try_start(&bin, durable) {
                return server;
            }
        }
        panic!("Postgres in {} does not start", bin.display());
    }

    fn try_start(bin: &Path, durable: bool) -> Option<Self> {
        let dir = tempfile::Builder::new()
            .prefix("orders-postgres-")
            .tempdir()
            .expect("the temporary folder is writable")
            .keep();
        let port = free_port();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", HOLD, "sh"])
            .args([bin, &dir])
            .arg(port.to_string())
            .arg(if durable { "on" } else { "off" })
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        give_away(&dir);
        run_as_owner(&mut shell, &dir);
        let holder = shell.spawn().expect("sh is on every Unix");
        // The server's own word, in the last line of its lock file.
        let lock_file = dir.join("data/postmaster.pid");
        let is_ready = wait_until(Duration::from_secs(30), || {
            std::fs::read_to_string(&lock_file).is_ok_and(|text| text.trim_end().ends_with("ready"))
        });
        is_ready.then(|| Self {
            port,
            _holder: holder,
            databases: AtomicU32::new(0),
            template: tokio::sync::Mutex::new(false),
        })
    }

    /// The port that it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a new, migrated, empty database.
    ///
    /// # Panics
    /// When the server does not make it.
    pub async fn database(&self) -> String {
        let mut migrated = self.template.lock().await;
        if !*migrated {
            self.execute("CREATE DATABASE migrated".to_owned()).await;
            let store = PostgresStore::connect(&self.url("migrated"))
                .await
                .expect("the new database takes connections");
            store.migrate().await.expect("the schema migrates");
            // A template must have no sessions.
            store.pool().close().await;
            *migrated = true;
        }
        self.create("TEMPLATE migrated").await
    }

    /// The URL of a new database that nobody migrated.
    ///
    /// # Panics
    /// When the server does not make it.
    pub async fn empty_database(&self) -> String {
        self.create("").await
    }

    async fn create(&self, like: &str) -> String {
        let name = format!("orders_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute(format!("CREATE DATABASE {name} {like}")).await;
        self.url(&name)
    }

    /// A store on a new, migrated, empty database.
    ///
    /// # Panics
    /// When the server does not make it.
    pub async fn store(&self) -> PostgresStore {
        PostgresStore::connect(&self.database().await)
            .await
            .expect("the new database takes connections")
    }

    /// The URL of a database of this server.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Executes a statement outside of the databases of tests, as whoever owns the server.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn execute(&self, statement: String) {
        let mut connection = PgConnection::connect(&self.url("postgres"))
            .await
            .expect("the server takes connections");
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .expect("the statement runs");
        let _ = connection.close().await;
    }
}

/// Gives a folder to the user that servers run as, when we are root: they refuse to be.
pub(super) fn give_away(dir: &Path) {
    let me = std::fs::metadata(dir)
        .expect("the folder was just made")
        .uid();
    if me == 0 {
        let (user, group) = unprivileged_user();
        for path in std::fs::read_dir(dir)
            .expect("the folder was just made")
            .flatten()
            .map(|entry| entry.path())
            .chain([dir.to_owned()])
        {
            chown(&path, Some(user), Some(group)).expect("root may give folders away");
        }
    }
}

/// Has `command` run as the user to whom `dir` belongs, away from the terminal's Ctrl-C: it ends
/// after us.
pub(super) fn run_as_owner(command: &mut Command, dir: &Path) {
    let owner = std::fs::metadata(dir).expect("the folder was just made");
    command.uid(owner.uid()).gid(owner.gid()).process_group(0);
}

/// The folder of the server's programs: on the path, or where packages put them, newest first.
pub(super) fn binaries() -> PathBuf {
    let on_path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default();
    let mut packaged: Vec<PathBuf> = [
        ("/usr/lib/postgresql", "bin"),
        ("/opt/homebrew/opt", "bin"),
        ("/usr/local/opt", "bin"),
    ]
    .iter()
    .filter_map(|(parent, bin)| Some((std::fs::read_dir(parent).ok()?, bin)))
    .flat_map(|(entries, bin)| entries.flatten().map(move |e| e.path().join(bin)))
    .collect();
    packaged.sort();
    on_path
        .into_iter()
        .chain(packaged.into_iter().rev())
        .find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists())
        // Behind a link, so that initdb finds the files that lie beside the real one.
        .and_then(|dir| {
            dir.join("initdb")
                .canonicalize()
                .ok()?
                .parent()
                .map(PathBuf::from)
        })
        .expect("Postgres is not installed: run ./scripts/test, or apt-get install postgresql")
}

/// User and group id of `postgres`, which the package makes, or else of `nobody`.
fn unprivileged_user() -> (u32, u32) {
    let id = |flag: &str, user: &str| -> Option<u32> {
        let output = Command::new("id").args([flag, user]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    ["postgres", "nobody"]
        .iter()
        .find_map(|user| Some((id("-u", user)?, id("-g", user)?)))
        .expect("root needs the user postgres or nobody, to run Postgres as")
}
