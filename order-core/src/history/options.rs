//! What is to be archived, and what was.

use std::{fmt, path::PathBuf, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::Manifest;
use crate::{
    domain::{IdempotencyKey, OrderId, id_at},
    error::Error,
};

/// Which orders to archive, and where to.
#[derive(Clone)]
pub struct ArchiveOptions {
    /// Those that were placed before this time, as their ids tell it.
    pub before: DateTime<Utc>,
    /// The directory of the files; the same one each time. It is made if need be.
    pub directory: PathBuf,
    /// The most orders of a file, from 1 to 1 000 000. They are in memory while it is written.
    pub orders_per_file: usize,
    /// Only counts them.
    pub is_dry_run: bool,
    /// Told the number of orders that are done with.
    pub progress: Option<Arc<dyn Fn(u64) + Send + Sync>>,
}

impl ArchiveOptions {
    /// The number of orders of a file, unless another is chosen.
    pub const ORDERS_PER_FILE: usize = 50_000;
    /// The most orders that a file may have.
    const MOST_PER_FILE: usize = 1_000_000;

    /// Archives orders that were placed before a time to a directory.
    #[must_use]
    pub fn new(before: DateTime<Utc>, directory: impl Into<PathBuf>) -> Self {
        Self {
            before,
            directory: directory.into(),
            orders_per_file: Self::ORDERS_PER_FILE,
            is_dry_run: false,
            progress: None,
        }
    }

    /// Refuses what cannot be archived, when it is `now` by the clock of the database.
    pub(super) fn check(&self, now: DateTime<Utc>) -> Result<(), Error> {
        if !(1..=Self::MOST_PER_FILE).contains(&self.orders_per_file) {
            let most = Self::MOST_PER_FILE;
            return Err(Error::invalid(
                "orders_per_file",
                format!("must be 1 to {most}"),
            ));
        }
        if self.before > now {
            return Err(Error::invalid("before", "must be in the past"));
        }
        let kept_for = IdempotencyKey::KEPT_FOR;
        let newest = TimeDelta::from_std(kept_for).map_err(Error::backend)?;
        if self.before > now - newest {
            let days = kept_for.as_secs() / 86_400;
            let reason = format!(
                "must be {days} days ago or earlier: so long is the retention of idempotency keys, \
                 by which orders are found that are placed again"
            );
            return Err(Error::invalid("before", reason));
        }
        Ok(())
    }

    /// No order that may be archived has this id, or a greater one.
    pub(super) fn end(&self) -> OrderId {
        OrderId(id_at(self.before, 0))
    }

    pub(super) fn tell(&self, orders: u64) {
        if let Some(progress) = &self.progress {
            progress(orders);
        }
    }
}

impl fmt::Debug for ArchiveOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveOptions")
            .field("before", &self.before)
            .field("directory", &self.directory)
            .field("orders_per_file", &self.orders_per_file)
            .field("is_dry_run", &self.is_dry_run)
            .finish_non_exhaustive()
    }
}

/// What was archived, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Archived {
    /// The number of orders that are archived.
    pub orders: u64,
    /// The number of their lines.
    pub lines: u64,
    /// The files that were finished; of a dry run none.
    pub files: Vec<Manifest>,
}
