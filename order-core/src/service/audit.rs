//! The audit log, read and added to.

use super::{OrderService, storable::storable};
use crate::{
    audit::{AuditChange, AuditEntry, AuditQuery},
    domain::{AuditId, Page},
    error::Error,
};

impl OrderService {
    /// Entries of the audit log, newest first.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the store keeps none, and the backend's.
    pub async fn audit_entries(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEntry, AuditId>, Error> {
        storable("action", query.action.as_deref())?;
        storable("subject", query.subject.as_deref())?;
        self.inner.audit_store()?.audit_entries(query).await
    }

    /// Enters what the caller does besides this service, such as an export. A store without an audit
    /// log keeps none.
    ///
    /// # Errors
    /// The backend's.
    pub async fn record(&self, change: AuditChange) -> Result<(), Error> {
        self.run_to_completion(move |inner| async move {
            match inner.audit_store() {
                Ok(audit) => audit.record(&change).await,
                Err(_) => Ok(()),
            }
        })
        .await
    }
}
