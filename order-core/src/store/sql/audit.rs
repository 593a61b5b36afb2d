//! The audit log.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use super::{
    audit_row::AuditRow,
    backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
    retry::{reading, with_retry},
    value::{StoredTime, Value},
};
use crate::{
    audit::{AuditChange, AuditEntry, AuditQuery, AuditStore, Author, author},
    domain::{AuditId, KeyId, Page},
    error::Error,
};

/// Enters a change into the log, in its own transaction, in the name of whoever makes it.
pub(super) async fn record<C: SqlConnection>(
    connection: &mut C,
    change: &AuditChange,
) -> Result<(), Error> {
    insert_each(connection, &[AuditRow::new(change)], &author()).await
}

/// Enters many changes likewise.
pub(super) async fn record_all<C: SqlConnection>(
    connection: &mut C,
    changes: impl Iterator<Item = AuditChange>,
) -> Result<(), Error> {
    let rows: Vec<AuditRow> = changes.map(|change| AuditRow::new(&change)).collect();
    connection.insert_audit(&rows, &author()).await
}

/// Inserts entries one by one.
pub(super) async fn insert_each<C: SqlConnection>(
    connection: &mut C,
    rows: &[AuditRow],
    author: &Author,
) -> Result<(), Error> {
    for row in rows {
        let values = [
            Value::Id(row.id),
            Value::Text(author.client.as_deref().map(Into::into)),
            Value::OptionalId(author.key.map(|key| key.0)),
            Value::text(row.action),
            Value::text(&row.subject),
            Value::Text(row.before.as_deref().map(Into::into)),
            Value::Text(row.after.as_deref().map(Into::into)),
            Value::Now,
        ];
        connection.execute(C::SQL.insert_audit, &values).await?;
    }
    Ok(())
}

#[async_trait]
impl<B: SqlBackend> AuditStore for B {
    async fn record(&self, change: &AuditChange) -> Result<(), Error> {
        with_retry(self, |_| async {
            let mut tx = self.begin(Priority::Request, None).await?;
            record(&mut *tx, change).await?;
            tx.commit().await
        })
        .await
    }

    async fn audit_entries(&self, query: &AuditQuery) -> Result<Page<AuditEntry, AuditId>, Error> {
        reading(self, || list(self, query)).await
    }
}

const ENTRIES: &str = "SELECT id, at, client, key_id, action, subject,
     CAST(before AS text) AS before, CAST(after AS text) AS after
     FROM audit_log WHERE id < $1";

async fn list<B: SqlBackend>(
    backend: &B,
    query: &AuditQuery,
) -> Result<Page<AuditEntry, AuditId>, Error> {
    let (after, offset) = query.page.bounds();
    let mut values = vec![Value::Id(after.map_or(Uuid::max(), |id| id.0))];
    let mut statement = ENTRIES.to_owned();
    let mut add = |text: &str, value| {
        values.push(value);
        statement.push_str(&format!("{text}${}", values.len()));
    };
    if let Some(action) = &query.action {
        add(" AND action = ", Value::text(action));
    }
    if let Some(subject) = &query.subject {
        add(" AND subject = ", Value::text(subject));
    }
    if let Some(since) = query.since {
        add(" AND at >= ", Value::Time(since));
    }
    if let Some(until) = query.until {
        add(" AND at < ", Value::Time(until));
    }
    add(" ORDER BY id DESC LIMIT ", Value::Int(query.page.limit()));
    add(" OFFSET ", Value::Int(offset));
    let mut connection = backend.read().await?;
    // It consists of constants, and numbers of parameters.
    let rows: Vec<EntryRow> = connection
        .fetch_all(AssertSqlSafe(statement), &values)
        .await?;
    let entries = rows.into_iter().map(AuditEntry::try_from);
    let entries = entries.collect::<Result<_, _>>()?;
    let id = |entry: &AuditEntry| entry.id;
    Ok(Page::from_rows(entries, query.page.size, id, None))
}

#[derive(FromRow)]
struct EntryRow {
    id: Uuid,
    at: StoredTime,
    client: Option<String>,
    key_id: Option<Uuid>,
    action: String,
    subject: String,
    before: Option<String>,
    after: Option<String>,
}

impl TryFrom<EntryRow> for AuditEntry {
    type Error = Error;

    fn try_from(row: EntryRow) -> Result<Self, Error> {
        let json = |text: Option<String>| {
            let value = text.map(|text| serde_json::from_str(&text)).transpose();
            value.map_err(Error::corrupt)
        };
        Ok(Self {
            id: AuditId(row.id),
            at: row.at.0,
            client: row.client,
            key: row.key_id.map(KeyId),
            action: row.action,
            subject: row.subject,
            before: json(row.before)?,
            after: json(row.after)?,
        })
    }
}
