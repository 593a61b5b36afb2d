//! Dead letters of a database: lists and counts of those that a filter means.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    backend::{SqlBackend, SqlConnection},
    row::Row,
    value::{StoredTime, Value},
};
use crate::{
    domain::OrderId,
    error::Error,
    queue::{
        COUNT_LIMIT, DeadFilter, DeadGroup, DeadLetter, DeadPlace, DeadQuery, DeadSummary, Topic,
    },
};

const DEAD: &str = "SELECT order_id, coalesce(reason, ''), attempts, dead_at FROM queue_entries
     WHERE topic = $1 AND dead_at IS NOT NULL";

/// The groups of the latest dead letters, with the number of letters and of groups, around a
/// selection of reasons and times.
const DEAD_GROUPS: [&str; 2] = [
    "SELECT reason, letters, latest, CAST(sum(letters) OVER () AS bigint), count(*) OVER ()
     FROM (SELECT reason, count(*) AS letters, max(dead_at) AS latest
           FROM (SELECT coalesce(reason, '') AS reason, dead_at FROM queue_entries
                 WHERE topic = $1 AND dead_at IS NOT NULL",
    ") dead GROUP BY reason) reasons
     ORDER BY letters DESC, latest DESC, reason LIMIT ",
];

/// Entries that were given up, the latest first.
pub(super) async fn dead_letters<B: SqlBackend>(
    backend: &B,
    topic: Topic,
    query: &DeadQuery,
) -> Result<Vec<DeadLetter>, Error> {
    let mut statement = DeadStatement::begin::<B>(DEAD, topic, &query.filter);
    if let Some(place) = query.after {
        statement.after(place);
    }
    statement.add(
        " ORDER BY dead_at DESC, order_id LIMIT ",
        Value::count(query.limit),
    );
    let rows: Vec<(Uuid, String, i32, StoredTime)> = statement.read(backend).await?;
    let letter = |(order_id, reason, attempts, dead_at): (_, _, i32, StoredTime)| DeadLetter {
        order_id: OrderId(order_id),
        reason,
        attempts: attempts.unsigned_abs(),
        dead_at: dead_at.0,
    };
    Ok(rows.into_iter().map(letter).collect())
}

/// Entries that were given up, counted.
pub(super) async fn dead_summary<B: SqlBackend>(
    backend: &B,
    topic: Topic,
    filter: &DeadFilter,
    groups: usize,
) -> Result<DeadSummary, Error> {
    let [begin, end] = DEAD_GROUPS;
    let mut statement = DeadStatement::begin::<B>(begin, topic, filter);
    let most = Value::Int(i64::from(COUNT_LIMIT));
    statement.add(" ORDER BY dead_at DESC LIMIT ", most);
    statement.add(end, Value::count(groups.max(1)));
    let rows: Vec<(String, i64, StoredTime, i64, i64)> = statement.read(backend).await?;
    let first = rows.first();
    let (count, reasons) = first.map_or((0, 0), |row| (row.3, row.4));
    let group = |(reason, count, latest, ..): (_, i64, StoredTime, _, _)| DeadGroup {
        reason,
        count: count.unsigned_abs(),
        latest: latest.0,
    };
    Ok(DeadSummary {
        count: count.unsigned_abs(),
        capped: count >= i64::from(COUNT_LIMIT),
        reasons: reasons.unsigned_abs(),
        groups: rows.into_iter().map(group).take(groups).collect(),
    })
}

/// A statement over dead letters of a topic, put together from constants and numbers of parameters.
struct DeadStatement<'a> {
    text: String,
    values: Vec<Value<'a>>,
}

impl<'a> DeadStatement<'a> {
    fn begin<B: SqlBackend>(text: &str, topic: Topic, filter: &DeadFilter) -> Self {
        let mut statement = Self {
            text: text.to_owned(),
            values: vec![Value::text(topic.as_str())],
        };
        if let Some(reason) = &filter.reason {
            statement.add(B::SQL.queue.reason_contains, lower(reason));
            statement.text.push_str(") > 0");
        }
        if let Some(from) = filter.given_up.from {
            statement.add(" AND dead_at >= ", Value::Time(from));
        }
        if let Some(until) = filter.given_up.until {
            statement.add(" AND dead_at < ", Value::Time(until));
        }
        statement
    }

    fn after(&mut self, place: DeadPlace) {
        let (dead_at, order) = place;
        self.add(" AND dead_at <= ", Value::Time(dead_at));
        self.add(" AND (dead_at < ", Value::Time(dead_at));
        self.add(" OR order_id > ", Value::Id(order.0));
        self.text.push(')');
    }

    fn add(&mut self, text: &str, value: Value<'a>) {
        self.values.push(value);
        self.text.push_str(&format!("{text}${}", self.values.len()));
    }

    async fn read<B: SqlBackend, T: Row>(self, backend: &B) -> Result<Vec<T>, Error> {
        let read = async {
            let mut connection = backend.read().await?;
            let statement = AssertSqlSafe(self.text);
            connection.fetch_all(statement, &self.values).await
        };
        backend.attempt(read).await
    }
}

/// A text as it is looked for: without NUL, which no database keeps.
fn lower(text: &str) -> Value<'static> {
    Value::Text(Some(text.to_ascii_lowercase().replace('\0', "").into()))
}
