//! Statements and transactions on Postgres.
//!
//! Each statement that writes many rows finds them by `id = ANY(…)` and takes what belongs to each
//! from a JSON object by that id. A join with the arrays would be the usual way, and the planner is
//! free to run it from the wrong end: when its statistics say that nothing is pending, it walks
//! all that is pending for each order of the batch. One table and one index leave no choice.
//! For the same reason the state is compared as text, which no partial index offers.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Arguments, PgConnection, postgres::PgArguments};
use uuid::Uuid;

use super::{
    connections::PooledConnection,
    decide::{WRITE_DECISIONS, WrittenRow, outcomes},
    error::on_commit,
    history,
    holds::{self, CONFIRM},
    keys,
    orders::{
        self, INSERT_HELD, INSERT_PENDING, INSERT_SOLD, RETURN_STOCK, by_id, first_lapse,
        insert_arguments,
    },
    product_batches,
    products::{self, WRITE_FOLDS},
    queue, session, stats,
    task_leases::{self, DELETE_BATCH, REMOVE_FROM_BATCH},
    tasks::{self, COMPLETE, DELETE_DONE, INSERT_FAILED, PUT_BACK, endings},
};
use crate::{
    audit::Author,
    decision::Decided,
    domain::{IdempotencyKey, Order, OrderStatus, Product, StockAdjustment},
    error::Error,
    process::AttemptResult,
    store::sql::{
        audit_row::AuditRow,
        backend::{Changed, Pieces, Rows, Sql, SqlConnection, SqlTransaction, Values},
        idempotency_record::{IdempotencyRecord, UsedKey},
        plan,
        returns::{self, Returned},
        row::Row,
        rows::{self, ProductRow},
        statements::Statements,
        tasks::storable,
        value::{Value, span_micros},
    },
};

/// `OFFSET 0` keeps it one lookup for each key, whatever the statistics say.
const USED_KEYS: &str = "SELECT asked.scope, asked.key, used.fingerprint, used.target_id
     FROM unnest($1::uuid[], $2::text[]) AS asked (scope, key),
          LATERAL (SELECT fingerprint, target_id FROM idempotency_keys
                   WHERE scope = asked.scope AND key = asked.key OFFSET 0) used";

const INSERT_AUDIT: &str =
    "INSERT INTO audit_log (id, client, key_id, action, subject, before, after, at)
     VALUES ($1, $2, $3, $4, $5, $6::jsonb, $7::jsonb, clock_timestamp())";

