//! Connections that are silent, cannot write or are shared; sessions and what they are set to.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod several_servers;
mod shop;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use order_core::{
    Error, OrderService,
    clock::{Clock, SystemClock},
    domain::{
        IdGenerator, OrderId, OrderRequest, OrderStatus, ProductId, ProductRequest, Quantity,
    },
    process::{Claim, TaskStore},
    queue::{OrderQueue, Topic},
    stats::StatsStore,
    store::{ConnectOptions, OrderStore, PostgresStore, ProductStore, Selection, Store, Strategy},
    testing::{PgBouncer, PostgresPair, PostgresServer, TcpProxy},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, migrate::Migrate};

/// A silent connection is closed and replaced within this time.
const SILENCE: Duration = Duration::from_secs(10);

async fn connect(url: &str) -> PostgresStore {
    PostgresStore::connect(url).await.unwrap()
}

fn through(url: &str, from: u16, to: u16) -> String {
    url.replace(&format!(":{from}/"), &format!(":{to}/"))
}

async fn execute(url: &str, statement: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// Waits until `done` gives something; panics after `limit`.
async fn within<T, F: Future<Output = Option<T>>>(
    limit: Duration,
    what: &str,
    done: impl Fn() -> F,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(result) = done().await {
            return result;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every connection of a store falls silent at once, all of them in use or idle: whatever is
/// asked goes on within ten seconds, the claims of tasks and the queue included, none of which is
/// tried again by itself.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_closed_and_replaced() {
    let shop = shop::shop(1_000_000).await;
    let postgres = PostgresServer::shared().port();
    let proxy = TcpProxy::to(postgres).await;
    // So few that one that is lost is missed.
    let few = ConnectOptions::default().with_max_connections(4);
    let url = through(&shop.url, postgres, proxy.port());
    let store = PostgresStore::connect_with(&url, few).await.unwrap();
    let queue = store.queue();
    let ask = async || {
        tokio::join!(
            async {
                store
                    .purchase(&[shop.new_order()], Strategy::Batch)
                    .await
                    .is_ok()
            },
            async { store.accept(&[shop.new_order()]).await.is_ok() },
            async {
                let oldest = Selection::Oldest(10);
                let at = SystemClock.now();
                store.decide(oldest, Strategy::Batch, at).await.is_ok()
            },
            async { store.claim_tasks(&claim(&shop.ids)).await.is_ok() },
            async {
                let lease = Duration::from_secs(1);
                let claimed = queue.claim(Topic::Validate, 1, lease, Duration::ZERO);
                claimed.await.is_ok()
            },
            async { queue.stats(Topic::Process).await.is_ok() },
            async { store.product(shop.product).await.is_ok() },
            async { store.counters(Duration::from_secs(1)).await.is_ok() },
        )
    };
    let all = (true, true, true, true, true, true, true, true);
    for idle in [Duration::ZERO, Duration::from_millis(1_200)] {
        assert_eq!(ask().await, all);
        tokio::time::sleep(idle).await;
        proxy.silence();
        let start = Instant::now();
        within(SILENCE, "all is answered", async || {
            (ask().await == all).then_some(())
        })
        .await;
        assert!(start.elapsed() < SILENCE, "{:?}", start.elapsed());
    }
}

fn claim(ids: &IdGenerator) -> Claim {
    let at = SystemClock.now();
    Claim {
        id: ids.next(at),
        worker_id: ids.next(at),
        max: 1,
        ahead: 0,
        delay: Duration::ZERO,
        lease: Duration::from_secs(30),
    }
}

/// Sessions that were made while the database was read-only are not kept: it is written again as
/// soon as it can be, and `check_writable` tells at any time.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_cannot_write_are_replaced() {
    let shop = shop::shop(100).await;
    let database = shop.url.rsplit('/').next().unwrap();
    let admin = PostgresServer::shared().url("postgres");
    let sell = async || {
        let order = shop.new_order();
        let sold = shop
            .store
            .purchase(std::slice::from_ref(&order), Strategy::Batch);
        sold.await.map(drop)
    };
    sell().await.unwrap();
    shop.store.check_writable().await.unwrap();

    let read_only = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
    execute(&admin, &read_only).await;
    // As an operator does, so that it is in force at once.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    execute(&shop.url, end).await;
    let refused = sell().await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    let told = async || shop.store.check_writable().await.err();
    within(Duration::from_secs(3), "it tells", told).await;

    execute(
        &admin,
        &format!("ALTER DATABASE {database} RESET default_transaction_read_only"),
    )
    .await;
    within(Duration::from_secs(3), "it sells", async || {
        sell().await.ok()
    })
    .await;
    let told = async || shop.store.check_writable().await.ok();
    within(Duration::from_secs(3), "it tells", told).await;
}

/// The setting of a session changes below it, so that its next write is refused: it is closed,
/// and the write succeeds all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_met_read_only_is_closed() {
    let shop = shop::shop(1_000).await;
    let pool = shop.store.pool();
    let mut all = Vec::new();
    for _ in 0..pool.options().get_max_connections() {
        let mut connection = pool.acquire().await.unwrap();
        sqlx::query("SET default_transaction_read_only = on")
            .execute(&mut *connection)
            .await
            .unwrap();
        all.push(connection);
    }
    drop(all);
    for _ in 0..100 {
        let order = [shop.new_order()];
        let sold = shop.store.purchase(&order, Strategy::RowLock).await;
        assert!(sold.unwrap().results[0].is_ok());
    }
}

