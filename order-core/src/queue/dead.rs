//! Questions about entries that were given up.

#[cfg(any(feature = "redis", feature = "testing"))]
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

#[cfg(any(feature = "redis", feature = "testing"))]
use super::COUNT_LIMIT;
use super::DeadLetter;
use crate::domain::{OrderId, TimeRange};

/// The dead letters that are meant: all of a topic by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// Only those whose reason contains this text; ASCII letters are found in either case.
    pub reason: Option<String>,
    /// Only those that were given up in this range.
    pub given_up: TimeRange,
}

/// The place of a dead letter among those of its topic: when it was given up, and its order.
pub type DeadPlace = (DateTime<Utc>, OrderId);

/// A part of the dead letters of a topic, the latest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadQuery {
    /// Those that are meant.
    pub filter: DeadFilter,
    /// Only those that follow this one.
    pub after: Option<DeadPlace>,
    /// The most to give.
    pub limit: usize,
}

/// The dead letters with one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadGroup {
    /// The reason.
    pub reason: String,
    /// How many they are.
    pub count: u64,
    /// When the latest of them was given up.
    pub latest: DateTime<Utc>,
}

/// Dead letters, counted. One counts the latest, up to [`COUNT_LIMIT`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadSummary {
    /// How many they are.
    pub count: u64,
    /// True when there may be more than were counted.
    pub capped: bool,
    /// The different reasons that they have.
    pub reasons: u64,
    /// Those with the most frequent reasons, the most first.
    pub groups: Vec<DeadGroup>,
}

impl DeadLetter {
    /// Its place among the dead letters of its topic.
    #[must_use]
    pub const fn place(&self) -> DeadPlace {
        (self.dead_at, self.order_id)
    }
}

impl DeadFilter {
    /// Tells whether it means `letter`.
    #[must_use]
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let has_reason = self.reason.as_ref().is_none_or(|text| {
            let reason = letter.reason.to_ascii_lowercase();
            reason.contains(&text.to_ascii_lowercase())
        });
        has_reason && self.given_up.contains(letter.dead_at)
    }
}

impl DeadQuery {
    /// The latest of all dead letters.
    #[must_use]
    pub fn latest(limit: usize) -> Self {
        Self {
            filter: DeadFilter::default(),
            after: None,
            limit,
        }
    }
}

#[cfg(any(feature = "redis", feature = "testing"))]
impl DeadSummary {
    /// Counts `letters`, and gives up to `groups` of their groups.
    pub(crate) fn of(letters: impl IntoIterator<Item = DeadLetter>, groups: usize) -> Self {
        let mut by_reason: HashMap<String, DeadGroup> = HashMap::new();
        let mut count = 0;
        for letter in letters {
            count += 1;
            let group = by_reason.entry(letter.reason);
            let group = group.or_insert_with_key(|reason| DeadGroup {
                reason: reason.clone(),
                count: 0,
                latest: letter.dead_at,
            });
            group.count += 1;
            group.latest = group.latest.max(letter.dead_at);
        }
        let mut all: Vec<DeadGroup> = by_reason.into_values().collect();
        all.sort_by(|one, other| {
            let key = |group: &DeadGroup| std::cmp::Reverse((group.count, group.latest));
            key(one)
                .cmp(&key(other))
                .then_with(|| one.reason.cmp(&other.reason))
        });
        let reasons = all.len() as u64;
        all.truncate(groups);
        Self {
            count,
            capped: count >= u64::from(COUNT_LIMIT),
            reasons,
            groups: all,
        }
    }
}
