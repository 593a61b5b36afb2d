//! Tasks as they are packed, many in a row: all that one transaction sold.
//!
//! A claim leases whole rows: many tasks by one update. A row that stands at the head and cannot be
//! leased is unpacked into entries: one that holds more tasks than the claim may give, and one
//! whose lease ran out. A row that is leased says the same as entries that were claimed once each,
//! so that unpacking it loses nothing. What is not done, and what is cancelled meanwhile, leaves its
//! row and becomes an entry under the same claim.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, SqliteConnection, types::Json};
use uuid::Uuid;

use crate::{
    domain::Order,
    error::Error,
    process::{AttemptResult, Claim},
    store::sql::{
        backend::SqlConnection,
        tasks::{ClaimedRow, PackedEnds},
        value::{StoredTime, Value, hex},
    },
};

/// The rows that a claim looks at first: each is as long as it holds tasks.
const FEW_ROWS: usize = 8;
/// The most rows that it looks at when these hold less than it may give.
const MOST_ROWS: usize = 256;
/// The most tasks that one claim leases: their results have to be written.
const MOST_LEASED: usize = 2_000;
/// The most tasks of one row that are unpacked at once: whoever buys waits for it.
const MOST_UNPACKED: usize = 256;

const PACK: &str = "INSERT INTO task_batches (due_at, order_ids, tasks)
     SELECT $1, $2, json_array_length($2) RETURNING id";

/// The rows that are due, those that wait longest first; none while tasks are paused.
const DUE: &str = "SELECT id, due_at, tasks, claim_id IS NOT NULL AS has_lapsed FROM task_batches
     WHERE due_at <= $1 ORDER BY due_at, id
     LIMIT CASE WHEN EXISTS (SELECT 1 FROM queue_pauses WHERE topic = 'process')
                THEN 0 ELSE $2 END";

const LEASE: &str = "UPDATE task_batches
     SET claim_id = $2, worker_id = $3, claimed_at = $4, due_at = $5
     WHERE id IN (SELECT value FROM json_each($1)) RETURNING id, order_ids";

const READ: &str = "SELECT id, order_ids FROM task_batches WHERE id = $1";

const LEASED: &str = "SELECT id, order_ids FROM task_batches
     WHERE claim_id IN (SELECT unhex(value) FROM json_each($1))";

const OF_ORDER: &str = "SELECT task_batches.id, order_ids, claim_id IS NOT NULL
     FROM orders CROSS JOIN task_batches ON task_batches.id = orders.task_batch
     WHERE orders.id = $1";

/// A task that is an entry already was put there by somebody past this system: it stays.
const INSERT_ENTRIES: &str = "
    INSERT INTO queue_entries (topic, order_id, visible_at, attempts, runs,
                               claim_id, worker_id, claimed_at)
    SELECT 'process', unhex(ids.value), due_at, claim_id IS NOT NULL, claim_id IS NOT NULL,
           claim_id, worker_id, claimed_at
    FROM task_batches CROSS JOIN json_each($2) AS ids
    WHERE task_batches.id = $1 ON CONFLICT DO NOTHING";

const KEEP: &str = "UPDATE task_batches SET order_ids = $2, tasks = json_array_length($2)
     WHERE id = $1";

const DELETE: &str = "DELETE FROM task_batches WHERE id IN (SELECT value FROM json_each($1))";

/// A row that is due.
#[derive(Debug, FromRow)]
pub(super) struct DueBatch {
    id: i64,
    due_at: StoredTime,
    tasks: i64,
    has_lapsed: bool,
}

impl DueBatch {
    pub(super) const fn due_at(&self) -> DateTime<Utc> {
        self.due_at.0
    }

    /// Tells whether a claim can lease it, alone.
    fn fits(&self, room: usize) -> bool {
        !self.has_lapsed && self.tasks() <= room
    }

    fn tasks(&self) -> usize {
        usize::try_from(self.tasks).unwrap_or(usize::MAX)
    }
}

/// A row: its id, and the ids of its orders.
type Batch = (i64, Json<Vec<String>>);

/// The most tasks that a claim may lease.
pub(super) fn room(claim: &Claim) -> usize {
    claim.room().min(MOST_LEASED.max(claim.max))
}

/// Packs the tasks of orders that are sold now; gives the row that they lie in.
pub(super) async fn pack(
    connection: &mut SqliteConnection,
    ids: Vec<Uuid>,
) -> Result<Option<i64>, Error> {
    if ids.is_empty() {
        return Ok(None);
    }
    let (id,) = connection
        .fetch_one(PACK, &[Value::Now, Value::Ids(ids)])
        .await?;
    Ok(Some(id))
}

/// The rows that have been due since a time, as many as are needed to give so many tasks.
pub(super) async fn due(
    connection: &mut SqliteConnection,
    since: Value<'_>,
    room: usize,
) -> Result<Vec<DueBatch>, Error> {
    let mut values = [since, Value::count(FEW_ROWS)];
    let few: Vec<DueBatch> = connection.fetch_all(DUE, &values).await?;
    let tasks: usize = few.iter().map(DueBatch::tasks).sum();
    if few.len() < FEW_ROWS || tasks >= room {
        return Ok(few);
    }
    values[1] = Value::count(MOST_ROWS);
    connection.fetch_all(DUE, &values).await
}

