//! The seam between the transaction scripts, which are written once, and the databases.
//!
//! - [`SqlConnection`] executes statements. What differs between databases in their text alone is a
//!   constant of it, and the script that executes it is shared.
//! - [`SqlTransaction`] has the steps that differ in more than their text: what takes one statement
//!   on Postgres takes several on `SQLite`.
//! - [`SqlBackend`] begins transactions, and tells what an error means. The scripts extend it by what
//!   only one database does, or does in its own way.

use std::{future::Future, ops::DerefMut, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqlSafeStr;
use uuid::Uuid;

use super::{
    audit_row::AuditRow,
    gate::Gates,
    idempotency_record::{IdempotencyRecord, UsedKey},
    returns::Returned,
    row::Row,
    statements::Statements,
    value::Value,
};
use crate::{
    audit::Author,
    decision::Decided,
    domain::{IdempotencyKey, Order, Product, ProductId, StockAdjustment},
    error::Error,
    process::AttemptResult,
};

/// Pieces of each product that change hands, in any order.
pub(crate) type Pieces = Vec<(ProductId, i64)>;

/// The products that a step changed.
pub(crate) type Changed = Result<Vec<Product>, Error>;

/// The urgency of a transaction. `SQLite` has one writer, and lets requests go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Somebody waits for the answer.
    Request,
    /// Nobody does.
    Background,
    /// Nobody does, and there may be very many of them.
    Tasks,
}

/// The lock that a statement waited for in vain: nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockFailure {
    /// The idempotency key of a request, which another transaction inserted and did not commit.
    Key,
    /// Another row.
    Row,
    /// Something else, such as a table.
    Other,
}

/// The rows of a statement.
pub(crate) type Rows<T> = Result<Vec<T>, Error>;

/// A statement: a constant, or one that is put together from constants.
pub(crate) trait Sql: SqlSafeStr + Send {}

impl<T: SqlSafeStr + Send> Sql for T {}