/// A proxy leads to a standby that is behind, and back: nothing is refused on what the standby
/// says, and as soon as new connections lead to a primary, all is well.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_refused_on_what_a_standby_says() {
    let pair = PostgresPair::start().await;
    let proxy = TcpProxy::to(pair.primary_port()).await;
    let store = connect(&PostgresPair::url(proxy.port())).await;
    store.migrate().await.unwrap();
    let service = OrderService::builder(Arc::new(store.clone())).build();
    let product = ProductRequest::new("p", "1".parse().unwrap(), 100, None).unwrap();
    let product = service.create_product(product).await.unwrap();
    let ids = IdGenerator::default();
    let order = |quantity| {
        let at = SystemClock.now();
        let quantity = Quantity::new(quantity).unwrap();
        OrderRequest::one(product.id, quantity).into_new_order(OrderId(ids.next(at)), at)
    };
    proxy.lead_to(pair.standby_port());
    proxy.cut();
    // The standby has the product, and would have 409 for the first, 404 for the second.
    let more_than_there_is = store.purchase(&[order(101)], Strategy::Batch).await;
    let refused = more_than_there_is.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    let nobody = ProductId(ids.next(SystemClock.now()));
    let refused = store.product(nobody).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    store.check_writable().await.unwrap_err();

    proxy.lead_to(pair.primary_port());
    let sold = async || {
        let order = order(1);
        let sold = store.purchase(std::slice::from_ref(&order), Strategy::Batch);
        sold.await.ok().map(|mut sold| sold.results.remove(0))
    };
    let sold = within(Duration::from_secs(5), "it sells", sold).await;
    assert_eq!(sold.unwrap().status, OrderStatus::Success);

    // Without its standby, a commit waits: nothing is sold, and that is told.
    pair.hold_standby(true);
    let told = async || store.check_writable().await.err();
    within(Duration::from_secs(5), "it tells", told).await;
    let again = async || store.check_writable().await.err();
    for _ in 0..3 {
        within(Duration::from_secs(3), "it tells", again).await;
    }
    let waiting: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'orders-ready-%'",
    )
    .fetch_one(store.pool())
    .await
    .unwrap();
    assert!(waiting <= 2, "{waiting} looks wait for the standby");
    pair.hold_standby(false);
    let told = async || store.check_writable().await.ok();
    within(Duration::from_secs(10), "it tells", told).await;
    assert_eq!(store.verify().await.unwrap(), []);
}

