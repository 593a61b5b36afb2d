//! The file of a `SQLite` database: on a disk that is full, moved away, replaced, locked.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod program;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use program::Program;
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};

/// How soon it sells again once it can.
const SOON: Duration = Duration::from_secs(2);
const DISK_BYTES: u64 = 8 << 20;

/// A server whose database is alone on a small disk, in a view of the file system that only it
/// has; that disk, as it can be seen from here.
async fn on_a_small_disk(dir: &Path) -> (Program, PathBuf) {
    let try_it = Command::new("unshare").args(["-rm", "true"]).output();
    assert!(
        try_it.as_ref().is_ok_and(|tried| tried.status.success()),
        "this test mounts a small file system as root of a user namespace of its own. It takes \
         `unshare` (util-linux) and a kernel that lets you: sysctl \
         kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0, \
         or `docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined`: {try_it:?}"
    );
    let mut command = Command::new("unshare");
    let script = format!(
        "mount -t tmpfs -o size={DISK_BYTES} none '{0}' && cd '{0}' && exec '{1}'",
        dir.display(),
        env!("CARGO_BIN_EXE_order-server")
    );
    command.args(["-rm", "sh", "-c", &script]);
    let server = Program::start_by(command, dir).await;
    let seen = format!("/proc/{}/root{}", server.process.0.id(), dir.display());
    (server, PathBuf::from(seen))
}

/// Takes what is left of a disk.
fn fill(file: &Path) {
    let mut file = fs::File::create(file).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

async fn stock(server: &Program, product: &Value) -> u64 {
    let path = format!("/products/{}", product.as_str().unwrap());
    let product = server.get(&path).await;
    assert_eq!(product.status, 200, "{product:?}");
    product.body["stock"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_sales_until_there_is_space_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let (server, disk) = on_a_small_disk(dir.path()).await;
    let product = server.product(1_000).await;
    assert_eq!(server.buy(&product).await.status, 201);
    let mut sold = 1;
    for _ in 0..2 {
        let filler = disk.join("filler");
        fill(&filler);
        // What the log has room for is still sold.
        let start = Instant::now();
        let mut refused = 0;
        while refused < 5 {
            assert!(start.elapsed() < SOON * 5, "it sells on a full disk");
            let bought = server.buy(&product).await;
            if bought.status == 201 {
                sold += 1;
                continue;
            }
            bought.is_refused();
            refused += 1;
        }
        Program::wait_until(SOON, async || !server.is_ready().await).await;
        assert_eq!(stock(&server, &product).await, 1_000 - sold, "it reads");

        fs::remove_file(&filler).unwrap();
        let again = async || server.buy(&product).await.status == 201;
        Program::wait_until(SOON, again).await;
        sold += 1;
        assert!(server.is_ready().await);
        assert_eq!(stock(&server, &product).await, 1_000 - sold);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sold_into_a_file_that_is_not_the_one_that_was_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (file, away) = (dir.path().join("orders.db"), dir.path().join("away.db"));
    let mut server = Program::start(dir.path()).await;
    let product = server.product(1_000).await;
    assert_eq!(server.buy(&product).await.status, 201);

    fs::rename(&file, &away).unwrap();
    for _ in 0..3 {
        server.buy(&product).await.is_refused();
        assert!(!server.is_ready().await);
        server.get("/orders").await.is_refused();
    }
    assert!(!file.exists(), "nobody makes a new one");
    fs::rename(&away, &file).unwrap();
    assert_eq!(server.buy(&product).await.status, 201);
    assert!(server.is_ready().await);

    // Without its log, the file is short of what is in there.
    let log = dir.path().join("orders.db-wal");
    let log_away = dir.path().join("away.db-wal");
    fs::rename(&log, &log_away).unwrap();
    server.buy(&product).await.is_refused();
    assert!(!server.is_ready().await);
    fs::rename(&log_away, &log).unwrap();
    assert_eq!(server.buy(&product).await.status, 201);

    // A copy in its place is another file: it takes a restart, and that is all.
    fs::copy(&file, &away).unwrap();
    fs::rename(&away, &file).unwrap();
    server.buy(&product).await.is_refused();
    assert!(!server.is_ready().await);
    assert!(!server.is_ready().await);
    server.stop().await;
    let server = Program::start(dir.path()).await;
    assert_eq!(server.buy(&product).await.status, 201);
    assert!(server.is_ready().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_the_write_lock_holds_up_no_reader() {
    let dir = tempfile::tempdir().unwrap();
    let server = Program::start(dir.path()).await;
    let product = server.product(1_000).await;
    assert_eq!(server.buy(&product).await.status, 201);
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();

    let waits = async {
        let bought = server.buy(&product).await;
        bought.is_refused();
        assert!(bought.took < Duration::from_secs(12), "{bought:?}");
    };
    let reads = async {
        for path in ["/products", "/orders", "/queue", "/stats", "/workers"] {
            let read = server.get(path).await;
            assert_eq!(read.status, 200, "{path}: {read:?}");
            assert!(read.took < Duration::from_secs(2), "{path}: {read:?}");
        }
        // What was committed just before tells for a second.
        Program::wait_until(Duration::from_secs(4), async || !server.is_ready().await).await;
    };
    tokio::join!(waits, reads);

    lock.rollback().await.unwrap();
    let again = async || server.buy(&product).await.status == 201;
    Program::wait_until(SOON, again).await;
    assert!(server.is_ready().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ends_well_leaves_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Program::start(dir.path()).await;
    let product = server.product(1_000).await;
    for _ in 0..20 {
        assert_eq!(server.buy(&product).await.status, 201);
    }
    let log = dir.path().join("orders.db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    server.stop().await;
    assert!(fs::metadata(&log).map_or(0, |log| log.len()) == 0);
}
