//! Connections that die, at every point where they can.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use order_core::{
    Error, OrderService, WorkerOptions,
    domain::{
        AdjustmentId, ClientId, HoldTime, KeyId, NewOrder, OrderId, OrderRequest, OrderStatus,
        ProductChange, ProductId, ProductRequest, Quantity, RequestedLine, ReturnId, ReturnRequest,
        StockRequest,
    },
    keys::{Client, KeyRequest, KeyStore, Scope, Secret},
    process::{AttemptOutcome, Claim, TaskState, TaskStore},
    store::{ConnectOptions, OrderStore, PostgresStore, ProductStore, Selection, Store, Strategy},
    testing::{
        PostgresServer,
        load::{Load, Shop, check, create_products, place_orders, wait_until_decided},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Sessions are ended all the time under a load: every request is answered rightly.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_served_exactly_while_sessions_are_ended() {
    let url = PostgresServer::shared().database().await;
    let store = PostgresStore::connect(&url).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    // Every order is served, however long that takes.
    let service = OrderService::builder(Arc::clone(&store))
        .max_wait(Duration::MAX)
        .build();
    let load = Load::STANDARD;
    let products = create_products(&service, load).await;
    let stop = CancellationToken::new();
    let worker = service.worker(WorkerOptions::default());
    let decide = tokio::spawn({
        let stop = stop.clone();
        async move { worker.run(stop).await }
    });
    let end_sessions = tokio::spawn(end_sessions(url, stop.clone()));
    let shop: Arc<dyn Shop> = Arc::new(service.clone());
    let told = place_orders(&[shop], &products, load).await;
    wait_until_decided(&store, Duration::from_secs(60)).await;
    stop.cancel();
    decide.await.unwrap();
    assert!(
        end_sessions.await.unwrap() >= 5,
        "too few sessions were ended to tell"
    );
    check(&store, &products, load, &told).await;
}

/// Ends every session that is in the middle of something, and again as soon as something was
/// sold since, however fast the machine is; how many those were.
async fn end_sessions(url: String, stop: CancellationToken) -> usize {
    let store = PostgresStore::connect(&url).await.unwrap();
    let (mut ended, mut sold) = (0, 0);
    while !stop.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(25)).await;
        let versions: i64 = sqlx::query_scalar("SELECT sum(version)::bigint FROM products")
            .fetch_one(store.pool())
            .await
            .unwrap();
        if std::mem::replace(&mut sold, versions) == versions {
            continue;
        }
        let hits: Vec<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'",
        )
        .fetch_all(store.pool())
        .await
        .unwrap();
        ended += hits.len();
    }
    ended
}

/// What the wire does to one message.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// It never arrives.
    Request,
    /// It arrives, and its answer never does: a commit's outcome is unknown.
    Answer,
    /// It arrives, and the answer is that the session was ended, with a code that is on no list.
    Fatal,
}

/// A connection is cut at every message of every operation, before and after the message
/// arrives. Each operation succeeds all the same, and has happened exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_happens_once_wherever_the_connection_is_cut() {
    let (port, wire) = wire_to(PostgresServer::shared().port()).await;
    let url = PostgresServer::shared().database().await;
    let direct: PostgresStore = PostgresStore::connect(&url).await.unwrap();
    let through = url.replace(
        &format!(":{}/", PostgresServer::shared().port()),
        &format!(":{port}/"),
    );
    let mut cuts = 0;
    for strategy in Strategy::ALL {
        for cut in [Cut::Request, Cut::Answer, Cut::Fatal] {
            if matches!(cut, Cut::Fatal) && strategy != Strategy::Batch {
                continue;
            }
            for message in 1..=16 {
                let options = ConnectOptions::default().with_max_connections(1);
                let store = PostgresStore::connect_with(&through, options)
                    .await
                    .unwrap();
                cuts += history(&store, &direct, &wire, (cut, message), strategy).await;
            }
        }
    }
    assert!(cuts > 200, "only {cuts} operations were cut");
    assert_eq!(direct.verify().await.unwrap(), []);
}

