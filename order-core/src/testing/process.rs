//! What private servers have in common.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

/// A port that nobody listens on, at this moment.
///
/// # Panics
/// When loopback has none.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("loopback has a free port")
        .port()
}

/// Asks again and again, for as long as `limit`, whether something is done.
pub(super) fn wait_until(limit: Duration, done: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
