//! Load in an open loop: each request is sent when its time has come, whether or not the ones
//! before it are answered, as independent clients do.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::http::{Connection, Request};

/// The time limit for an answer.
const LIMIT: Duration = Duration::from_secs(30);

/// The answer to a request, with its times.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// When it was due, from the start.
    pub due: Duration,
    /// From when it was due until the answer was there.
    pub took: Duration,
    /// The status of the answer.
    pub status: u16,
}

/// Sends `request` so many times a second over `connections`, which have to be more than are
/// ever under way: waiting for a free one counts as waiting for the answer.
/// Returns the answers in the order in which their requests were due.
///
/// # Errors
/// When a connection fails.
pub async fn open_loop(
    address: SocketAddr,
    request: &Request,
    connections: usize,
    per_second: f64,
    time: Duration,
) -> anyhow::Result<Vec<Answer>> {
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(Connection::open(address).await?);
    }
    let next = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for mut connection in open {
        let (request, next) = (request.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            let mut answers = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let due = Duration::from_secs_f64(f64::from(number) / per_second);
                if due >= time {
                    return anyhow::Ok(answers);
                }
                sleep_until(start + due).await;
                let (status, _) = timeout(LIMIT, connection.exchange(&request)).await??;
                let took = start.elapsed() - due;
                answers.push(Answer { due, took, status });
            }
        });
    }
    let mut answers = Vec::new();
    while let Some(task) = tasks.join_next().await {
        answers.extend(task??);
    }
    answers.sort_by_key(|answer| answer.due);
    Ok(answers)
}
