//! A private Postgres primary with a synchronous standby: what fails over.
//!
//! Both are thrown away with the process that started them, as [`PostgresServer`] is.
//!
//! [`PostgresServer`]: super::PostgresServer

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{
    postgres_server::{binaries, give_away, run_as_owner},
    process::{free_port, send_signal, wait_until},
};

/// Starts a server on what `$4` makes in `$2`, as the user that the shell runs as, and ends it with
/// its input.
const HOLD: &str = r#"
    bin=$1 dir=$2 port=$3 make=$4
    {
        eval "$make" >"$dir/log" 2>&1 &&
        exec "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 \
        -c max_connections=100 -c wal_level=replica -c hot_standby=on -c fsync=off \
        -c wal_retrieve_retry_interval=100ms -c max_wal_size=1GB >>"$dir/log" 2>&1
    } &
    server=$!
    cat >/dev/null
    kill -INT "$server" 2>/dev/null
    wait "$server"
    rm -rf "$dir"
"#;

const MAKE_PRIMARY: &str =
    r#""$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync"#;

/// The longest that a server may take to start, or to catch up.
const START: Duration = Duration::from_secs(30);

/// One of the two.
#[derive(Debug)]
struct Server {
    port: u16,
    dir: PathBuf,
    /// Its standard input is the pipe: dropped, the server goes.
    _holder: Child,
}

impl Server {
    fn start(bin: &Path, make: &str) -> Self {
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
            .arg(make)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        give_away(&dir);
        run_as_owner(&mut shell, &dir);
        let holder = shell.spawn().expect("sh is on every Unix");
        let lock_file = dir.join("data/postmaster.pid");
        let is_ready = wait_until(START, || {
            std::fs::read_to_string(&lock_file).is_ok_and(|text| text.trim_end().ends_with("ready"))
        });
        let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert!(is_ready, "Postgres does not start: {}", log());
        Self {
            port,
            dir,
            _holder: holder,
        }
    }

    /// Kills it (SIGKILL): nothing of it is told to end.
    fn kill(&self) {
        let file = std::fs::read_to_string(self.dir.join("data/postmaster.pid")).unwrap();
        send_signal("KILL", file.lines().next().unwrap());
    }

    async fn execute(&self, statement: &str) {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.port);
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::query(AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap();
        let _ = connection.close().await;
    }
}

/// A primary, and a standby that each commit waits for.
#[derive(Debug)]
pub struct PostgresPair {
    primary: Server,
    standby: Server,
}

impl PostgresPair {
    /// Starts both. There is an empty database `orders`.
    ///
    /// # Panics
    /// When Postgres is not installed, or does not start.
    pub async fn start() -> Self {
        let bin = binaries();
        let primary = Server::start(&bin, MAKE_PRIMARY);
        primary.execute("CREATE DATABASE orders").await;
        let copy = format!(
            r#""$bin/pg_basebackup" -D "$dir/data" -h 127.0.0.1 -p {} -U postgres -R -X stream --no-sync --checkpoint=fast"#,
            primary.port
        );
        let standby = Server::start(&bin, &copy);
        // The copy does not have it: once it is the primary, it is alone.
        primary
            .execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            .await;
        primary.execute("SELECT pg_reload_conf()").await;
        let pair = Self { primary, standby };
        pair.wait_until_synchronous().await;
        pair
    }

    /// The port of the first primary, at 127.0.0.1.
    #[must_use]
    pub fn primary_port(&self) -> u16 {
        self.primary.port
    }

    /// The port of the first standby, at 127.0.0.1.
    #[must_use]
    pub fn standby_port(&self) -> u16 {
        self.standby.port
    }

    /// The URL of the database `orders` through `port` of 127.0.0.1.
    #[must_use]
    pub fn url(port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/orders")
    }

    /// The URL of the database `orders` on both of them, the first standby before the first primary.
    #[must_use]
    pub fn url_of_both(&self) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/orders?target_session_attrs=read-write",
            self.standby.port, self.primary.port
        )
    }

    /// Kills the primary (SIGKILL).
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn kill_primary(&self) {
        self.primary.kill();
    }

    /// Kills what was the standby at first (SIGKILL).
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn kill_standby(&self) {
        self.standby.kill();
    }

    /// Stops the process of the standby that receives, or lets it go on: commits wait meanwhile.
    ///
    /// # Panics
    /// When the standby is not there.
    pub fn hold_standby(&self, is_held: bool) {
        let children = |parent: &str| {
            let output = Command::new("ps")
                .args(["-o", "pid=", "--ppid", parent])
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let file = std::fs::read_to_string(self.standby.dir.join("data/postmaster.pid")).unwrap();
        let signal = if is_held { "STOP" } else { "CONT" };
        for pid in children(file.lines().next().unwrap()).split_whitespace() {
            send_signal(signal, pid);
        }
    }

    /// Makes the standby the primary; returns when it takes writes.
    ///
    /// # Panics
    /// When it does not.
    pub async fn promote(&self) {
        self.standby.execute("SELECT pg_promote(true, 30)").await;
    }

    /// Waits until commits wait for the standby.
    async fn wait_until_synchronous(&self) {
        let url = Self::url(self.primary.port);
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let is_synchronous =
            "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'sync'";
        while !sqlx::query_scalar::<_, bool>(is_synchronous)
            .fetch_one(&mut connection)
            .await
            .unwrap()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = connection.close().await;
    }
}
