//! The audit log, read by operators.

use std::collections::BTreeMap;

use order_core::{
    OrderService,
    audit::{AuditEntry, AuditQuery},
    domain::Sort,
};
use poem_openapi::{Object, OpenApi, param::Query};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    cursor::{encode, page_request},
    tag::Tag,
    wire::Time,
};
use crate::{
    auth::Operate,
    http::{json::Json, problem::Problem},
};

/// The order of the log.
const SORT: Sort = Sort::NewestFirst;

/// Something that was changed, as it was then.
type State = BTreeMap<String, Value>;

/// Who changed what, when, and how it was before and after.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "AuditEntry")]
struct EntryBody {
    id: Uuid,
    /// Time of the change, by the clock of the database.
    at: Time,
    /// Who it was: the name of an API key, or the command line with the name of its user; `null` on a
    /// server without keys.
    client: Option<String>,
    /// The API key that was shown.
    key: Option<Uuid>,
    /// What was done, such as `product.update` or `order.cancel`; later versions may add some.
    action: String,
    /// The id of a product, order or key, or the name of a topic or a list.
    subject: String,
    /// How it was before; `null` if it was not there, or nothing of it changed.
    before: Option<State>,
    /// How it was after.
    after: Option<State>,
}

impl From<AuditEntry> for EntryBody {
    fn from(entry: AuditEntry) -> Self {
        let state = |value| match value {
            Some(Value::Object(fields)) => Some(fields.into_iter().collect()),
            _ => None,
        };
        Self {
            id: entry.id.0,
            at: entry.at,
            client: entry.client,
            key: entry.key.map(|key| key.0),
            action: entry.action,
            subject: entry.subject,
            before: state(entry.before),
            after: state(entry.after),
        }
    }
}

/// A page of the audit log, newest first.
#[derive(Debug, Serialize, Object)]
struct AuditPage {
    items: Vec<EntryBody>,
    /// Cursor of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

/// The operations on the audit log.
pub struct Audit {
    service: OrderService,
}

impl Audit {
    pub(super) fn new(service: OrderService) -> Self {
        Self { service }
    }
}

#[OpenApi(tag = "Tag::Operations")]
impl Audit {
    /// Read who changed products, stock, keys, pauses and dead letters, who cancelled and who
    /// exported, newest first
    #[oai(path = "/audit", method = "get", operation_id = "listAuditEntries")]
    #[allow(clippy::too_many_arguments)] // Each is a parameter of the query.
    async fn list(
        &self,
        _caller: Operate,
        /// Items per page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        page_size: Query<Option<u32>>,
        /// The same as `page_size`
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// The `next_cursor` of the previous page
        cursor: Query<Option<String>>,
        /// Only entries of this action, such as `product.update`
        action: Query<Option<String>>,
        /// Only entries of this subject, such as the id of a product
        subject: Query<Option<String>>,
        /// Only entries made at this time or later
        since: Query<Option<Time>>,
        /// Only entries made before this time
        until: Query<Option<Time>>,
    ) -> Result<Json<AuditPage>, Problem> {
        let query = AuditQuery {
            action: action.0,
            subject: subject.0,
            since: since.0,
            until: until.0,
            page: page_request(page_size.0, limit.0, cursor.0.as_deref(), None, SORT)?,
        };
        let page = self.service.audit_entries(&query).await?;
        Ok(Json(AuditPage {
            items: page.items.into_iter().map(Into::into).collect(),
            next_cursor: page.next.map(|id| encode(id.0, SORT)),
        }))
    }
}