/// The session of a commit is ended while that waits for the standby: what it stored shows, and the
/// next attempt finds it. It is told once the standby has it, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_stored_is_told_when_the_standby_has_it() {
    let pair = PostgresPair::start().await;
    let store = connect(&PostgresPair::url(pair.primary_port())).await;
    store.migrate().await.unwrap();
    let service = OrderService::builder(Arc::new(store.clone())).build();
    let product = ProductRequest::new("p", "1".parse().unwrap(), 100, None).unwrap();
    let product = service.create_product(product).await.unwrap();
    let ids = IdGenerator::default();
    for is_accepted in [false, true] {
        let at = SystemClock.now();
        let order = OrderRequest::one(product.id, Quantity::new(1).unwrap())
            .into_new_order(OrderId(ids.next(at)), at);
        pair.hold_standby(true);
        let asked = tokio::spawn({
            let store = store.clone();
            async move {
                if is_accepted {
                    return store.accept(&[order]).await.unwrap().remove(0);
                }
                let sold = store.purchase(&[order], Strategy::Batch).await;
                sold.unwrap().results.remove(0)
            }
        });
        let ended = async || {
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE wait_event = 'SyncRep' AND application_name = 'orders'";
            let ended: Vec<bool> = sqlx::query_scalar(end)
                .fetch_all(store.pool())
                .await
                .unwrap();
            (!ended.is_empty()).then_some(())
        };
        within(Duration::from_secs(5), "its commit waits", ended).await;
        tokio::time::sleep(Duration::from_millis(2_000)).await;
        assert!(!asked.is_finished(), "told before the standby has it");
        pair.hold_standby(false);
        asked.await.unwrap().unwrap();
    }
    assert_eq!(store.verify().await.unwrap(), []);
}

/// Asking whether it can be written costs the database one transaction a second, at most.
#[tokio::test(flavor = "multi_thread")]
async fn all_who_ask_share_a_look() {
    const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'orders-ready-%'";
    // Its own server: what others write is not counted.
    let server = PostgresServer::start(false);
    let store = server.store().await;
    store.migrate().await.unwrap();
    let transactions = async || {
        let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
        let query = sqlx::query_scalar::<_, i64>(next).fetch_one(store.pool());
        query.await.unwrap()
    };
    store.check_writable().await.unwrap();
    let (start, before) = (Instant::now(), transactions().await);
    for _ in 0..2_000 {
        store.check_writable().await.unwrap();
    }
    let looks = i64::try_from(start.elapsed().as_secs()).unwrap() + 2;
    let written = transactions().await - before;
    // The server itself writes some, when it analyzes tables.
    assert!(
        written < looks + 200,
        "{written} transactions for {looks} looks"
    );
    let sessions: i64 = sqlx::query_scalar(SESSIONS)
        .fetch_one(store.pool())
        .await
        .unwrap();
    assert_eq!(sessions, 1);
}

/// What a session is set to holds, also when the server is told otherwise while it lives.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_keep_their_settings() {
    let server = PostgresServer::start(false);
    let store = server.store().await;
    let admin = server.url("postgres");
    let shown = async |store: &PostgresStore, name: &str| {
        let show = AssertSqlSafe(format!("SHOW {name}"));
        let shown = sqlx::query_scalar::<_, String>(show).fetch_one(store.pool());
        shown.await.unwrap()
    };
    for (name, set, kept) in [
        ("synchronous_commit", "off", "on"),
        ("synchronous_commit", "local", "on"),
        ("synchronous_commit", "remote_write", "on"),
        (
            "default_transaction_isolation",
            "'serializable'",
            "read committed",
        ),
        ("default_transaction_deferrable", "on", "off"),
        ("lock_timeout", "'1h'", "250ms"),
        ("statement_timeout", "'1h'", "30s"),
        ("idle_in_transaction_session_timeout", "'1h'", "8s"),
    ] {
        execute(&admin, &format!("ALTER SYSTEM SET {name} = {set}")).await;
        execute(&admin, "SELECT pg_reload_conf()").await;
        let in_force = async || {
            let mut connection = PgConnection::connect(&admin).await.unwrap();
            let show = AssertSqlSafe(format!("SHOW {name}"));
            let now: String = sqlx::query_scalar(show)
                .fetch_one(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
            (now == set.trim_matches('\'')).then_some(())
        };
        within(Duration::from_secs(10), name, in_force).await;
        assert_eq!(
            shown(&store, name).await,
            kept,
            "{name} = {set} in a session that was there"
        );
        let later = connect(&store_url(&server, &store).await).await;
        assert_eq!(
            shown(&later, name).await,
            kept,
            "{name} = {set} in a new session"
        );
        execute(&admin, &format!("ALTER SYSTEM RESET {name}")).await;
    }
    execute(
        &admin,
        "ALTER SYSTEM SET synchronous_commit = 'remote_apply'",
    )
    .await;
    execute(&admin, "SELECT pg_reload_conf()").await;
    let stronger = async || {
        let later = connect(&store_url(&server, &store).await).await;
        (shown(&later, "synchronous_commit").await == "remote_apply").then_some(())
    };
    within(
        Duration::from_secs(10),
        "a stronger setting is kept",
        stronger,
    )
    .await;
}

