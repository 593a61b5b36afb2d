//! The store of the audit log.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{AuditChange, AuditEntry};
use crate::{
    domain::{AuditId, Page, PageRequest},
    error::Error,
};

/// Which entries to list. The filters that are given must all match.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Of exactly this action.
    pub action: Option<String>,
    /// Of exactly this subject.
    pub subject: Option<String>,
    /// Made at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Made before this time.
    pub until: Option<DateTime<Utc>>,
    /// Which page.
    pub page: PageRequest<AuditId>,
}

/// A store that keeps an audit log: its other parts enter their changes in the same transaction.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Enters what happened elsewhere, such as an export, or in a queue that is no database. A commit
    /// that is in doubt may make two entries of it.
    async fn record(&self, change: &AuditChange) -> Result<(), Error>;

    /// Entries, newest first.
    async fn audit_entries(&self, query: &AuditQuery) -> Result<Page<AuditEntry, AuditId>, Error>;
}
