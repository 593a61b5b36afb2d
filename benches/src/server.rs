//! The server as it is shipped, in a process of its own.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use order_core::{domain::MAX_STOCK, store::Strategy, testing::Process};

use crate::http::{Connection, Request};

/// Nobody is refused, however long the turns take.
const SERVE_ALL: [&str; 2] = ["--max-wait-ms", "600000"];
/// The time limit for tasks that are left.
const DRAIN_LIMIT: Duration = Duration::from_secs(300);
/// Figures are made anew at most once a second.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running server, and a product that it sells.
pub struct ServerProcess {
    /// Where it listens.
    pub address: SocketAddr,
    /// A product with more pieces than anyone asks for.
    pub product: String,
    process: Process,
}

impl ServerProcess {
    /// Starts one, without a worker in it.
    ///
    /// # Errors
    /// When it is not built, or does not start.
    pub async fn start(database_url: &str, strategy: Strategy) -> anyhow::Result<Self> {
        Self::start_with(database_url, strategy, MAX_STOCK, &SERVE_ALL).await
    }

    /// The same, with so many pieces of its product, and with further arguments.
    ///
    /// # Errors
    /// The same.
    pub async fn start_with(
        database_url: &str,
        strategy: Strategy,
        stock: i64,
        args: &[&str],
    ) -> anyhow::Result<Self> {
        let configure = |command: &mut Command| {
            command
                .args(["--strategy", strategy.as_str(), "--worker", "off"])
                .args(args)
                .env("RUST_LOG", "warn")
                // What is measured is selling.
                .env("PROCESSOR", "off");
        };
        Self::launch(database_url, stock, configure).await
    }

    /// Starts one as it is without any setting: with a worker in it, and a log.
    ///
    /// # Errors
    /// The same.
    pub async fn start_without_settings(database_url: &str) -> anyhow::Result<Self> {
        Self::start_with_settings(database_url, &[]).await
    }

    /// The same with these settings, and no other.
    ///
    /// # Errors
    /// The same.
    pub async fn start_with_settings(
        database_url: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let configure = |command: &mut Command| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            command
                .env_clear()
                .env("PATH", path)
                .envs(settings.iter().copied());
        };
        Self::launch(database_url, MAX_STOCK, configure).await
    }

    async fn launch(
        database_url: &str,
        stock: i64,
        configure: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Self> {
        // Free a moment ago; when somebody took it since, the server says so and ends.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(binary("order-server")?);
        command
            .args(["--database-url", database_url])
            .args(["--bind-addr", &address.to_string()])
            .stdout(Stdio::null());
        configure(&mut command);
        let child = command.spawn()?;
        let mut server = Self {
            address,
            product: String::new(),
            process: Process(child),
        };
        let start = Instant::now();
        let mut connection = loop {
            if let Ok(connection) = Connection::open(address).await {
                break connection;
            }
            ensure!(start.elapsed() < START_LIMIT, "the server does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        server.product = create_product(&mut connection, stock).await?;
        Ok(server)
    }

    /// So many further products, with more pieces than anyone asks for.
    ///
    /// # Errors
    /// When the server does not make them.
    pub async fn products(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let mut connection = Connection::open(self.address).await?;
        let mut products = Vec::with_capacity(count);
        for _ in 0..count {
            products.push(create_product(&mut connection, MAX_STOCK).await?);
        }
        Ok(products)
    }

    /// An order of one piece, sent to `path`.
    #[must_use]
    pub fn order(&self, path: &str, status: u16) -> Request {
        let order = format!(r#"{{"product_id":"{}","quantity":1}}"#, self.product);
        Request::post(path, &order, status)
    }

    /// Memory that it holds, in MiB; Linux only.
    ///
    /// # Errors
    /// Where there is no `/proc`.
    pub fn resident_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .context("no VmRSS")?;
        Ok(kib.parse::<f64>()? / 1_024.0)
    }
}

async fn create_product(connection: &mut Connection, stock: i64) -> anyhow::Result<String> {
    let product = format!(r#"{{"name":"hot","price":"9.99","stock":{stock}}}"#);
    create(connection, &product).await
}

/// Creates a product, which is given as JSON; its id.
///
/// # Errors
/// When the server does not make it.
pub async fn create(connection: &mut Connection, product: &str) -> anyhow::Result<String> {
    let create = Request::post("/api/v1/products", product, 201);
    let created: serde_json::Value = serde_json::from_slice(connection.send(&create).await?)?;
    let id = created["id"].as_str().context("the product has no id")?;
    Ok(id.to_owned())
}

/// The orders that the figures of a server tell to be completed: by now, or a second ago.
///
/// # Errors
/// When the server does not answer, or tells no tasks.
pub async fn completed(connection: &mut Connection) -> anyhow::Result<usize> {
    let stats = Request::get("/api/v1/stats");
    let body: serde_json::Value = serde_json::from_slice(connection.send(&stats).await?)?;
    let completed = body["totals"]["completed"].as_u64();
    let completed = completed.context("the figures tell no tasks")?;
    Ok(usize::try_from(completed)?)
}

/// Waits until a server tells that so many orders are completed; how long it took.
///
/// # Errors
/// When that takes longer than five minutes.
pub async fn all_completed(address: SocketAddr, orders: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut connection = Connection::open(address).await?;
    while completed(&mut connection).await? < orders {
        ensure!(
            start.elapsed() < DRAIN_LIMIT,
            "{orders} tasks are not done in {DRAIN_LIMIT:?}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(start.elapsed())
}

/// A program of this project, built beside this one.
///
/// # Errors
/// When it is not there.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    // Benchmarks lie one folder deeper.
    let found = here.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    found
        .into_iter()
        .find(|path| path.exists())
        .with_context(|| {
            format!("{name} is not built: build the whole workspace with this profile")
        })
}
