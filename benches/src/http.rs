//! Load over HTTP: connections that are kept open, each with one request under way.
//!
//! The client shares the machine with what it measures. So it does as little as it can: the
//! request is bytes made once, and of an answer only the status and the length are read.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use order_core::bench::Sample;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// The time limit for an answer.
const LIMIT: Duration = Duration::from_secs(30);

/// A request, as bytes.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    /// The status that counts as success.
    status: u16,
}

impl Request {
    /// Reads `path`.
    #[must_use]
    pub fn get(path: &str) -> Self {
        let bytes = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes();
        Self { bytes, status: 200 }
    }

    /// The same with a header more.
    #[must_use]
    pub fn get_with(path: &str, header: &str) -> Self {
        let bytes = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n\r\n");
        Self {
            bytes: bytes.into_bytes(),
            status: 200,
        }
    }

    /// Sends JSON to `path`, and expects `status`.
    #[must_use]
    pub fn post(path: &str, json: &str, status: u16) -> Self {
        let bytes = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{json}",
            json.len()
        )
        .into_bytes();
        Self { bytes, status }
    }
}

/// A connection that is kept open.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4_096),
        })
    }

    /// Sends a request and reads its answer: the body.
    ///
    /// # Errors
    /// When the connection fails, or another status than the expected one comes back.
    pub async fn send(&mut self, request: &Request) -> anyhow::Result<&[u8]> {
        let (status, body) = self.exchange(request).await?;
        ensure!(
            status == request.status,
            "answered {status}: {}",
            String::from_utf8_lossy(body)
        );
        Ok(body)
    }

    /// Sends a request and reads its answer, whatever it is: status and body.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn exchange(&mut self, request: &Request) -> anyhow::Result<(u16, &[u8])> {
        self.stream.write_all(&request.bytes).await?;
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the server closed the connection");
            let Some((status, head, length)) = head(&self.buffer)? else {
                continue;
            };
            while self.buffer.len() < head + length {
                let read = self.stream.read_buf(&mut self.buffer).await?;
                ensure!(read > 0, "the server closed the connection");
            }
            return Ok((status, &self.buffer[head..]));
        }
    }
}

/// An answer that goes on, read as it comes.
#[derive(Debug)]
pub struct Stream {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Stream {
    /// Sends a request on a connection of its own.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(address: SocketAddr, request: &Request) -> anyhow::Result<Self> {
        let Connection { mut stream, buffer } = Connection::open(address).await?;
        stream.write_all(&request.bytes).await?;
        Ok(Self { stream, buffer })
    }

    /// Reads on until `text` has come.
    ///
    /// # Errors
    /// When the answer ends before, or does not go on.
    pub async fn until(&mut self, text: &str) -> anyhow::Result<()> {
        let is_there = |buffer: &[u8]| {
            let mut windows = buffer.windows(text.len());
            windows.any(|window| window == text.as_bytes())
        };
        while !is_there(&self.buffer) {
            let read = self.stream.read_buf(&mut self.buffer);
            let read = tokio::time::timeout(LIMIT, read).await??;
            ensure!(read > 0, "the answer ended before {text}");
        }
        Ok(())
    }
}

/// Status, length of the head and length of the body, once the head is there.
fn head(bytes: &[u8]) -> anyhow::Result<Option<(u16, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .context("the answer has no content-length")?;
    let length = std::str::from_utf8(length.value)?.parse()?;
    Ok(Some((response.code.unwrap_or_default(), head, length)))
}

/// The amount of load.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// So many requests in all.
    Requests(usize),
    /// As many as there are answers in that time.
    Time(Duration),
}

/// Sends `request` over `connections`, spread over `servers`; each request counts as
/// `orders` orders. Connecting is not measured.
///
/// # Errors
/// The first that any request meets.
pub async fn load(
    servers: &[SocketAddr],
    request: &Request,
    connections: usize,
    amount: Amount,
    orders: usize,
) -> anyhow::Result<Sample> {
    let requests = std::slice::from_ref(request);
    load_each(servers, requests, connections, amount, orders).await
}

/// The same with several requests, which are sent one after the other, and then again: each once,
/// when there are to be as many requests as these are.
///
/// # Errors
/// The same.
pub async fn load_each(
    servers: &[SocketAddr],
    requests: &[Request],
    connections: usize,
    amount: Amount,
    orders: usize,
) -> anyhow::Result<Sample> {
    let mut open = Vec::with_capacity(connections);
    for address in servers.iter().cycle().take(connections) {
        open.push(Connection::open(*address).await?);
    }
    let left = AtomicUsize::new(match amount {
        Amount::Requests(requests) => requests,
        Amount::Time(_) => usize::MAX,
    });
    let (left, requests) = (Arc::new(left), Arc::<[Request]>::from(requests));
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    let end = match amount {
        Amount::Time(time) => start + time,
        Amount::Requests(_) => start + LIMIT * 10,
    };
    for mut connection in open {
        let (requests, left) = (Arc::clone(&requests), Arc::clone(&left));
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < end
                && let Some(left) = take_one(&left)
            {
                let request = requests.get(left % requests.len());
                let request = request.context("there is no request")?;
                let sent = Instant::now();
                tokio::time::timeout(LIMIT, connection.send(request)).await??;
                latencies.push(sent.elapsed());
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(task) = tasks.join_next().await {
        latencies.extend(task??);
    }
    Ok(Sample {
        orders: latencies.len() * orders,
        elapsed: start.elapsed(),
        latencies,
    })
}

/// Takes one of those that are left, if any are: how many there were.
fn take_one(left: &AtomicUsize) -> Option<usize> {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(1)
    })
    .ok()
}
