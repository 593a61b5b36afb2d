//! A range of times, and the ids that were made in it.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::{Builder, Uuid};

use super::Sort;

/// How far the time in an id may be from the time that is written beside it: a process goes on with
/// growing ids when its clock is set back.
const APART: TimeDelta = TimeDelta::hours(1);

/// From a time on, and before another one: ranges that follow each other neither overlap nor leave
/// anything out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    /// The first time that is in it, if it has a beginning.
    pub from: Option<DateTime<Utc>>,
    /// The first time after it, if it has an end.
    pub until: Option<DateTime<Utc>>,
}

impl TimeRange {
    /// Tells whether `at` is in it.
    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    /// For a list in this order: the place before the first thing that may be of this range, and that of
    /// the last one.
    pub(crate) fn places(&self, sort: Sort) -> (Option<Uuid>, Option<Uuid>) {
        let (first, end) = (self.first_id(), self.end_id());
        match sort {
            Sort::NewestFirst => (end, first),
            Sort::OldestFirst => {
                let before = |id: Uuid| Uuid::from_u128(id.as_u128().saturating_sub(1));
                (first.map(before), end)
            }
        }
    }

    /// The least id that something from this range may have.
    fn first_id(&self) -> Option<Uuid> {
        let from = self.from?.checked_sub_signed(APART);
        Some(from.map_or(Uuid::nil(), |from| id_at(from, 0)))
    }

    /// An id that is greater than any that something from this range may have.
    fn end_id(&self) -> Option<Uuid> {
        let until = self.until?.checked_add_signed(APART);
        Some(until.map_or(Uuid::max(), |until| id_at(until, u8::MAX)))
    }
}

/// The id of a time whose other bits are all `filled` with one byte (RFC 9562, version 7).
pub(crate) fn id_at(at: DateTime<Utc>, filled: u8) -> Uuid {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &[filled; 10]).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::IdGenerator;

    #[test]
    fn the_ids_of_a_range_lie_between_its_bounds() {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default();
        let range = TimeRange {
            from: Some(at),
            until: Some(at + TimeDelta::seconds(1)),
        };
        let ids = IdGenerator::default();
        let id = ids.next(at);
        assert!(range.contains(at) && !range.contains(at + TimeDelta::seconds(1)));
        assert!(range.first_id() <= Some(id) && Some(id) < range.end_id());
        let back = ids.next(at - TimeDelta::minutes(30));
        assert!(Some(back) < range.end_id());
        for sort in Sort::ALL {
            let (before, last) = range.places(sort);
            for id in [range.first_id(), Some(id)] {
                assert!(sort.is_after(&id, &before) && !sort.is_after(&id, &last));
            }
        }
        let far = TimeRange {
            from: Some(DateTime::<Utc>::MIN_UTC),
            until: Some(DateTime::<Utc>::MAX_UTC),
        };
        assert_eq!(far.first_id(), Some(Uuid::nil()));
        assert_eq!(far.end_id(), Some(Uuid::max()));
    }
}