/// The parameters of a statement, which may be more than it has.
pub(crate) type Values<'a> = &'a [Value<'a>];

/// A connection, in a transaction or not.
#[async_trait]
pub(crate) trait SqlConnection: Send + Sized {
    const SQL: Statements;

    /// Executes a statement; gives the number of rows that it changed.
    async fn execute(&mut self, sql: impl Sql, values: Values<'_>) -> Result<u64, Error>;

    async fn fetch_all<T: Row>(&mut self, sql: impl Sql, values: Values<'_>) -> Rows<T>;

    /// The row of a statement that gives one at most.
    async fn fetch_optional<T: Row>(
        &mut self,
        sql: impl Sql,
        values: Values<'_>,
    ) -> Result<Option<T>, Error> {
        Ok(self.fetch_all(sql, values).await?.pop())
    }

    async fn fetch_one<T: Row>(&mut self, sql: impl Sql, values: Values<'_>) -> Result<T, Error> {
        let row = self.fetch_optional(sql, values).await?;
        row.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    /// The ids that are the only column of a statement.
    async fn fetch_ids(&mut self, sql: impl Sql, values: Values<'_>) -> Result<Vec<Uuid>, Error> {
        let rows: Vec<(Uuid,)> = self.fetch_all(sql, values).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Looks up the `keys` that were used before; there is at least one.
    async fn used_keys(&mut self, keys: &[&IdempotencyKey]) -> Result<Vec<UsedKey>, Error>;

    /// Inserts new products, unless their skus or ids are there; gives the ids of those that it
    /// inserted. On Postgres, this and each of the next three is one statement.
    async fn insert_products(&mut self, products: &[Product]) -> Result<Vec<Uuid>, Error>;

    /// Writes the fields of products, which are locked.
    async fn write_products(&mut self, products: &[Product]) -> Result<(), Error>;

    /// Enters changes in the ledger of stock.
    async fn insert_adjustments(&mut self, all: &[StockAdjustment]) -> Result<(), Error>;

    /// Enters changes in the audit log, in the name of `author`.
    async fn insert_audit(&mut self, rows: &[AuditRow], author: &Author) -> Result<(), Error>;
}

/// A transaction, which is rolled back when it is dropped.
#[async_trait]
pub(crate) trait SqlTransaction: Send + Sized {
    /// Inserts orders, which are all pending, or all sold or held, their lines, tasks, holds and
    /// keys, and takes stock; gives the products that changed. On Postgres, this is one statement.
    async fn insert_orders(
        &mut self,
        orders: &[&Order],
        keys: &[IdempotencyRecord],
        taken: &Pieces,
        at: DateTime<Utc>,
    ) -> Changed;

    /// Stores decisions on pending orders, gives tasks to those that are sold, holds others from
    /// `now` on, and takes stock; gives the products that changed. On Postgres, this is one statement.
    ///
    /// # Errors
    /// When an order is not pending any more: it would be decided a second time.
    async fn write_decisions(
        &mut self,
        decisions: &[Decided],
        taken: &Pieces,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Changed;

    /// Confirms those of the orders that are held and whose time is not over, gives them tasks, and
    /// gives their ids. On Postgres, this is one statement.
    async fn confirm_orders(
        &mut self,
        ids: Vec<Uuid>,
        at: DateTime<Utc>,
    ) -> Result<Vec<Uuid>, Error>;

    /// Adds what orders give back to its products, keeps that they did, and gives the products.
    async fn return_stock(&mut self, returned: &[Returned], at: DateTime<Utc>) -> Changed;

    /// Takes the task of a sold order out of the batch that it lies in, where tasks lie in batches.
    async fn remove_batched_task(&mut self, _order: &Order) -> Result<(), Error> {
        Ok(())
    }

    /// Completes those of the orders that are sold; gives their number.
    async fn complete_orders(&mut self, ids: Vec<Uuid>, at: DateTime<Utc>) -> Result<u64, Error>;

    /// The most attempts that this transaction may end.
    fn most_ended(&self) -> usize {
        1_000
    }

    /// Takes the tasks that were leased as they are packed out of their batches. One that is not done
    /// becomes an entry, under its claim. Gives the number of those that are done.
    async fn end_packed(&mut self, _ended: &[AttemptResult]) -> Result<u64, Error> {
        Ok(0)
    }

    /// Removes the tasks that are done from the queue, unless they were claimed by another or
    /// turned into compensations meanwhile; gives their number.
    async fn delete_done(&mut self, done: &[&AttemptResult]) -> Result<u64, Error>;

    /// Puts those tasks back that are still held: to be tried again, or dead. One that turned into
    /// a compensation meanwhile is due at once.
    async fn put_back(&mut self, ended: &[AttemptResult]) -> Result<(), Error>;

    /// Keeps failed attempts; there is at least one.
    async fn insert_failed(&mut self, failed: &[&AttemptResult]) -> Result<(), Error>;

    /// Writes the case folds of the names that products have now.
    async fn write_folds(&mut self, ids: &[Uuid], folds: Vec<String>) -> Result<(), Error>;

    /// Makes durable what was written.
    async fn commit(self) -> Result<(), Error>;

    async fn rollback(self) -> Result<(), Error>;

    /// Ends a transaction that wrote nothing, since it found that an earlier one did its work: that
    /// is as durable as if it had been written now.
    async fn confirm(self) -> Result<(), Error>;
}

/// A database that the transaction scripts run on.
#[async_trait]
pub(crate) trait SqlBackend: Send + Sync {
    type Connection: SqlConnection;
    type Reader: DerefMut<Target = Self::Connection> + Send;
    type Transaction: SqlTransaction + DerefMut<Target = Self::Connection>;

    const SQL: Statements = <Self::Connection as SqlConnection>::SQL;

    /// Reads are tried again after a transient failure.
    const RETRIES_READS: bool;

    /// A connection to read by.
    async fn read(&self) -> Result<Self::Reader, Error>;

    /// The gates that reads pass.
    fn gates(&self) -> &Gates;

    /// A connection to read by that no other reads take: for the keys of callers.
    async fn read_apart(&self) -> Result<Self::Reader, Error>;

    /// Begins a transaction of heartbeats, which write by one statement, the last one. Nothing else
    /// keeps it from beginning, where transactions have connections to share.
    async fn begin_apart(&self) -> Result<Self::Transaction, Error> {
        self.begin_single(Priority::Background).await
    }

    /// Begins a transaction. Its statements wait for each lock up to `lock_wait`, if that is given.
    async fn begin(
        &self,
        priority: Priority,
        lock_wait: Option<Duration>,
    ) -> Result<Self::Transaction, Error>;

    /// Begins a transaction that writes by one statement, the last one. Postgres opens none, since
    /// that statement commits by itself.
    async fn begin_single(&self, priority: Priority) -> Result<Self::Transaction, Error> {
        self.begin(priority, None).await
    }

    /// The error of the one statement of a transaction, which may have committed by itself.
    fn on_single(error: Error) -> Error {
        error
    }

    /// Executes the one statement of a transaction; gives the number of rows that it changed.
    async fn execute_single(
        &self,
        priority: Priority,
        statement: &'static str,
        values: Values<'_>,
    ) -> Result<u64, Error> {
        let mut tx = self.begin_single(priority).await?;
        let changed = tx.execute(statement, values).await;
        let changed = changed.map_err(Self::on_single)?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Executes the one statement of a transaction; gives the rows.
    async fn fetch_single<T: Row>(
        &self,
        priority: Priority,
        statement: &'static str,
        values: Values<'_>,
    ) -> Result<Vec<T>, Error> {
        let mut tx = self.begin_single(priority).await?;
        let rows = tx.fetch_all(statement, values).await;
        let rows = rows.map_err(Self::on_single)?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Makes one attempt at an operation, within the limit that this database has.
    async fn attempt<T: Send>(
        &self,
        attempt: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        attempt.await
    }

    /// Makes one attempt at an operation whose statements may take long.
    async fn attempt_long<T: Send>(
        &self,
        attempt: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        self.attempt(attempt).await
    }

    /// Tells whether an error says that a statement waited for a lock in vain.
    fn lock_failure(_error: &Error) -> Option<LockFailure> {
        None
    }

    /// Tells whether there is no use in trying again after a transient error: the attempt waited as
    /// long as any caller should, or what is wrong does not pass by itself.
    fn is_conclusive(error: &Error) -> bool;
}
