//! A row of the audit log.

use std::sync::LazyLock;

use uuid::Uuid;

use crate::{
    audit::AuditChange,
    clock::{Clock, SystemClock},
    domain::IdGenerator,
};

/// One for the process, so that the ids of entries grow whatever service makes them.
static IDS: LazyLock<IdGenerator> = LazyLock::new(IdGenerator::default);

/// A change as it stands in the log.
pub(crate) struct AuditRow {
    pub(super) id: Uuid,
    pub(super) action: &'static str,
    pub(super) subject: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl AuditRow {
    pub(super) fn new(change: &AuditChange) -> Self {
        let json = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
        Self {
            id: IDS.next(SystemClock.now()),
            action: change.action.as_str(),
            subject: change.subject.clone(),
            before: json(&change.before),
            after: json(&change.after),
        }
    }
}
