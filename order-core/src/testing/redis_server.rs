//! A private Redis server on a free port, or a cluster of three, that keeps nothing on disk
//! and is thrown away with the process that started it, however that ends: a shell holds the
//! server and waits for our end of a pipe to close.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use async_trait::async_trait;
use chrono::TimeDelta;
use redis::Script;

use super::{
    conformance::Time,
    process::{free_port, send_signal, wait_until},
};
use crate::redis_client::RedisClient;

/// Starts the server, says its process id, and ends it with its input.
const HOLD: &str = r#"
    trap '' PIPE # Who waits for the process id may be gone already.
    dir=$1
    shift
    redis-server --dir "$dir" --save '' --appendonly no --bind 127.0.0.1 "$@" >"$dir/log" 2>&1 &
    server=$!
    echo "$server"
    cat >/dev/null
    kill -KILL "$server"
    rm -rf "$dir"
"#;

const LIMIT: Duration = Duration::from_secs(10);

/// A running private server.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    options: Vec<String>,
    running: Mutex<Running>,
}

#[derive(Debug)]
struct Running {
    pid: String,
    /// Its standard input is the pipe: dropped, the server goes.
    _holder: Child,
}

impl RedisServer {
    /// Starts a server.
    ///
    /// # Panics
    /// When Redis is not installed or does not start; says how to get it.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(free_port(), &[])
    }

    /// Starts three masters that share the slots of a cluster; any of them leads to all.
    ///
    /// # Panics
    /// When Redis is not installed or the cluster does not form.
    #[must_use]
    pub fn start_cluster() -> Vec<Self> {
        Self::start_cluster_as([None; 3])
    }

    /// The same, where clients are told other ports, such as those of proxies.
    ///
    /// # Panics
    /// Likewise.
    #[must_use]
    pub fn start_cluster_behind(ports: [u16; 3]) -> Vec<Self> {
        Self::start_cluster_as(ports.map(Some))
    }

    fn start_cluster_as(announced: [Option<u16>; 3]) -> Vec<Self> {
        let start = |announced: Option<u16>| {
            // The nodes speak to each other on a port that is 10 000 higher.
            let low = std::iter::repeat_with(free_port).find(|port| *port < 55_000);
            let port = low.unwrap();
            let (announced, bus) = (announced.unwrap_or(port), port + 10_000);
            let (announced, bus) = (announced.to_string(), bus.to_string());
            let options = [
                ["--cluster-enabled", "yes"],
                ["--cluster-node-timeout", "2000"],
                ["--cluster-announce-port", &announced],
                ["--cluster-announce-bus-port", &bus],
            ];
            Self::start_with(port, options.as_flattened())
        };
        let nodes: Vec<Self> = announced.into_iter().map(start).collect();
        let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let formed = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses)
            .arg("--cluster-yes")
            .output()
            .unwrap();
        assert!(formed.status.success(), "{formed:?}");
        let is_formed = |node: &Self| node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
        assert!(
            wait_until(LIMIT, || nodes.iter().all(is_formed)),
            "the cluster does not form"
        );
        nodes
    }

    fn start_with(port: u16, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let running = Mutex::new(run(port, &options));
        let server = Self {
            port,
            options,
            running,
        };
        server.wait_until_up();
        server
    }

    /// The URL of the server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port that it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A client with the limit that the server uses.
    ///
    /// # Panics
    /// Never: the URL is good.
    #[must_use]
    pub fn client(&self) -> RedisClient {
        RedisClient::new(&self.url(), Duration::from_millis(500)).unwrap()
    }

    /// Runs a command by `redis-cli`, and gives what it prints.
    ///
    /// # Panics
    /// When `redis-cli` is not there.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string()]).args(arguments);
        String::from_utf8(cli.output().unwrap().stdout).unwrap()
    }

    /// Makes it forget everything.
    pub fn flush(&self) {
        let _ = self.cli(&["FLUSHALL"]);
    }

    /// Kills it; nothing is kept.
    pub fn kill(&self) {
        self.signal("KILL");
    }

    /// Starts it again, empty, where it was.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self) {
        *self.running.lock().unwrap() = run(self.port, &self.options);
        self.wait_until_up();
    }

    /// Stops it from doing anything, as a machine that hangs.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.running.lock().unwrap().pid.clone();
        send_signal(name, &pid);
    }

    fn wait_until_up(&self) {
        let is_up = || self.cli(&["PING"]).starts_with("PONG");
        assert!(wait_until(LIMIT, is_up), "Redis does not start");
    }
}

fn run(port: u16, options: &[String]) -> Running {
    let found = Command::new("redis-server").arg("--version").output();
    found.expect("Redis is not installed: run ./scripts/test, or apt-get install redis-server");
    let dir: PathBuf = tempfile::Builder::new()
        .prefix("orders-redis-")
        .tempdir()
        .expect("the temporary folder is writable")
        .keep();
    let mut holder = Command::new("sh")
        .args(["-c", HOLD, "sh"])
        .arg(&dir)
        .args(["--port", &port.to_string()])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Away from the terminal's Ctrl-C: it ends by the pipe, after us.
        .process_group(0)
        .spawn()
        .expect("sh is on every Unix");
    let mut said = String::new();
    let mut stdout = BufReader::new(holder.stdout.take().unwrap());
    stdout.read_line(&mut said).unwrap();
    Running {
        pid: said.trim().to_owned(),
        _holder: holder,
    }
}

/// Makes what the queue in a server remembers older: the server's own clock cannot be moved.
#[derive(Debug)]
pub struct RedisTime {
    client: RedisClient,
}

impl RedisTime {
    /// The time of the queue that `client` leads to.
    #[must_use]
    pub fn new(client: RedisClient) -> Self {
        Self { client }
    }
}

const AGE: &str = r"
    for _, topic in ipairs({'validate', 'process'}) do
        local prefix = '{orders}:' .. topic .. ':'
        local pending = redis.pcall('XPENDING', prefix .. 'stream', 'workers', '-', '+', 10000)
        if not pending.err then
            for _, p in ipairs(pending) do
                redis.call('XCLAIM', prefix .. 'stream', 'workers', p[2], 0, p[1],
                    'IDLE', p[3] + ARGV[1], 'RETRYCOUNT', p[4], 'JUSTID')
            end
        end
        for _, name in ipairs({'delayed', 'dead'}) do
            local all = redis.call('ZRANGE', prefix .. name, 0, -1, 'WITHSCORES')
            for i = 1, #all, 2 do
                redis.call('ZADD', prefix .. name, all[i + 1] - ARGV[1], all[i])
            end
        end
    end
    return 1";

#[async_trait]
impl Time for RedisTime {
    async fn advance(&self, by: TimeDelta) {
        let script = Script::new(AGE);
        let mut age = script.prepare_invoke();
        age.key("{orders}:validate:stream")
            .arg(by.num_milliseconds());
        let _: i64 = self.client.script("age", &age).await.unwrap();
    }
}
