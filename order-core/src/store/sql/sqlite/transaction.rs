//! Statements and transactions on `SQLite`. Batches go in as JSON arrays: one statement each, however
//! many rows.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{Arguments, SqliteConnection, sqlite::SqliteArguments, types::Json};
use uuid::Uuid;

use super::{
    history,
    holds::{self, CONFIRM, CONFIRMABLE},
    keys,
    orders::{
        self, INSERT_HOLDS, INSERT_HOLDS_OF, INSERT_KEYS, INSERT_LINES, INSERT_ORDERS,
        INSERT_RETURNS, USED_KEYS, WRITE_DECISIONS,
    },
    product_batches,
    products::{self, TAKE_STOCK, WRITE_FOLDS},
    queue, stats, task_batches,
    tasks::{self, COMPLETE, DELETE_DONE, INSERT_FAILED, PUT_BACK, ending, failure},
    writer::WriteTransaction,
};
use crate::{
    audit::Author,
    clock::{Clock, SystemClock},
    decision::{Decided, Granted},
    domain::{HoldTime, IdempotencyKey, Order, OrderStatus, Product, ProductId, StockAdjustment},
    error::Error,
    process::AttemptResult,
    queue::Lease,
    store::sql::{
        audit,
        audit_row::AuditRow,
        backend::{Changed, Pieces, Rows, Sql, SqlConnection, SqlTransaction, Values},
        idempotency_record::{IdempotencyRecord, UsedKey},
        plan,
        returns::{self, Returned},
        row::Row,
        rows,
        statements::Statements,
        value::{Value, after, before, hex},
    },
};

const INSERT_AUDIT: &str =
    "INSERT INTO audit_log (id, client, key_id, action, subject, before, after, at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