async fn store_url(server: &PostgresServer, store: &PostgresStore) -> String {
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(store.pool())
        .await
        .unwrap();
    server.url(&name)
}

/// Another process migrates for longer than anybody waits for a lock: it is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn migrating_waits_for_another_process_that_migrates() {
    let shop = shop::shop(1).await;
    let mut other = PgConnection::connect(&shop.url).await.unwrap();
    other.lock().await.unwrap();
    let start = Instant::now();
    let (migrated, ()) = tokio::join!(shop.store.migrate(), async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        other.unlock().await.unwrap();
    });
    migrated.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(6));
    // It let go of the lock.
    shop.store.migrate().await.unwrap();
}

/// A database in which not every name can be kept is refused, and what to do is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_unicode_is_refused() {
    let server = PostgresServer::shared();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("encoded_{}", encoding.to_lowercase());
        server
            .execute(format!(
                "CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
            ))
            .await;
        let url = server.url(&name);
        let refused = PostgresStore::connect(&url).await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains(encoding) && refused.contains("ENCODING 'UTF8'"),
            "{refused}"
        );
    }
}

/// Through a real pgbouncer, with what it is installed with but the mode: transactions are refused
/// with the reason, sessions sell.
#[tokio::test(flavor = "multi_thread")]
async fn pgbouncer_is_refused_unless_it_gives_sessions() {
    let shop = shop::shop(10).await;
    let postgres = PostgresServer::shared().port();
    for mode in ["transaction", "statement"] {
        let pooler = PgBouncer::start(postgres, mode);
        let url = through(&shop.url, postgres, pooler.port());
        for _ in 0..2 {
            let refused = PostgresStore::connect(&url).await;
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("pool_mode = session"), "{mode}: {refused}");
        }
    }
    let pooler = PgBouncer::start(postgres, "session");
    let store = connect(&through(&shop.url, postgres, pooler.port())).await;
    store.migrate().await.unwrap();
    for strategy in Strategy::ALL {
        let sold = store.purchase(&[shop.new_order()], strategy).await.unwrap();
        assert!(sold.results[0].is_ok());
    }
    store.accept(&[shop.new_order()]).await.unwrap();
    let decided = store.decide(Selection::Oldest(9), Strategy::Batch, SystemClock.now());
    assert_eq!(decided.await.unwrap().results.len(), 1);
    store.check_writable().await.unwrap();
    assert_eq!(store.verify().await.unwrap(), []);
}

/// A database that lets nobody in any more says so with an error that ends the session, of a code
/// that is on no list: it is away, and may come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_ended_is_transient_whatever_the_code() {
    let shop = shop::shop(1).await;
    let database = shop.url.rsplit('/').next().unwrap().to_owned();
    let admin = PostgresServer::shared().url("postgres");
    execute(
        &admin,
        &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"),
    )
    .await;
    let refused = PostgresStore::connect(&shop.url).await;
    let refused = refused.unwrap_err();
    execute(
        &admin,
        &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"),
    )
    .await;
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
}
