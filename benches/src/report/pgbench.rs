//! The row lock strategy by `pgbench`, which comes with Postgres: the same statements,
//! prepared, without this project around them. What we call the baseline is held against it.

use std::{process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use order_core::{
    OrderService,
    bench::{Sample, Shape, row_lock_statements},
    domain::{MAX_STOCK, ProductRequest},
    store::PostgresStore,
};
use tokio::process::Command;

/// As the sessions of the store are set.
const SESSION: &str = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off \
     -c enable_bitmapscan=off -c enable_sort=off -c plan_cache_mode=force_generic_plan -c jit=off";

pub struct Pgbench {
    url: String,
    service: OrderService,
    products: Vec<order_core::domain::ProductId>,
    script: tempfile::NamedTempFile,
}

impl Pgbench {
    pub async fn new(url: &str) -> anyhow::Result<Self> {
        let store = PostgresStore::connect(url).await?;
        let service = OrderService::builder(Arc::new(store)).build();
        let product = ProductRequest::new("hot", "1".parse()?, MAX_STOCK, None)?;
        let product = service.create_product(product).await?.id;
        let script = tempfile::NamedTempFile::new()?;
        std::fs::write(script.path(), row_lock_statements(product))?;
        Ok(Self {
            url: url.to_owned(),
            service,
            products: vec![product],
            script,
        })
    }

    /// Decides `orders` orders, with so many clients.
    pub async fn row_lock(&self, clients: usize, orders: usize) -> anyhow::Result<Sample> {
        for result in self
            .service
            .accept_all(Shape::Hot.orders(&self.products, orders)?)
            .await
        {
            result?;
        }
        let output = Command::new("pgbench")
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
            .args(["--client", &clients.to_string()])
            .args(["--transactions", &(orders / clients).to_string()])
            // Each client claims after the order that it decided last.
            .args(["--define", "id=00000000-0000-0000-0000-000000000000"])
            .arg("--file")
            .arg(self.script.path())
            .arg(&self.url)
            .env("PGOPTIONS", SESSION)
            .stderr(Stdio::inherit())
            .output()
            .await
            .context("pgbench comes with Postgres")?;
        ensure!(output.status.success(), "pgbench failed");
        let text = String::from_utf8(output.stdout)?;
        let number = |start: &str| -> anyhow::Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(start));
            let word = line.and_then(|rest| rest.split_whitespace().next());
            Ok(word
                .with_context(|| format!("no {start:?} in {text}"))?
                .parse()?)
        };
        let (rate, latency_ms) = (number("tps = ")?, number("latency average = ")?);
        Ok(Sample {
            orders: orders / clients * clients,
            elapsed: Duration::from_secs_f64((orders / clients * clients) as f64 / rate),
            latencies: vec![Duration::from_secs_f64(latency_ms / 1_000.0)],
        })
    }
}
