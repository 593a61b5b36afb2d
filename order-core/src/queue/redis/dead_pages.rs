//! The dead letters of a topic, page by page: a sorted set by the time in ms, and those of one ms by
//! the text of their order, all backwards.

use chrono::DateTime;
use redis::Cmd;
use uuid::Uuid;

use super::keys::hex;
use crate::{
    domain::OrderId,
    queue::{DeadLetter, DeadPlace},
};

/// The most letters that one question is about.
const SLICE: usize = 1_000;

/// What was read so far.
pub(super) struct DeadPages {
    /// The last letter that is not to be given, if there is one.
    after: Option<(i64, String)>,
    /// How many were read since, those before it included.
    offset: usize,
}

impl DeadPages {
    pub(super) fn after(place: Option<DeadPlace>) -> Self {
        Self {
            after: place.map(|(at, order)| (at.timestamp_millis(), hex(order))),
            offset: 0,
        }
    }

    /// The question for the next page.
    pub(super) fn next(&self, key: &str) -> Cmd {
        let mut latest = redis::cmd("ZREVRANGEBYSCORE");
        latest.arg(key);
        match &self.after {
            Some((at_ms, _)) => latest.arg(at_ms),
            None => latest.arg("+inf"),
        };
        latest.arg("-inf").arg("WITHSCORES");
        latest.arg("LIMIT").arg(self.offset).arg(SLICE);
        latest
    }

    /// The letters of a page, as they were answered, that are to be given.
    pub(super) fn following(&mut self, page: Vec<(String, i64)>) -> Vec<(String, i64)> {
        self.offset += page.len();
        let is_after = |(order, at_ms): &(String, i64)| match &self.after {
            Some((last_ms, last)) => at_ms < last_ms || order < last,
            None => true,
        };
        page.into_iter().filter(is_after).collect()
    }
}

/// An order that was given up; `None` when it cannot be read.
pub(super) fn dead_letter(order: &str, at_ms: i64, reason: &str) -> Option<DeadLetter> {
    let (attempts, reason) = reason.split_once(' ').unwrap_or(("0", ""));
    Some(DeadLetter {
        order_id: OrderId(Uuid::try_parse(order).ok()?),
        reason: reason.to_owned(),
        attempts: attempts.parse().unwrap_or(0),
        dead_at: DateTime::from_timestamp_millis(at_ms)?,
    })
}
