//! Rows of orders' states, for both databases.

use sqlx::FromRow;
use uuid::Uuid;

use super::rows::StoredTime;
use crate::{
    domain::{OrderId, Progress},
    error::Error,
};

/// `SELECT` of where orders stand; `$rest` begins at `WHERE`.
macro_rules! select_progress {
    ($rest:literal) => {
        concat!(
            "SELECT id, CAST(status AS text) AS status, created_at, decided_at, completed_at, \
             cancelled_at FROM orders ",
            $rest
        )
    };
}
pub(super) use select_progress;

#[derive(FromRow)]
pub(super) struct ProgressRow<T> {
    id: Uuid,
    status: String,
    created_at: T,
    decided_at: Option<T>,
    completed_at: Option<T>,
    cancelled_at: Option<T>,
}

impl<T: StoredTime> TryFrom<ProgressRow<T>> for Progress {
    type Error = Error;

    fn try_from(row: ProgressRow<T>) -> Result<Self, Error> {
        let time = |t: Option<T>| t.map(StoredTime::time).transpose();
        Ok(Self {
            id: OrderId(row.id),
            status: row.status.parse().map_err(Error::corrupt)?,
            created_at: row.created_at.time()?,
            decided_at: time(row.decided_at)?,
            completed_at: time(row.completed_at)?,
            cancelled_at: time(row.cancelled_at)?,
        })
    }
}
