//! What the server bears: slow clients, many of them, large requests, and slow answers.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod program;
mod shop;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use order_core::{store::PostgresStore, testing::PostgresServer};
use order_server::config::HttpLimits;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use program::Program;
use shop::Shop;

async fn connect(shop: &Shop) -> TcpStream {
    let address = shop.origin.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// All that the server sends until it closes, and how long that took.
async fn rest(mut stream: TcpStream) -> (String, Duration) {
    let start = Instant::now();
    let mut bytes = Vec::new();
    // A reset is a way to close, too.
    let read = stream.read_to_end(&mut bytes);
    let _ = timeout(Duration::from_secs(20), read).await.unwrap();
    (String::from_utf8(bytes).unwrap(), start.elapsed())
}

/// Sends `text`, and then one more byte again and again, until the server closes.
fn trickle(mut stream: TcpStream, text: &'static str) -> JoinHandle<(String, Duration)> {
    tokio::spawn(async move {
        let start = Instant::now();
        stream.write_all(text.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let drip = async {
            while writer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut bytes = Vec::new();
        tokio::select! {
            () = drip => {}
            _ = reader.read_to_end(&mut bytes) => {}
        }
        (String::from_utf8(bytes).unwrap(), start.elapsed())
    })
}

/// The head and the problem of an answer as it went over the wire.
fn parts(answer: &str) -> (&str, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let body = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    (head, body)
}

const SLOW: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_keep_nobody_out_and_are_cut_off() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits {
        header_timeout_ms: 3_000,
        ..HttpLimits::default()
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(trickle(
            connect(&shop).await,
            "GET /health HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
        ));
    }
    let start = Instant::now();
    let served = shop.get("/products").await;
    assert_eq!(served.status, 200);
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    for slow in slow {
        let ended = timeout(Duration::from_secs(10), slow).await;
        let (answer, took) = ended.expect("cut off").unwrap();
        assert_eq!(answer, "");
        assert!(took >= Duration::from_secs(2), "{took:?}");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_told_so_and_room_comes_back() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits {
        max_connections: 10,
        header_timeout_ms: 4_000,
        ..HttpLimits::default()
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(connect(&shop).await);
    }
    let start = Instant::now();
    let (answer, took) = rest(connect(&shop).await).await;
    let (head, problem) = parts(&answer);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("application/problem+json") && head.contains("retry-after: 1"));
    assert_eq!(
        (&problem["code"], &problem["status"]),
        (&json!("overloaded"), &json!(503))
    );
    assert!(took < Duration::from_millis(3_900), "{took:?}");
    loop {
        let request = shop.client.get(shop.url("/health")).send().await;
        if request.is_ok_and(|answer| answer.status() == 200) {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "no room again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(start.elapsed() >= Duration::from_millis(3_900), "too soon");
    shop.close().await;
}

/// Sends a request, and reads the answer.
async fn ask(stream: &mut TcpStream) {
    let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("{\"status\":\"ok\"}") {
        let mut part = [0; 1_024];
        let read = stream.read(&mut part).await.unwrap();
        assert!(read > 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&part[..read]).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn for_a_connection_too_many_of_an_address_the_longest_idle_one_gives_way() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits {
        max_connections_per_address: Some(3),
        ..HttpLimits::default()
    })
    .await;
    // The server notes the end of a request a moment after the answer is here.
    let noted = || tokio::time::sleep(Duration::from_millis(300));
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&shop).await;
        ask(&mut stream).await;
        noted().await;
        streams.push(stream);
    }
    ask(&mut streams[0]).await;
    noted().await;
    let mut further = connect(&shop).await;
    ask(&mut further).await;
    let (told, took) = rest(streams.remove(1)).await;
    assert_eq!(told, "");
    assert!(took < Duration::from_secs(5), "{took:?}");
    streams.push(further);
    for stream in &mut streams {
        ask(stream).await;
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_cut_off() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits {
        request_timeout_ms: 700,
        ..HttpLimits::default()
    })
    .await;
    for framing in ["content-length: 100000", "transfer-encoding: chunked"] {
        let chunk = if framing.starts_with("content") {
            "{"
        } else {
            "186a0\r\n{"
        };
        let text = format!(
            "POST /api/v1/orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             prefer: wait=20\r\n{framing}\r\n\r\n{chunk}"
        );
        let slow = trickle(connect(&shop).await, text.leak());
        let ended = timeout(Duration::from_secs(10), slow).await;
        let (answer, took) = ended.expect("cut off").unwrap();
        let (head, problem) = parts(&answer);
        assert!(head.starts_with("HTTP/1.1 408 "), "{framing}: {head}");
        assert!(head.contains("application/problem+json"), "{head}");
        assert_eq!(problem["code"], "request_timeout");
        assert!(took >= Duration::from_millis(700), "{took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    shop.close().await;
}

/// A purchase whose statement waits for a lock (of the table, so that it is not set aside): it is
/// answered in time, and what it began is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_given_up_and_the_work_is_done() {
    let url = PostgresServer::shared().database().await;
    let limits = HttpLimits {
        request_timeout_ms: 500,
        ..HttpLimits::default()
    };
    let shop = Shop::open_with(&url, None, limits).await;
    let id = shop.product("p", 5).await;
    let store = PostgresStore::connect(&url).await.unwrap();
    let mut locking = store.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE products IN EXCLUSIVE MODE")
        .execute(&mut *locking)
        .await
        .unwrap();
    let order = json!({"product_id": id, "quantity": 1});
    let start = Instant::now();
    let late = shop.post("/orders/purchase", &order).await;
    assert_eq!((late.status, late.header("retry-after")), (503, "1".into()));
    late.is_problem("timeout");
    assert!(start.elapsed() < Duration::from_secs(3));
    // Where waiting means nothing, being ready to wait does not help.
    let start = Instant::now();
    let product = json!({"name": "q", "price": 1, "stock": 1});
    let headers = [("prefer", "wait=20")];
    let late = shop.send("POST", "/products", &headers, Some(&product));
    late.await.is_problem("timeout");
    assert!(start.elapsed() < Duration::from_secs(3));
    // Who is ready to wait gets the time.
    let patient = shop.send(
        "POST",
        "/orders/purchase",
        &[("prefer", "wait=20")],
        Some(&order),
    );
    let release = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        locking.rollback().await.unwrap();
    };
    let (patient, ()) = tokio::join!(patient, release);
    assert_eq!(patient.status, 201, "{}", patient.body);
    let product = shop.get(&format!("/products/{id}")).await;
    assert_eq!(product.body["stock"], 3, "the late one was done, too");
    assert_eq!(shop.verify().await, []);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_heads_are_refused() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let ask = async |bytes: usize| {
        let padding = "x".repeat(bytes);
        let headers = [("x-padding", padding.as_str())];
        shop.send("GET", "/products", &headers, None).await
    };
    assert_eq!(ask(15_000).await.status, 200);
    for bytes in [17_000, 60_000] {
        let refused = ask(bytes).await;
        assert_eq!(refused.status, 431);
        refused.is_problem("request_header_fields_too_large");
    }
    let long_path = format!("/products?search={}", "x".repeat(17_000));
    assert_eq!(shop.get(&long_path).await.status, 431);
    // Past what is read at all, the answer has no body.
    let mut stream = connect(&shop).await;
    let head = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx-padding: {}",
        "x".repeat(1 << 17)
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let (answer, took) = rest(stream).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(ask(1).await.status, 200);
    shop.close().await;
}

/// Who asks before sending is told at once, and does not send in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    for (path, bytes) in [("orders", (1 << 20) + 1), ("orders/bulk", (8 << 20) + 1)] {
        let mut stream = connect(&shop).await;
        let head = format!(
            "POST /api/v1/{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             expect: 100-continue\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (answer, _) = rest(stream).await;
        let (head, problem) = parts(&answer);
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
        assert_eq!(problem["code"], "payload_too_large");
    }
    shop.close().await;
}

/// A process that may open few files takes fewer connections, so that it can reach its
/// database; one that may open more than it usually does, asks for them.
#[test]
fn connections_leave_descriptors_for_the_rest() {
    for (limits, allowed) in [
        ("ulimit -n 300", Some("connections=44 wanted=1000")),
        ("ulimit -Sn 300", None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let program = env!("CARGO_BIN_EXE_order-server");
        let server =
            format!("{limits} && exec {program} --bind-addr 127.0.0.1:0 --max-connections 1000");
        let mut process = Command::new("sh")
            .args(["-c", &server])
            .current_dir(dir.path())
            .env_remove("DATABASE_URL")
            .env("RUST_LOG", "info")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = String::new();
        for line in BufReader::new(process.stderr.take().unwrap()).lines() {
            told.push_str(&line.unwrap());
            if told.contains("listening") {
                break;
            }
        }
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(told.contains("listening"), "{told}");
        match allowed {
            Some(allowed) => assert!(told.contains(allowed), "{told}"),
            None => assert!(!told.contains("wanted="), "{told}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_many_requests_in_both_versions() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits {
        max_connections: 2,
        ..HttpLimits::default()
    })
    .await;
    let newer = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    for _ in 0..50 {
        assert_eq!(shop.get("/products").await.status, 200);
        let answer = newer.get(shop.url("/products")).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.version()),
            (200, reqwest::Version::HTTP_2)
        );
    }
    shop.close().await;
}

/// Many large bodies on one connection take no more memory than a caller's share of the room.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn many_large_bodies_take_no_more_than_their_room() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path()).await;
    let bulk = json!({"orders": [{"product_id": program.product(1).await, "quantity": 1}]});
    let body = bytes::Bytes::from(bulk.to_string() + &" ".repeat(8_000_000));
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let client = client.build().unwrap();
    let before = program.peak_mib();
    let sending = (0..30).map(|_| {
        let request = client.post(format!("{}/orders/bulk", program.origin));
        let request = request.header("content-type", "application/json");
        request.body(body.clone()).send()
    });
    let answers = futures_util::future::join_all(sending).await;
    // A reset is a refusal, too.
    let status = |answer: reqwest::Result<reqwest::Response>| {
        answer.map_or(503, |answer| answer.status().as_u16())
    };
    let answers: Vec<u16> = answers.into_iter().map(status).collect();
    let refused = answers.iter().filter(|status| **status == 503).count();
    let accepted = answers.iter().filter(|status| **status == 202).count();
    let took = program.peak_mib() - before;
    println!("30 bodies of 8 MB took {took} MiB, and {refused} were refused");
    assert_eq!(accepted + refused, 30, "{answers:?}");
    assert!(accepted > 0 && refused > 0, "{answers:?}");
    assert!(took < 100, "{took} MiB");
}