fn arguments(values: Values<'_>) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for value in values {
        let added = match value {
            Value::Bool(flag) => arguments.add(flag),
            Value::Bytes(bytes) => arguments.add(*bytes),
            Value::Id(id) => arguments.add(id),
            Value::OptionalId(id) => arguments.add(id),
            Value::Ids(ids) => arguments.add(ids),
            Value::Int(number) => arguments.add(number),
            Value::MaybeInt(number) => arguments.add(number),
            Value::Leases(leases) => {
                let pairs = leases.iter().map(|l| (l.order_id.0, l.claim_id));
                let (orders, claims): (Vec<Uuid>, Vec<Uuid>) = pairs.unzip();
                arguments.add(orders).and_then(|()| arguments.add(claims))
            }
            Value::Text(text) => arguments.add(text.as_deref()),
            Value::Texts(texts) => arguments.add(*texts),
            Value::Time(time) => arguments.add(time),
            Value::MaybeTime(time) => arguments.add(time),
            Value::Now => Ok(()),
            Value::Ago(span) | Value::FromNow(span) => arguments.add(span_micros(*span)),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

#[async_trait]
impl SqlConnection for PgConnection {
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
        let keys = keys.iter().map(|key| (key.scope, key.key.as_str()));
        let (scopes, keys): (Vec<Uuid>, Vec<&str>) = keys.unzip();
        let query = sqlx::query_as(USED_KEYS).bind(scopes).bind(keys);
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
        product_batches::insert_audit(self, rows, author).await
    }
}

#[async_trait]
impl SqlTransaction for PooledConnection {
    async fn insert_orders(
        &mut self,
        orders: &[&Order],
        keys: &[IdempotencyRecord],
        taken: &Pieces,
        at: DateTime<Utc>,
    ) -> Changed {
        let arguments = insert_arguments(orders, keys)?;
        let is_sold = orders.iter().any(|o| o.status != OrderStatus::Pending);
        let lapses_at = first_lapse(orders);
        let is_single = !self.is_in_transaction;
        let connection = &mut **self;
        let rows: Result<Vec<ProductRow>, sqlx::Error> = if is_sold {
            let (ids, pieces) = by_id(taken);
            let insert = match lapses_at {
                None => INSERT_SOLD,
                Some(_) => INSERT_HELD,
            };
            let query = sqlx::query_as_with(insert, arguments);
            let query = query.bind(ids).bind(pieces).bind(at).bind(lapses_at);
            query.fetch_all(connection).await
        } else {
            let query = sqlx::query_with(INSERT_PENDING, arguments);
            query.execute(connection).await.map(|_| Vec::new())
        };
        rows::products(rows.map_err(|error| match is_single {
            true => on_commit(error.into()),
            false => error.into(),
        })?)
    }

    async fn write_decisions(
        &mut self,
        decisions: &[Decided],
        taken: &Pieces,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Changed {
        let outcomes = outcomes(decisions)?;
        let (ids, pieces) = by_id(taken);
        let rows: Vec<WrittenRow> = sqlx::query_as(WRITE_DECISIONS)
            .bind(at)
            .bind(ids)
            .bind(pieces)
            .bind(outcomes.sold)
            .bind(outcomes.failed)
            .bind(outcomes.failures)
            .bind(outcomes.held)
            .bind(outcomes.lapses_at)
            .bind(now)
            .fetch_all(&mut **self)
            .await?;
        let written = rows.first().map_or(0, |row| row.written.unsigned_abs());
        plan::expect_all_written(decisions.len(), written)?;
        rows::products(rows.into_iter().filter_map(|row| row.product).collect())
    }

    async fn confirm_orders(
        &mut self,
        ids: Vec<Uuid>,
        at: DateTime<Utc>,
    ) -> Result<Vec<Uuid>, Error> {
        let values = [Value::Ids(ids), Value::Time(at)];
        self.fetch_ids(CONFIRM, &values).await
    }

    async fn return_stock(&mut self, returned: &[Returned], at: DateTime<Utc>) -> Changed {
        let of = |id: fn(&Returned) -> Uuid| returned.iter().map(id).collect::<Vec<Uuid>>();
        let sums = returns::sums(returned);
        let (ids, pieces): (Vec<Uuid>, Vec<i64>) = sums.map(|(id, n)| (id.0, n)).unzip();
        let query = sqlx::query_as(RETURN_STOCK).bind(ids).bind(pieces).bind(at);
        let query = query
            .bind(of(|one| one.product_id.0))
            .bind(of(|one| one.id.0));
        let query = query.bind(of(|one| one.order_id.0));
        let query = query.bind(returned.iter().map(|one| one.pieces).collect::<Vec<i64>>());
        rows::products(query.fetch_all(&mut **self).await?)
    }

    /// Before its entry is looked for: a task that is unpacked meanwhile is an entry by then.
    async fn remove_batched_task(&mut self, order: &Order) -> Result<(), Error> {
        let batch: Option<(i64, i32)> = sqlx::query_as(REMOVE_FROM_BATCH)
            .bind(order.id.0)
            .bind(order.sold_at())
            .fetch_optional(&mut **self)
            .await?;
        if let Some((batch, 0)) = batch {
            self.execute(DELETE_BATCH, &[Value::Int(batch)]).await?;
        }
        Ok(())
    }

    async fn complete_orders(&mut self, ids: Vec<Uuid>, at: DateTime<Utc>) -> Result<u64, Error> {
        let values = [Value::Ids(ids), Value::Time(at)];
        let (completed,): rows::Count = self.fetch_one(COMPLETE, &values).await?;
        Ok(completed.unsigned_abs())
    }

    async fn end_packed(&mut self, ended: &[AttemptResult]) -> Result<u64, Error> {
        task_leases::end_packed(self, ended).await
    }

    async fn delete_done(&mut self, done: &[&AttemptResult]) -> Result<u64, Error> {
        let (ids, endings) = endings(done.iter().copied());
        let query = sqlx::query(DELETE_DONE).bind(ids).bind(endings);
        Ok(query.execute(&mut **self).await?.rows_affected())
    }

    async fn put_back(&mut self, ended: &[AttemptResult]) -> Result<(), Error> {
        let (ids, endings) = endings(ended.iter());
        let query = sqlx::query(PUT_BACK).bind(ids).bind(endings);
        query.execute(&mut **self).await?;
        Ok(())
    }

    async fn insert_failed(&mut self, failed: &[&AttemptResult]) -> Result<(), Error> {
        let runs = failed
            .iter()
            .map(|e| i32::try_from(e.run).unwrap_or(i32::MAX));
        let ids = failed.iter().map(|e| e.lease.order_id.0);
        let workers = failed.iter().map(|e| e.worker_id);
        let took = failed.iter().map(|e| span_micros(e.took));
        let errors = failed
            .iter()
            .map(|e| storable(e.error().unwrap_or_default()));
        sqlx::query(INSERT_FAILED)
            .bind(ids.collect::<Vec<Uuid>>())
            .bind(runs.collect::<Vec<i32>>())
            .bind(workers.collect::<Vec<Uuid>>())
            .bind(took.collect::<Vec<i64>>())
            .bind(errors.collect::<Vec<String>>())
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    async fn write_folds(&mut self, ids: &[Uuid], folds: Vec<String>) -> Result<(), Error> {
        let query = sqlx::query(WRITE_FOLDS).bind(ids).bind(folds);
        query.execute(&mut **self).await?;
        Ok(())
    }

    async fn commit(mut self) -> Result<(), Error> {
        if self.is_in_transaction {
            let committed = self.end("COMMIT").await;
            committed.map_err(|error| on_commit(error.into()))?;
        }
        if let Some(claim) = self.claim.take() {
            claim.committed();
        }
        Ok(())
    }

    async fn rollback(mut self) -> Result<(), Error> {
        Ok(self.end("ROLLBACK").await?)
    }

    async fn confirm(mut self) -> Result<(), Error> {
        session::assure(&mut self).await?;
        if self.is_in_transaction {
            self.end("COMMIT").await?;
        }
        Ok(())
    }
}
