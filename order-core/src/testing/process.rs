//! Processes that a test starts, and what private servers have in common.

use std::{
    net::TcpListener,
    process::{Child, Command},
    time::{Duration, Instant},
};

/// A process that does not outlive its test: dropped, it is killed (SIGKILL)
/// and waited for.
#[derive(Debug)]
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Sends SIGTERM, as whoever runs services does to stop one.
    ///
    /// # Panics
    /// When the signal does not reach it, because it ended and somebody waited for that.
    pub fn ask_to_end(&self) {
        send_signal("TERM", &self.0.id().to_string());
    }
}

/// Sends a signal by the program `kill`: the standard library knows no other than SIGKILL.
pub(super) fn send_signal(name: &str, pid: &str) {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}")).arg(pid);
    assert!(
        kill.status().unwrap().success(),
        "{name} reaches process {pid}"
    );
}

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
