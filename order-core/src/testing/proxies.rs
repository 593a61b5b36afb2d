//! Real programs between a client and what it wants: `HAProxy`, which leads to the primary of
//! Postgres, `pgbouncer`, which shares its sessions, and `nginx`, which forwards requests to a server.

use std::{
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::{
    postgres_server::{give_away, run_as_owner},
    process::{Process, free_port, wait_until},
};

const START: Duration = Duration::from_secs(10);

/// Starts `program` with a configuration of its own, in a folder of its own, and waits until it listens
/// on `port`.
fn start(
    program: &str,
    package: &str,
    arguments: &[&str],
    config: impl FnOnce(&Path) -> String,
    port: u16,
) -> (Process, tempfile::TempDir) {
    let dir = tempfile::Builder::new()
        .prefix("orders-proxy-")
        .tempdir()
        .expect("the temporary folder is writable");
    let file = dir.path().join("config");
    let config = config(dir.path());
    std::fs::write(&file, config).expect("the temporary folder is writable");
    give_away(dir.path());
    let found = [
        "/usr/sbin",
        "/usr/bin",
        "/usr/local/bin",
        "/usr/local/sbin",
        "/opt/homebrew/bin",
    ]
    .iter()
    .map(|dir| Path::new(dir).join(program))
    .find(|path| path.exists());
    let path = found.unwrap_or_else(|| {
        panic!("{program} is not installed: run ./scripts/test, or apt-get install {package}")
    });
    let mut command = Command::new(path);
    command
        .args(arguments)
        .arg(&file)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    run_as_owner(&mut command, dir.path());
    let process = Process(command.spawn().expect("the program was found"));
    let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(wait_until(START, listens), "{program} does not start");
    (process, dir)
}

/// A `pgbouncer` before a Postgres server, with what it is installed with but the mode.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    _process: Process,
    _dir: tempfile::TempDir,
}

impl PgBouncer {
    /// One before `postgres_port` of 127.0.0.1, in `mode`: `session`, `transaction`, `statement`.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    #[must_use]
    pub fn start(postgres_port: u16, mode: &str) -> Self {
        let port = free_port();
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={postgres_port} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {mode}\n"
        );
        let (process, dir) = start("pgbouncer", "pgbouncer", &[], |_| config, port);
        Self {
            port,
            _process: process,
            _dir: dir,
        }
    }

    /// The port that it listens on, at 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// An `nginx` before a server of HTTP.
#[derive(Debug)]
pub struct Nginx {
    port: u16,
    _process: Process,
    _dir: tempfile::TempDir,
}

impl Nginx {
    /// One before `server_port` of 127.0.0.1, with `settings` among those of its requests, such as
    /// `gzip on;`.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    #[must_use]
    pub fn start(server_port: u16, settings: &str) -> Self {
        let port = free_port();
        // One process, so that nothing is left when it is killed.
        let config = |dir: &Path| {
            let files: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .iter()
                .map(|name| format!("{name}_temp_path {}/{name};\n", dir.display()))
                .collect();
            format!(
                "daemon off; master_process off; pid {}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n\
                 {files}{settings}\nserver {{ listen 127.0.0.1:{port}; location / {{\n\
                 proxy_pass http://127.0.0.1:{server_port}; proxy_http_version 1.1;\n\
                 proxy_set_header Host $http_host; }} }} }}\n",
                dir.display()
            )
        };
        let (process, dir) = start("nginx", "nginx", &["-e", "stderr", "-c"], config, port);
        Self {
            port,
            _process: process,
            _dir: dir,
        }
    }

    /// The port that it listens on, at 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// An `HAProxy` before Postgres servers: it leads to the one that is no standby, and ends the
/// sessions with one that went, as set-ups with Patroni do.
#[derive(Debug)]
pub struct HaProxy {
    port: u16,
    _process: Process,
    _dir: tempfile::TempDir,
    agents: Vec<JoinHandle<()>>,
}

impl HaProxy {
    /// One before these ports of 127.0.0.1, which has found out by then which of them is none of a
    /// standby: until it has asked, it leads to any of them.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    pub async fn start(postgres_ports: &[u16]) -> Self {
        let port = free_port();
        let (mut servers, mut agents) = (String::new(), Vec::new());
        let mut checks = Vec::new();
        for postgres in postgres_ports {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let check = listener.local_addr().unwrap().port();
            let asked = Arc::<AtomicU32>::default();
            checks.push(Arc::clone(&asked));
            agents.push(tokio::spawn(tell_the_role(listener, *postgres, asked)));
            servers += &format!("    server s{postgres} 127.0.0.1:{postgres} check port {check}\n");
        }
        let config = format!(
            "defaults\n    mode tcp\n    timeout connect 1s\n    timeout client 1h\n    \
             timeout server 1h\n    timeout check 3s\n\
             listen postgres\n    bind 127.0.0.1:{port}\n    option httpchk GET /primary\n    \
             default-server inter 250ms fall {FALL} rise 1 on-marked-down shutdown-sessions\n{servers}"
        );
        let (process, dir) = start("haproxy", "haproxy", &["-db", "-f"], |_| config, port);
        // Once it asks again, it has drawn its conclusions from what it heard before.
        let is_asking = |asked: &Arc<AtomicU32>| asked.load(Ordering::SeqCst) <= FALL;
        let asking = async {
            while checks.iter().any(is_asking) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(START, asking).await.unwrap();
        Self {
            port,
            _process: process,
            _dir: dir,
            agents,
        }
    }

    /// The port that it listens on, at 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        for agent in &self.agents {
            agent.abort();
        }
    }
}

/// The checks in a row that a server has to fail until nobody is led to it.
const FALL: u32 = 2;

/// Answers 200 while the server at `port` is a primary, and else 503; counts how often it was asked.
async fn tell_the_role(listener: TcpListener, port: u16, asked: Arc<AtomicU32>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        asked.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let status = if is_primary(port).await.unwrap_or(false) {
                "200 OK"
            } else {
                "503 Service Unavailable"
            };
            let answer = format!("HTTP/1.0 {status}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

async fn is_primary(port: u16) -> Result<bool, sqlx::Error> {
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let mut connection = PgConnection::connect(&url).await?;
    let is_primary = sqlx::query_scalar("SELECT NOT pg_is_in_recovery()")
        .fetch_one(&mut connection)
        .await;
    let _ = connection.close().await;
    is_primary
}
