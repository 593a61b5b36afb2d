//! The audit log of the reference store: a list.

use async_trait::async_trait;

use super::{page::page, state::State, store::ReferenceStore};
use crate::{
    audit::{AuditChange, AuditEntry, AuditQuery, AuditStore, author},
    clock::{Clock, SystemClock},
    domain::{AuditId, Page, Sort},
    error::Error,
};

impl State {
    /// Enters a change in the name of whoever makes it.
    pub(super) fn record(&mut self, change: AuditChange) {
        let author = author();
        self.log.push(AuditEntry {
            id: AuditId(self.log_ids.next(SystemClock.now())),
            at: self.now(),
            client: author.client.map(|client| client.to_string()),
            key: author.key,
            action: change.action.as_str().to_owned(),
            subject: change.subject,
            before: change.before,
            after: change.after,
        });
    }
}

#[async_trait]
impl AuditStore for ReferenceStore {
    async fn record(&self, change: &AuditChange) -> Result<(), Error> {
        self.state.lock().unwrap().record(change.clone());
        Ok(())
    }

    async fn audit_entries(&self, query: &AuditQuery) -> Result<Page<AuditEntry, AuditId>, Error> {
        let state = self.state.lock().unwrap();
        let is_asked_for = |entry: &&AuditEntry| {
            query.action.as_ref().is_none_or(|it| *it == entry.action)
                && query.subject.as_ref().is_none_or(|it| *it == entry.subject)
                && query.since.is_none_or(|since| entry.at >= since)
                && query.until.is_none_or(|until| entry.at < until)
        };
        let all = state.log.iter().filter(is_asked_for).cloned();
        let id = |entry: &AuditEntry| entry.id;
        let mut page = page(all.collect(), Sort::NewestFirst, &query.page, id);
        page.total = None;
        Ok(page)
    }
}
