//! A Redis that falls silent or refuses: the server goes on without it, says why, and uses it
//! again as soon as it serves.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod program;
mod shop;

use std::{
    io::Write,
    process::Command,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use order_core::{
    RedisClient,
    cache::{Entry, ProductCache, RedisCache},
    domain::ProductId,
    testing::{PostgresServer, RedisServer, TcpProxy},
};
use serde_json::json;

use program::Program;
use shop::Shop;

/// The log is that of the whole process: one test at a time writes to it.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const LIMIT: Duration = Duration::from_secs(10);
/// Longer than a server takes to end that has nothing to tell, and shorter than one waits.
const AWAY: Duration = Duration::from_secs(3);

/// What was logged, of all tests of this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let writer = log.clone();
            tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .init();
            log
        })
    }

    /// The lines that have all of these in them.
    fn lines(&self, parts: &[&str]) -> Vec<String> {
        let log = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
        log.lines().filter(has_all).map(ToOwned::to_owned).collect()
    }
}

impl Shop {
    /// Waits until the server says that it is so, and gives how long that took.
    async fn is(&self, status: &str) -> Duration {
        let began = Instant::now();
        loop {
            let ready = self.get("/health/ready").await;
            assert_eq!(ready.status, 200, "{}", ready.body);
            if ready.body["status"] == status {
                return began.elapsed();
            }
            assert!(began.elapsed() < LIMIT, "not {status}: {}", ready.body);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Orders are sold, whatever Redis does.
    async fn sells(&self, product: &str) {
        let order = json!({"product_id": product, "quantity": 1});
        let accepted = self.post("/orders", &order).await;
        assert_eq!(accepted.status, 202, "{}", accepted.body);
        assert_eq!(self.decided(&accepted).await["status"], "success");
        let read = self.get(&format!("/products/{product}")).await;
        assert_eq!(read.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_connections_to_redis_fall_silent_makes_new_ones() {
    let _alone = ALONE.lock().await;
    let redis = RedisServer::start();
    let proxy = TcpProxy::to(redis.port()).await;
    let url = PostgresServer::shared().database().await;
    let redis_url = format!("redis://127.0.0.1:{}", proxy.port());
    let shop = Shop::open_with_redis(&url, Some(&redis_url)).await;
    let product = shop.product("p", 100).await;
    shop.sells(&product).await;
    shop.is("ready").await;
    proxy.silence();
    // The worker claims all the time: it notices by itself.
    shop.is("degraded").await;
    shop.sells(&product).await;
    let took = shop.is("ready").await;
    eprintln!("ready again after {took:?}");
    let path = format!("/products/{product}");
    let began = Instant::now();
    while shop.get(&path).await.header("x-cache") != "hit" {
        assert!(began.elapsed() < LIMIT, "the cache is not used again");
    }
    shop.close().await;
}

/// What an operator can do to a Redis, what the log says of it, and how it is undone.
struct Refusal {
    commands: &'static [&'static [&'static str]],
    says: &'static [&'static str],
    undone: &'static [&'static [&'static str]],
}

const REFUSALS: [Refusal; 3] = [
    Refusal {
        commands: &[
            &["CONFIG", "SET", "requirepass", "s3cr3t"],
            &["-a", "s3cr3t", "CLIENT", "KILL", "TYPE", "normal"],
        ],
        says: &["Redis does not serve", "NOAUTH"],
        undone: &[&["-a", "s3cr3t", "CONFIG", "SET", "requirepass", ""]],
    },
    Refusal {
        commands: &[&["ACL", "SETUSER", "default", "-@scripting"]],
        says: &["Redis does not serve", "NoPerm"],
        undone: &[&["ACL", "SETUSER", "default", "+@all"]],
    },
    Refusal {
        commands: &[
            &["DEL", "{orders}:validate:stream"],
            &["SET", "{orders}:validate:stream", "something else"],
        ],
        says: &[
            "{orders}:validate:stream",
            "holds=\"string\"",
            "expected=\"stream\"",
        ],
        undone: &[&["DEL", "{orders}:validate:stream"]],
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_refuses_is_told_of_once_and_done_without() {
    let _alone = ALONE.lock().await;
    let log = Log::begin();
    for refusal in REFUSALS {
        let redis = RedisServer::start();
        let url = PostgresServer::shared().database().await;
        let shop = Shop::open_with_redis(&url, Some(&redis.url())).await;
        let product = shop.product("p", 100).await;
        shop.sells(&product).await;
        shop.is("ready").await;
        let before = log.lines(&["Redis does not serve"]).len();
        for command in refusal.commands {
            let _ = redis.cli(command);
        }
        shop.is("degraded").await;
        shop.sells(&product).await;
        let queue = shop.get("/queue").await;
        assert_eq!(queue.status, 200, "{}", queue.body);
        assert_eq!(queue.body["topics"][0]["topic"], "validate");
        let dead = shop.get("/queue/dead?topic=validate").await;
        if dead.status != 200 {
            assert_eq!(dead.status, 503);
            dead.is_problem("queue_unavailable");
        }
        let paused = shop.post("/queue/validate/pause", &json!(null)).await;
        assert_eq!(paused.status, 200, "{}", paused.body);
        // It goes on for a while, and is not told of again and again.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!log.lines(refusal.says).is_empty(), "{:?}", refusal.says);
        let told = log.lines(&["Redis does not serve"]).split_off(before);
        assert!(told.len() <= 8, "{told:#?}");
        for command in refusal.undone {
            let _ = redis.cli(command);
        }
        let took = shop.is("ready").await;
        eprintln!("{:?}: ready again after {took:?}", refusal.says);
        let resumed = shop.post("/queue/validate/resume", &json!(null)).await;
        assert_eq!(resumed.status, 200, "{}", resumed.body);
        shop.sells(&product).await;
        shop.close().await;
    }
    assert!(log.lines(&["s3cr3t"]).is_empty());
}

/// A server that ends tells the cache what it could not tell it before, and does not wait for
/// ever. It is a process of its own: nothing of it goes on after.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_tells_the_cache_what_changed() {
    let _alone = ALONE.lock().await;
    for comes_back in [true, false] {
        let redis = Arc::new(RedisServer::start());
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_order-server"));
        command.env("REDIS_URL", redis.url());
        let mut server = Program::start_by(command, dir.path()).await;
        let product = server.product(100).await;
        let id = product.as_str().unwrap();
        assert_eq!(server.get(&format!("/products/{id}")).await.status, 200);
        redis.freeze();
        assert_eq!(server.buy(&product).await.status, 201);
        let began = Instant::now();
        let thaw = tokio::spawn({
            let redis = Arc::clone(&redis);
            async move {
                if comes_back {
                    tokio::time::sleep(AWAY).await;
                    redis.thaw();
                }
            }
        });
        // The cache hears of it from nobody else.
        server.stop().await;
        let took = began.elapsed();
        thaw.await.unwrap();
        assert!(took < Duration::from_secs(9), "the end took {took:?}");
        if comes_back {
            assert!(took >= AWAY, "it ended before the cache could be told");
            let client = RedisClient::new(&redis.url(), Duration::from_secs(5)).unwrap();
            let elsewhere = RedisCache::new(client, Duration::from_secs(300));
            let kept = elsewhere.get(ProductId(id.parse().unwrap())).await.unwrap();
            let is_old = matches!(kept, Some(Entry::Active(product)) if product.stock == 100);
            assert!(!is_old, "the cache was not told");
        } else {
            redis.thaw();
        }
    }
}
