//! The operations that Redis fails or refuses, with the reason: logged when that changes,
//! and to whoever asks whether Redis serves.
//!
//! Calls are told apart by their operation, since a server may answer some and refuse others.

use std::{sync::Mutex, time::Duration};

use redis::RedisError;
use tokio::time::Instant;

use super::fault::Fault;
use crate::sync::lock;

/// A success counts once the last failure is as old as this: where every other call fails, as in
/// a cluster without one of its nodes, the log does not alternate.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// For how long a failure says something about now, when nothing is asked for any more.
const TELLING_FOR: Duration = Duration::from_secs(5);

/// An operation whose last call failed.
#[derive(Debug)]
struct Failing {
    operation: &'static str,
    /// The kind of failure: Redis' own code, or that it is away.
    code: String,
    /// True when any other call would have met it as well.
    is_general: bool,
    reason: String,
    last: Instant,
}

/// The failures that one client meets.
#[derive(Debug)]
pub(super) struct Condition {
    /// The purpose of the client.
    purpose: &'static str,
    /// As many as there are operations, which are few.
    failing: Mutex<Vec<Failing>>,
}

impl Condition {
    pub(super) fn new(purpose: &'static str) -> Self {
        Self {
            purpose,
            failing: Mutex::default(),
        }
    }

    pub(super) fn failed(&self, operation: &'static str, error: &RedisError) {
        let fault = Fault::of(error);
        let code = match fault {
            Fault::Connection if error.code().is_none() && error.is_io_error() => "away",
            _ => error.code().unwrap_or("refused"),
        };
        let mut failing = lock(&self.failing);
        let is_known = failing.iter().any(|known| known.code == code);
        failing.retain(|known| known.operation != operation);
        failing.push(Failing {
            operation,
            code: code.to_owned(),
            is_general: matches!(fault, Fault::Connection | Fault::Server),
            reason: error.to_string(),
            last: Instant::now(),
        });
        drop(failing);
        if !is_known {
            let purpose = self.purpose;
            tracing::warn!(purpose, operation, reason = %error, "Redis does not serve");
        }
    }

    pub(super) fn succeeded(&self, operation: &'static str) {
        let mut failing = lock(&self.failing);
        if failing.is_empty() {
            return;
        }
        failing.retain(|known| {
            let is_about_this = known.is_general || known.operation == operation;
            !is_about_this || known.last.elapsed() < SETTLED_AFTER
        });
        let is_well = failing.is_empty();
        drop(failing);
        if is_well {
            tracing::info!(purpose = self.purpose, "Redis serves again");
        }
    }

    /// True when Redis was away at the last call.
    pub(super) fn is_away(&self) -> bool {
        let failing = lock(&self.failing);
        failing.iter().any(|known| known.is_general)
    }

    /// The reason for which an operation failed lately, if one did.
    pub(super) fn trouble(&self) -> Option<String> {
        let failing = lock(&self.failing);
        let mut lately = failing.iter().filter(|f| f.last.elapsed() < TELLING_FOR);
        let Failing {
            operation, reason, ..
        } = lately.next()?;
        Some(format!("{} {operation}: {reason}", self.purpose))
    }
}
