//! Values as they go to any database, and times as they come back.

use std::{borrow::Cow, time::Duration};

#[cfg(feature = "sqlite")]
use chrono::TimeDelta;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::queue::Lease;

/// A parameter of a statement. Each database encodes it in its own way.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Bool(bool),
    Bytes(&'a [u8]),
    Id(Uuid),
    /// An id, or none.
    OptionalId(Option<Uuid>),
    /// An array on Postgres, and a JSON array of hexadecimal strings on `SQLite`.
    Ids(Vec<Uuid>),
    Int(i64),
    /// A number, or none.
    MaybeInt(Option<i64>),
    /// The orders and the claims of leases: two arrays on Postgres, a JSON array of pairs on `SQLite`.
    Leases(&'a [Lease]),
    Text(Option<Cow<'a, str>>),
    /// An array on Postgres, and a JSON array on `SQLite`.
    Texts(&'a [String]),
    Time(DateTime<Utc>),
    /// A time that may never come.
    MaybeTime(Option<DateTime<Utc>>),
    /// The time at which the statement is executed: no parameter on Postgres, whose statements ask the
    /// clock of the database.
    Now,
    /// The time so long before that: on Postgres the length, which the statement subtracts.
    Ago(Duration),
    /// The time so long after that: on Postgres the length, which the statement adds.
    FromNow(Duration),
}

impl<'a> Value<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self::Text(Some(Cow::Borrowed(text)))
    }

    /// A number of rows.
    pub(super) fn count(rows: usize) -> Self {
        Self::Int(count(rows))
    }
}

/// A number of rows, as databases count.
pub(super) fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// A time that a row holds: `timestamptz` on Postgres, microseconds since 1970 on `SQLite`.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredTime(pub(super) DateTime<Utc>);

#[cfg(feature = "postgres")]
mod postgres {
    use chrono::{DateTime, Utc};
    use sqlx::{Decode, Postgres, Type, error::BoxDynError};

    use super::StoredTime;

    impl Type<Postgres> for StoredTime {
        fn type_info() -> <Postgres as sqlx::Database>::TypeInfo {
            <DateTime<Utc> as Type<Postgres>>::type_info()
        }
    }

    impl<'r> Decode<'r, Postgres> for StoredTime {
        fn decode(value: <Postgres as sqlx::Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
            <DateTime<Utc> as Decode<Postgres>>::decode(value).map(Self)
        }
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use chrono::DateTime;
    use serde::{Deserialize, Deserializer, de::Error as _};
    use sqlx::{Decode, Sqlite, Type, error::BoxDynError};

    use super::StoredTime;

    impl Type<Sqlite> for StoredTime {
        fn type_info() -> <Sqlite as sqlx::Database>::TypeInfo {
            <i64 as Type<Sqlite>>::type_info()
        }

        fn compatible(info: &<Sqlite as sqlx::Database>::TypeInfo) -> bool {
            <i64 as Type<Sqlite>>::compatible(info)
        }
    }

    impl<'r> Decode<'r, Sqlite> for StoredTime {
        fn decode(value: <Sqlite as sqlx::Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
            let micros = <i64 as Decode<Sqlite>>::decode(value)?;
            let time = DateTime::from_timestamp_micros(micros);
            time.map(Self).ok_or_else(|| "time out of range".into())
        }
    }

    /// As it stands in JSON that a statement made.
    impl<'de> Deserialize<'de> for StoredTime {
        fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
            let time = DateTime::from_timestamp_micros(i64::deserialize(json)?);
            time.map(Self)
                .ok_or_else(|| D::Error::custom("time out of range"))
        }
    }
}

/// A length of time in microseconds, as far as a database can add it to a time of ours or subtract
/// it from one: a century.
pub(crate) fn span_micros(span: Duration) -> i64 {
    const CENTURY: Duration = Duration::from_hours(24 * 36_525);
    i64::try_from(span.min(CENTURY).as_micros()).unwrap_or(i64::MAX)
}

/// The age of something, from microseconds; a clock that was set back makes them negative.
pub(super) fn age(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

/// An id as a hexadecimal string, as it stands in JSON.
#[cfg(feature = "sqlite")]
pub(super) fn hex(id: Uuid) -> String {
    id.simple().to_string()
}

/// The time `span` after `time`.
#[cfg(feature = "sqlite")]
pub(super) fn after(time: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    time + TimeDelta::microseconds(span_micros(span))
}

/// The time `span` before `time`.
#[cfg(feature = "sqlite")]
pub(super) fn before(time: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    time - TimeDelta::microseconds(span_micros(span))
}