/// Creates, stocks up, buys both ways, decides and cancels, each with a cut at the given
/// message; how many of them were really cut.
async fn history(
    store: &PostgresStore,
    direct: &PostgresStore,
    wire: &Wire,
    cut: (Cut, i64),
    strategy: Strategy,
) -> i64 {
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let id = ProductId(Uuid::now_v7_for_tests());
    let product = ProductRequest::new("p", "1".parse().unwrap(), 10, None)
        .unwrap()
        .into_new_product(id, AdjustmentId(Uuid::now_v7_for_tests()), at);
    let mut cuts = 0;
    let stock = async || direct.product(id).await.unwrap().unwrap().stock;

    wire.cut(cut);
    store.create_product(&product).await.unwrap();
    cuts += wire.was_cut();
    assert_eq!(stock().await, 10);

    let adjustment = StockRequest::new(5, None).unwrap().into_adjustment(
        AdjustmentId(Uuid::now_v7_for_tests()),
        id,
        at,
    );
    wire.cut(cut);
    store.adjust_stock(&adjustment).await.unwrap();
    cuts += wire.was_cut();
    assert_eq!(stock().await, 15);

    cuts += updates(store, wire, cut, id).await;
    cuts += keys(store, direct, wire, cut).await;

    let order = || {
        OrderRequest::one(id, Quantity::new(2).unwrap())
            .into_new_order(OrderId(Uuid::now_v7_for_tests()), at)
    };
    let sold = order();
    wire.cut(cut);
    let result = store.purchase(std::slice::from_ref(&sold), strategy).await;
    let result = result.unwrap().results.remove(0).unwrap();
    cuts += wire.was_cut();
    assert_eq!(result.status, OrderStatus::Success);
    assert_eq!(direct.order(sold.id()).await.unwrap(), Some(result));
    assert_eq!(stock().await, 18);

    let accepted = order();
    wire.cut(cut);
    let result = store.accept(std::slice::from_ref(&accepted)).await;
    let result = result.unwrap().remove(0).unwrap();
    cuts += wire.was_cut();
    assert_eq!(direct.order(accepted.id()).await.unwrap(), Some(result));

    wire.cut(cut);
    let oldest = async || store.decide(Selection::Oldest(9), strategy, at).await;
    oldest().await.unwrap();
    cuts += wire.was_cut();
    // The connection that was cut may hold the product until the server notices: then the order is
    // set aside, and decided later.
    let limit = tokio::time::Instant::now() + Duration::from_secs(10);
    let is_pending = async || {
        let order = direct.order(accepted.id()).await.unwrap().unwrap();
        order.status == OrderStatus::Pending
    };
    while is_pending().await && tokio::time::Instant::now() < limit {
        tokio::time::sleep(Duration::from_millis(50)).await;
        oldest().await.unwrap();
    }
    let decided = direct.order(accepted.id()).await.unwrap().unwrap();
    assert_eq!(decided.status, OrderStatus::Success);
    assert_eq!(stock().await, 16);

    cuts += give_one_back(store, wire, cut, &sold).await;
    assert_eq!(stock().await, 17);

    wire.cut(cut);
    let cancelled = store.cancel(sold.id(), at, None).await.unwrap().unwrap();
    cuts += wire.was_cut();
    assert_eq!(cancelled.order.status, OrderStatus::Cancelled);
    assert_eq!(stock().await, 18);

    cuts += tasks([store, direct], wire, cut, accepted.id()).await;
    cuts += holds([store, direct], wire, cut, id).await;

    wire.cut(cut);
    assert!(store.archive_product(id, &[], at).await.unwrap());
    cuts + wire.was_cut()
}

/// Gives back one of two pieces of an order; how often it was cut.
async fn give_one_back(
    store: &PostgresStore,
    wire: &Wire,
    cut: (Cut, i64),
    sold: &NewOrder,
) -> i64 {
    let one = RequestedLine {
        quantity: Quantity::new(1).unwrap(),
        ..sold.lines()[0]
    };
    let id = ReturnId(Uuid::now_v7_for_tests());
    let back = ReturnRequest::new(vec![one]).unwrap();
    let back = back.into_return(id, sold.id(), sold.created_at());
    wire.cut(cut);
    let given = store.give_back(&back).await.unwrap().unwrap();
    assert_eq!(given.order.lines[0].cancelled_quantity, 1);
    wire.was_cut()
}