/// Leases the oldest rows, as many as hold as many tasks as the claim may give; none that is younger
/// than the first entry, and none from the first on whose lease ran out.
pub(super) async fn lease(
    connection: &mut SqliteConnection,
    due: &[DueBatch],
    first_entry: Option<StoredTime>,
    claim: &Claim,
    [now, until]: [Value<'_>; 2],
) -> Result<Vec<ClaimedRow>, Error> {
    let mut left = room(claim);
    let fits = due.iter().take_while(|batch| {
        let is_first = first_entry.is_none_or(|entry| batch.due_at.0 <= entry.0);
        let fits = is_first && batch.fits(left);
        left -= if fits { batch.tasks() } else { 0 };
        fits
    });
    let ids: Vec<i64> = fits.map(|batch| batch.id).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let values = [
        json(&ids),
        Value::Id(claim.id),
        Value::Id(claim.worker_id),
        now,
        until,
    ];
    let leased: Vec<Batch> = connection.fetch_all(LEASE, &values).await?;
    let ids = leased.into_iter().flat_map(|(_, ids)| ids.0);
    ids.map(|id| Ok(ClaimedRow::packed(parsed(&id)?))).collect()
}

/// Unpacks the oldest rows that a claim cannot lease, as many as hold as many tasks as it may give one
/// by one. Gives the rows from the first on that it can, if that has its turn next.
pub(super) async fn unpack<'a>(
    connection: &mut SqliteConnection,
    due: &'a [DueBatch],
    max: usize,
    room: usize,
) -> Result<&'a [DueBatch], Error> {
    let mut unpacked = 0;
    for (place, batch) in due.iter().enumerate() {
        if batch.fits(room) {
            return Ok(&due[place..]);
        }
        if unpacked >= max {
            break;
        }
        let row: Option<Batch> = connection
            .fetch_optional(READ, &[Value::Int(batch.id)])
            .await?;
        let Some((id, Json(mut first))) = row else {
            continue;
        };
        let rest = first.split_off(first.len().min(MOST_UNPACKED));
        unpacked += first.len();
        let is_all = rest.is_empty();
        become_entries(connection, id, first).await?;
        keep(connection, id, rest).await?;
        if !is_all {
            break;
        }
    }
    Ok(&[])
}

/// Takes the task of an order that is being cancelled out of its row. One that was claimed is an
/// entry from then on, under the same claim.
pub(super) async fn remove(connection: &mut SqliteConnection, order: &Order) -> Result<(), Error> {
    let of_order: Option<(i64, Json<Vec<String>>, bool)> = connection
        .fetch_optional(OF_ORDER, &[Value::Id(order.id.0)])
        .await?;
    let Some((id, Json(mut ids), is_claimed)) = of_order else {
        return Ok(());
    };
    let order = hex(order.id.0);
    let Some(place) = ids.iter().position(|id| *id == order) else {
        return Ok(());
    };
    ids.remove(place);
    if is_claimed {
        become_entries(connection, id, vec![order]).await?;
    }
    keep(connection, id, ids).await
}

/// Ends attempts at tasks that were leased as they are packed; gives the number of those that are
/// gone.
pub(super) async fn end_packed(
    connection: &mut SqliteConnection,
    ended: &[AttemptResult],
) -> Result<u64, Error> {
    let PackedEnds {
        claims,
        orders,
        go_on,
    } = PackedEnds::of(ended);
    let in_hex = |ids: Vec<Uuid>| ids.into_iter().map(hex).collect();
    take_out(connection, claims, &in_hex(orders), &in_hex(go_on)).await
}

/// Takes orders out of the rows that were leased by claims. Those that go on become entries.
pub(super) async fn take_out(
    connection: &mut SqliteConnection,
    claims: Vec<Uuid>,
    orders: &HashSet<String>,
    go_on: &HashSet<String>,
) -> Result<u64, Error> {
    let leased: Vec<Batch> = connection.fetch_all(LEASED, &[Value::Ids(claims)]).await?;
    let (mut gone, mut empty) = (0, Vec::new());
    for (id, Json(ids)) in leased {
        let (ended, rest): (Vec<String>, Vec<String>) =
            ids.into_iter().partition(|id| orders.contains(id));
        let (go_on, done): (Vec<String>, Vec<String>) =
            ended.into_iter().partition(|id| go_on.contains(id));
        gone += done.len() as u64;
        let is_touched = !go_on.is_empty() || !done.is_empty();
        if !go_on.is_empty() {
            become_entries(connection, id, go_on).await?;
        }
        if rest.is_empty() {
            empty.push(id);
        } else if is_touched {
            keep(connection, id, rest).await?;
        }
    }
    delete(connection, empty).await?;
    Ok(gone)
}

/// Makes entries of tasks that lie in a row, which says whether they were claimed.
async fn become_entries(
    connection: &mut SqliteConnection,
    id: i64,
    orders: Vec<String>,
) -> Result<(), Error> {
    let values = [Value::Int(id), json(&orders)];
    connection.execute(INSERT_ENTRIES, &values).await.map(drop)
}

/// Keeps the rest of the tasks in a row; none when there is no rest.
async fn keep(connection: &mut SqliteConnection, id: i64, rest: Vec<String>) -> Result<(), Error> {
    if rest.is_empty() {
        return delete(connection, vec![id]).await;
    }
    let values = [Value::Int(id), json(&rest)];
    connection.execute(KEEP, &values).await.map(drop)
}

async fn delete(connection: &mut SqliteConnection, ids: Vec<i64>) -> Result<(), Error> {
    if !ids.is_empty() {
        connection.execute(DELETE, &[json(&ids)]).await?;
    }
    Ok(())
}

fn json<T: serde::Serialize>(rows: &[T]) -> Value<'static> {
    Value::Text(Some(serde_json::json!(rows).to_string().into()))
}

fn parsed(id: &str) -> Result<Uuid, Error> {
    id.parse().map_err(Error::backend)
}