fn arguments(values: Values<'_>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        let added = match value {
            Value::Bool(flag) => arguments.add(flag),
            Value::Bytes(bytes) => arguments.add(*bytes),
            Value::Id(id) => arguments.add(id),
            Value::OptionalId(id) => arguments.add(id),
            // `unhex(value)` in `json_each` gives the bytes.
            Value::Ids(ids) => {
                arguments.add(Json(ids.iter().copied().map(hex).collect::<Vec<String>>()))
            }
            Value::Int(number) => arguments.add(number),
            Value::MaybeInt(number) => arguments.add(number),
            Value::Leases(leases) => {
                let pair = |lease: &Lease| [hex(lease.order_id.0), hex(lease.claim_id)];
                arguments.add(Json(leases.iter().map(pair).collect::<Vec<_>>()))
            }
            Value::Text(text) => arguments.add(text.as_deref()),
            Value::Texts(texts) => arguments.add(Json(*texts)),
            Value::Time(time) => arguments.add(time.timestamp_micros()),
            Value::MaybeTime(time) => arguments.add(time.map(|time| time.timestamp_micros())),
            Value::Now => arguments.add(SystemClock.now().timestamp_micros()),
            Value::Ago(span) => arguments.add(before(SystemClock.now(), *span).timestamp_micros()),
            Value::FromNow(span) => {
                arguments.add(after(SystemClock.now(), *span).timestamp_micros())
            }
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

#[async_trait]
impl SqlConnection for SqliteConnection {
    const SQL: Statements = Statements {
        history: history::STATEMENTS,
        holds: holds::STATEMENTS,
        keys: keys::STATEMENTS,
        insert_audit: INSERT_AUDIT,
        orders: orders::STATEMENTS,
        products: products::STATEMENTS,
        queue: queue::STATEMENTS,
        stats: stats::STATEMENTS,
        tasks: tasks::STATEMENTS,
    };

    async fn execute(&mut self, sql: impl Sql, values: Values<'_>) -> Result<u64, Error> {
        let query = sqlx::query_with(sql, arguments(values)?);
        Ok(query.execute(self).await?.rows_affected())
    }

    async fn fetch_all<T: Row>(&mut self, sql: impl Sql, values: Values<'_>) -> Rows<T> {
        let query = sqlx::query_as_with(sql, arguments(values)?);
        Ok(query.fetch_all(self).await?)
    }

    async fn used_keys(&mut self, keys: &[&IdempotencyKey]) -> Result<Vec<UsedKey>, Error> {
        let asked = keys.iter().map(|key| json!([hex(key.scope), key.key]));
        let query = sqlx::query_as(USED_KEYS).bind(Json(asked.collect::<Vec<_>>()));
        Ok(query.fetch_all(self).await?)
    }

    async fn insert_products(&mut self, products: &[Product]) -> Result<Vec<Uuid>, Error> {
        product_batches::insert_products(self, products).await
    }

    async fn write_products(&mut self, products: &[Product]) -> Result<(), Error> {
        product_batches::write_products(self, products).await
    }

    async fn insert_adjustments(&mut self, all: &[StockAdjustment]) -> Result<(), Error> {
        product_batches::insert_adjustments(self, all).await
    }

    async fn insert_audit(&mut self, rows: &[AuditRow], author: &Author) -> Result<(), Error> {
        audit::insert_each(self, rows, author).await
    }
}

/// A statement over a JSON array of rows, and a time.
async fn write_rows(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: Vec<serde_json::Value>,
    at: DateTime<Utc>,
) -> Result<u64, Error> {
    let query = sqlx::query(statement)
        .bind(Json(rows))
        .bind(at.timestamp_micros());
    Ok(query.execute(connection).await?.rows_affected())
}

/// The same, over orders whose tasks lie in a row.
async fn write_packed(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: Vec<serde_json::Value>,
    at: DateTime<Utc>,
    batch: Option<i64>,
) -> Result<u64, Error> {
    let query = sqlx::query(statement)
        .bind(Json(rows))
        .bind(at.timestamp_micros())
        .bind(batch);
    Ok(query.execute(connection).await?.rows_affected())
}

#[async_trait]
impl SqlTransaction for WriteTransaction {
    async fn insert_orders(
        &mut self,
        orders: &[&Order],
        keys: &[IdempotencyRecord],
        taken: &Pieces,
        at: DateTime<Utc>,
    ) -> Changed {
        let now = SystemClock.now();
        let sold = orders.iter().filter(|o| o.status == OrderStatus::Success);
        let sold: Vec<Uuid> = sold.map(|order| order.id.0).collect();
        self.sells(sold.len());
        let batch = task_batches::pack(self, sold).await?;
        let rows = orders.iter().map(|order| order_row(order)).collect();
        write_packed(self, INSERT_ORDERS, rows, now, batch).await?;
        let lines = orders.iter().flat_map(|order| line_rows(order)).collect();
        write_rows(self, INSERT_LINES, lines, now).await?;
        if !keys.is_empty() {
            let keys = keys.iter().map(key_row).collect();
            write_rows(self, INSERT_KEYS, keys, now).await?;
        }
        let holds: Vec<_> = orders.iter().flat_map(|order| hold_rows(order)).collect();
        if !holds.is_empty() {
            write_rows(self, INSERT_HOLDS, holds, now).await?;
        }
        let lapses_at = orders.iter().filter_map(|order| order.held_until).min();
        take_stock(self, taken.iter().copied(), at, lapses_at).await
    }

    async fn write_decisions(
        &mut self,
        decisions: &[Decided],
        taken: &Pieces,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Changed {
        let sold = decisions.iter().filter(|(_, it)| *it == Ok(Granted::Sold));
        let sold: Vec<Uuid> = sold.map(|(id, _)| id.0).collect();
        self.sells(sold.len());
        let batch = task_batches::pack(self, sold).await?;
        let rows = decisions.iter().map(|it| decision_row(it, now));
        let rows = rows.collect::<Result<_, _>>()?;
        let written = write_packed(self, WRITE_DECISIONS, rows, at, batch).await?;
        plan::expect_all_written(decisions.len(), written)?;
        let held = decisions.iter().filter_map(|(id, it)| match it {
            Ok(Granted::Held { until }) => Some((id.0, *until)),
            _ => None,
        });
        let (held, untils): (Vec<Uuid>, Vec<DateTime<Utc>>) = held.unzip();
        if !held.is_empty() {
            self.execute(INSERT_HOLDS_OF, &[Value::Ids(held)]).await?;
        }
        let lapses_at = untils.into_iter().min();
        take_stock(self, taken.iter().copied(), at, lapses_at).await
    }

    async fn confirm_orders(
        &mut self,
        ids: Vec<Uuid>,
        at: DateTime<Utc>,
    ) -> Result<Vec<Uuid>, Error> {
        let values = [Value::Ids(ids), Value::Now];
        let ids = self.fetch_ids(CONFIRMABLE, &values).await?;
        let batch = task_batches::pack(self, ids.clone()).await?;
        if let Some(batch) = batch {
            let confirmed = [Value::Ids(ids.clone()), Value::Time(at), Value::Int(batch)];
            self.execute(CONFIRM, &confirmed).await?;
            self.execute(holds::STATEMENTS.remove, &confirmed[..1])
                .await?;
        }
        Ok(ids)
    }

    /// Taking less than nothing gives back.
    async fn return_stock(&mut self, returned: &[Returned], at: DateTime<Utc>) -> Changed {
        let rows = returned.iter().map(|one| {
            let (id, order_id) = (hex(one.id.0), hex(one.order_id.0));
            json!([hex(one.product_id.0), id, order_id, one.pieces])
        });
        sqlx::query(INSERT_RETURNS)
            .bind(Json(rows.collect::<Vec<_>>()))
            .bind(at.timestamp_micros())
            .execute(&mut **self)
            .await?;
        let sums = returns::sums(returned);
        take_stock(self, sums.map(|(id, n)| (id, -n)), at, None).await
    }

    async fn remove_batched_task(&mut self, order: &Order) -> Result<(), Error> {
        task_batches::remove(self, order).await
    }

    fn most_ended(&self) -> usize {
        self.may_end()
    }

    async fn end_packed(&mut self, ended: &[AttemptResult]) -> Result<u64, Error> {
        task_batches::end_packed(self, ended).await
    }

    async fn complete_orders(&mut self, ids: Vec<Uuid>, at: DateTime<Utc>) -> Result<u64, Error> {
        self.ends_attempts();
        let values = [Value::Ids(ids), Value::Time(at)];
        self.execute(COMPLETE, &values).await
    }

    async fn delete_done(&mut self, done: &[&AttemptResult]) -> Result<u64, Error> {
        let now = SystemClock.now();
        let rows = done.iter().map(|ended| ending(ended, now)).collect();
        write_rows(self, DELETE_DONE, rows, now).await
    }

    async fn put_back(&mut self, ended: &[AttemptResult]) -> Result<(), Error> {
        let now = SystemClock.now();
        let rows = ended.iter().map(|ended| ending(ended, now)).collect();
        write_rows(self, PUT_BACK, rows, now).await.map(drop)
    }

    async fn insert_failed(&mut self, failed: &[&AttemptResult]) -> Result<(), Error> {
        let now = SystemClock.now();
        let rows = failed.iter().map(|ended| failure(ended, now)).collect();
        write_rows(self, INSERT_FAILED, rows, now).await.map(drop)
    }

    async fn write_folds(&mut self, ids: &[Uuid], folds: Vec<String>) -> Result<(), Error> {
        let row = |(id, fold): (&Uuid, String)| json!([hex(*id), fold]);
        let rows = ids.iter().zip(folds).map(row).collect();
        write_rows(self, WRITE_FOLDS, rows, SystemClock.now()).await?;
        Ok(())
    }

    async fn commit(self) -> Result<(), Error> {
        self.commit_written().await
    }

    async fn rollback(self) -> Result<(), Error> {
        self.roll_back().await
    }

    /// A row that is read under the write lock is durable.
    async fn confirm(self) -> Result<(), Error> {
        Ok(())
    }
}

fn order_row(order: &Order) -> serde_json::Value {
    let created_at = order.created_at.timestamp_micros();
    json!([
        hex(order.id.0),
        order.status.as_str(),
        order.total_price.minor_units(),
        order.reference,
        created_at,
        (order.status != OrderStatus::Pending).then_some(created_at),
        order.trace_parent.map(|parent| parent.to_string()),
        order.client.map(|client| hex(client.0)),
        order.customer,
        order.hold_time.map(HoldTime::seconds),
        order.held_at.map(|at| at.timestamp_micros()),
        order.held_until.map(|at| at.timestamp_micros()),
    ])
}

fn hold_rows(order: &Order) -> impl Iterator<Item = serde_json::Value> {
    let (id, until) = (hex(order.id.0), order.held_until);
    let held = until.map(|_| plan::products_of(&order.requested_lines()));
    let products = held.unwrap_or_default().into_iter();
    products.map(move |product| {
        let until = until.map(|until| until.timestamp_micros());
        json!([id, hex(product.0), until])
    })
}

fn line_rows(order: &Order) -> impl Iterator<Item = serde_json::Value> {
    (1..).zip(&order.lines).map(|(line_no, line)| {
        json!([
            hex(order.id.0),
            line_no,
            hex(line.product_id.0),
            line.quantity,
            line.unit_price.minor_units(),
        ])
    })
}

fn key_row(record: &IdempotencyRecord) -> serde_json::Value {
    json!([
        hex(record.key.scope),
        record.key.key,
        record.fingerprint.to_hex(),
        hex(record.target_id),
        record.created_at.timestamp_micros(),
    ])
}

fn decision_row((id, decision): &Decided, now: DateTime<Utc>) -> Result<serde_json::Value, Error> {
    Ok(match decision {
        Ok(Granted::Sold) => json!([hex(id.0)]),
        Ok(Granted::Held { until }) => {
            let (held_at, until) = (now.timestamp_micros(), until.timestamp_micros());
            json!([hex(id.0), null, null, null, null, held_at, until])
        }
        Err(failure) => json!([
            hex(id.0),
            failure.code.as_str(),
            hex(failure.product_id.0),
            failure.requested,
            failure.available,
            null,
            null,
            rows::stored_detail(failure)?,
        ]),
    })
}

/// Takes pieces off products, and gives the products after that.
async fn take_stock(
    connection: &mut SqliteConnection,
    taken: impl Iterator<Item = (ProductId, i64)>,
    at: DateTime<Utc>,
    lapses_at: Option<DateTime<Utc>>,
) -> Result<Vec<Product>, Error> {
    let taken: Vec<_> = taken.map(|(id, n)| json!([hex(id.0), n])).collect();
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let query = sqlx::query_as(TAKE_STOCK)
        .bind(Json(taken))
        .bind(at.timestamp_micros())
        .bind(lapses_at.map(|at| at.timestamp_micros()));
    rows::products(query.fetch_all(connection).await?)
}