/// Updates a product at version 2 twice, to 20 pieces and another price; how many of the two
/// were really cut.
async fn updates(store: &PostgresStore, wire: &Wire, cut: (Cut, i64), id: ProductId) -> i64 {
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let mut cuts = 0;
    let change = ProductChange::default()
        .stock(20)
        .unwrap()
        .expect_version(2);
    let update_id = AdjustmentId(Uuid::now_v7_for_tests());
    wire.cut(cut);
    let updated = store.update_product(id, &change, update_id, at).await;
    cuts += wire.was_cut();
    assert_eq!(
        updated.unwrap().map(|p| (p.version, p.stock)),
        Some((3, 20))
    );
    let change = ProductChange::default()
        .price("2".parse().unwrap())
        .unwrap();
    let update_id = AdjustmentId(Uuid::now_v7_for_tests());
    wire.cut(cut);
    let updated = store.update_product(id, &change, update_id, at).await;
    cuts += wire.was_cut();
    assert_eq!(updated.unwrap().map(|p| p.version), Some(4));
    cuts
}

/// Fails, puts back and does a sold order's task; how many of the steps were really cut.
async fn tasks(
    [store, direct]: [&PostgresStore; 2],
    wire: &Wire,
    cut: (Cut, i64),
    id: OrderId,
) -> i64 {
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let mut cuts = 0;
    let fails = AttemptOutcome::Dead("broken".to_owned());
    for (ending, completed) in [
        (fails, OrderStatus::Success),
        (AttemptOutcome::Done, OrderStatus::Completed),
    ] {
        let claim = Claim {
            id: Uuid::now_v7_for_tests(),
            worker_id: Uuid::nil(),
            max: 1,
            ahead: 0,
            delay: Duration::ZERO,
            lease: Duration::from_secs(30),
        };
        let claimed = direct.claim_tasks(&claim).await.unwrap().remove(0);
        assert_eq!(claimed.lease.order_id, id);
        let ended = claimed.result(Uuid::nil(), Duration::ZERO, ending.clone());
        wire.cut(cut);
        store.end_tasks(&[ended], at).await.unwrap();
        cuts += wire.was_cut();
        assert_eq!(direct.order(id).await.unwrap().unwrap().status, completed);
        if ending != AttemptOutcome::Done {
            wire.cut(cut);
            let put = store.put_task(id).await.unwrap().unwrap();
            cuts += wire.was_cut();
            assert_eq!((put.state, put.attempts), (TaskState::Waiting, 0));
        }
    }
    let history = direct.task_history(id).await.unwrap().unwrap();
    assert_eq!((history.attempts.len(), history.task), (1, None));
    cuts
}

/// Holds a piece, and extends and confirms the order as it was seen; how many of the three were really
/// cut. What was done in doubt is not taken for a change by somebody else.
async fn holds(
    [store, direct]: [&PostgresStore; 2],
    wire: &Wire,
    cut: (Cut, i64),
    product: ProductId,
) -> i64 {
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let [short, long] = [60, 600].map(|seconds| HoldTime::new(seconds).unwrap());
    let order = OrderRequest::one(product, Quantity::new(1).unwrap()).held_for(Some(short));
    let order = order.into_new_order(OrderId(Uuid::now_v7_for_tests()), at);
    let mut cuts = 0;
    wire.cut(cut);
    let held = store.purchase(std::slice::from_ref(&order), Strategy::Batch);
    let held = held.await.unwrap().results.remove(0).unwrap();
    cuts += wire.was_cut();
    wire.cut(cut);
    let extended = store.extend_if(held.id, long, &[held.version()]).await;
    let extended = extended.unwrap().unwrap();
    cuts += wire.was_cut();
    assert_eq!(
        direct.order(held.id).await.unwrap().as_ref(),
        Some(&extended)
    );
    wire.cut(cut);
    let confirmed = store.confirm_if(held.id, at, &[extended.version()]).await;
    let confirmed = confirmed.unwrap().unwrap();
    cuts += wire.was_cut();
    assert_eq!(confirmed.status, OrderStatus::Success);
    assert_eq!(direct.order(held.id).await.unwrap(), Some(confirmed));
    direct.cancel(held.id, at, None).await.unwrap().unwrap();
    cuts
}

/// Makes a client and a key, and revokes it; how many of the three were really cut.
async fn keys(store: &PostgresStore, direct: &PostgresStore, wire: &Wire, cut: (Cut, i64)) -> i64 {
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let id = KeyId(Uuid::now_v7_for_tests());
    let request = KeyRequest::new("key", Scope::ALL.into_iter().collect()).unwrap();
    let client = Client::new(ClientId(id.0), id.to_string(), at).unwrap();
    let key = request.into_hashed_key(id, &client, &Secret::generate().unwrap(), at);
    let mut cuts = 0;
    wire.cut(cut);
    assert_eq!(store.create_client(&client).await.unwrap(), client);
    cuts += wire.was_cut();
    wire.cut(cut);
    store.create_key(&key).await.unwrap();
    cuts += wire.was_cut();
    let stored = async || direct.keys().await.unwrap().remove(0);
    assert_eq!(stored().await, key.key);
    wire.cut(cut);
    let revoked = store.revoke_key(id, at).await.unwrap().unwrap();
    cuts += wire.was_cut();
    assert_eq!(revoked.revoked_at, Some(at));
    assert_eq!(stored().await, revoked);
    cuts
}

trait NewId {
    fn now_v7_for_tests() -> Uuid;
}

impl NewId for Uuid {
    #[allow(clippy::disallowed_methods)] // A test needs some new id, whatever the time.
    fn now_v7_for_tests() -> Uuid {
        Uuid::now_v7()
    }
}

/// The state of the wire: after how many messages from the client it cuts. Positive: drops the
/// answer to that message; negative: the message itself; 0: none.
#[derive(Clone)]
struct Wire {
    countdown: Arc<AtomicI64>,
    /// Whether the answer that is dropped is replaced by the end of the session.
    ends_session: Arc<AtomicBool>,
}

impl Wire {
    fn cut(&self, (cut, message): (Cut, i64)) {
        let countdown = match cut {
            Cut::Answer | Cut::Fatal => message,
            Cut::Request => -message,
        };
        let is_fatal = matches!(cut, Cut::Fatal);
        self.ends_session.store(is_fatal, Ordering::SeqCst);
        self.countdown.store(countdown, Ordering::SeqCst);
    }

    /// 1 when the cut came, 0 when the operation was over before; disarms.
    fn was_cut(&self) -> i64 {
        i64::from(self.countdown.swap(0, Ordering::SeqCst) == 0)
    }

    /// Counts a message; what to do with it.
    fn next(&self) -> Option<Cut> {
        let step = |left: i64| match left {
            0 => None,
            _ => Some(left - left.signum()),
        };
        match self
            .countdown
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, step)
        {
            Ok(1) if self.ends_session.load(Ordering::SeqCst) => Some(Cut::Fatal),
            Ok(1) => Some(Cut::Answer),
            Ok(-1) => Some(Cut::Request),
            _ => None,
        }
    }
}

/// A TCP proxy to `port`: what one read gives is one message, as the driver writes it.
async fn wire_to(port: u16) -> (u16, Wire) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own_port = listener.local_addr().unwrap().port();
    let wire = Wire {
        countdown: Arc::new(AtomicI64::new(0)),
        ends_session: Arc::default(),
    };
    let cuts = wire.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(carry(client, server, cuts.clone()));
        }
    });
    (own_port, wire)
}

async fn carry(mut client: TcpStream, mut server: TcpStream, wire: Wire) -> std::io::Result<()> {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            sent = client.read(&mut up) => {
                let sent = sent?;
                let cut = wire.next();
                if sent == 0 || matches!(cut, Some(Cut::Request)) {
                    return Ok(());
                }
                server.write_all(&up[..sent]).await?;
                if matches!(cut, Some(Cut::Answer | Cut::Fatal)) {
                    // The server has acted once it answers.
                    let _ = server.read(&mut down).await?;
                    if matches!(cut, Some(Cut::Fatal)) {
                        client.write_all(&end_of_session()).await?;
                    }
                    return Ok(());
                }
            }
            answered = server.read(&mut down) => {
                let answered = answered?;
                if answered == 0 {
                    return Ok(());
                }
                client.write_all(&down[..answered]).await?;
            }
        }
    }
}

/// What a server says that ends the session by an internal error.
fn end_of_session() -> Vec<u8> {
    let fields = b"SFATAL\0VFATAL\0CXX000\0Mended\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    [b"E".as_slice(), &length, fields].concat()
}

/// Without a database, the answer is that it is away: soon, and transient.
#[tokio::test]
async fn a_database_that_is_away_is_a_transient_error() {
    let options = ConnectOptions::default().with_acquire_timeout(Duration::from_millis(200));
    let away = PostgresStore::connect_with("postgres://nobody@127.0.0.1:9/none", options).await;
    let error = away.unwrap_err();
    assert!(
        matches!(error, Error::Unavailable { .. }) && error.is_transient(),
        "{error:?}"
    );
}
