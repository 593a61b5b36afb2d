//! Verifying everything that is promised of what is stored, in one snapshot.
//!
//! Orders are looked at in slices along their ids, so that it can be told how far it is, only some
//! can be looked at, and no statement sorts or hashes more than a slice. Sums over all orders are
//! put together here.
//!
//! The statements say what they are for, since they read everything: it is seen in the list of what a
//! database executes.

use std::{
    collections::{HashMap, HashSet},
    ops::DerefMut,
};

use async_trait::async_trait;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    backend::{SqlBackend, SqlConnection},
    rows::Count,
    value::Value,
};
use crate::{
    clock::{Clock, SystemClock},
    domain::id_at,
    error::Error,
    verify::{Check, Discrepancy, Verification, VerifyOptions},
};

/// The way in which a database gives one consistent view for as long as it is read.
#[async_trait]
pub(crate) trait VerifySteps: SqlBackend {
    type Snapshot: DerefMut<Target = Self::Connection> + Send;

    /// The orders of tasks that lie in batches.
    const BATCHED_TASKS: &'static str;

    async fn snapshot(&self) -> Result<Self::Snapshot, Error>;

    /// The same for who reads along keys, and not everything.
    async fn snapshot_by_keys(&self) -> Result<Self::Snapshot, Error> {
        self.snapshot().await
    }
}

/// The orders in a slice.
const SLICE: i64 = 50_000;
/// The same, when only some slices are looked at.
const SAMPLED_SLICE: i64 = 1_000;
/// The products that are read at once.
const PRODUCTS_AT_ONCE: i64 = 10_000;

const SLICE_END: &str =
    "/* verify */ SELECT id FROM orders WHERE id > $1 ORDER BY id LIMIT 1 OFFSET $2";

/// How many of some orders came to each milestone.
macro_rules! milestones {
    () => {
        "count(*) AS accepted,
        count(decided_at) - count(failure_code) - count(held_at) + count(confirmed_at) AS sold,
        count(failure_code) AS failed,
        count(completed_at) AS completed, count(cancelled_at) AS cancelled,
        count(CASE WHEN cancelled_at IS NOT NULL AND (held_at IS NULL OR confirmed_at IS NOT NULL)
                   THEN decided_at END) AS returned,
        count(held_at) AS held, count(confirmed_at) AS confirmed,
        count(CASE WHEN status = 'expired' THEN 1 END) AS expired,
        count(CASE WHEN cancelled_at IS NOT NULL AND confirmed_at IS NULL THEN held_at END)
            AS released"
    };
}
pub(super) use milestones;

const COUNT_ORDERS: &str = concat!(
    "/* verify */ SELECT ",
    milestones!(),
    " FROM orders WHERE id > $1 AND id <= $2"
);

/// The sums of what is counted at each milestone.
macro_rules! milestone_sums {
    () => {
        "CAST(coalesce(sum(accepted), 0) AS bigint) AS accepted,
        CAST(coalesce(sum(sold), 0) AS bigint) AS sold,
        CAST(coalesce(sum(failed), 0) AS bigint) AS failed,
        CAST(coalesce(sum(completed), 0) AS bigint) AS completed,
        CAST(coalesce(sum(cancelled), 0) AS bigint) AS cancelled,
        CAST(coalesce(sum(returned), 0) AS bigint) AS returned,
        CAST(coalesce(sum(held), 0) AS bigint) AS held,
        CAST(coalesce(sum(confirmed), 0) AS bigint) AS confirmed,
        CAST(coalesce(sum(expired), 0) AS bigint) AS expired,
        CAST(coalesce(sum(released), 0) AS bigint) AS released"
    };
}

const COUNTERS: &str = concat!(
    "/* verify */ SELECT ",
    milestone_sums!(),
    " FROM order_counters"
);

/// The pieces that are cancelled of the line `l` of the order `o`.
macro_rules! cancelled {
    () => {
        "coalesce(CAST(o.cancelled_quantities ->> (l.line_no - 1) AS bigint), 0)"
    };
}
pub(super) use cancelled;

/// Of each product, what orders that hold stock keep, and what came back: of those that expired, all.
/// What an older version cancelled as a whole was not kept as a return.
const LINES: &str = concat!(
    "/* verify */ SELECT id, count(*) AS rows,
        CAST(sum(CASE WHEN status IN ('held', 'success', 'completed') THEN quantity - cancelled
                      ELSE 0 END) AS bigint) AS pieces,
        CAST(sum(CASE WHEN decided_at IS NULL THEN 0 WHEN status = 'expired' THEN quantity
                      ELSE cancelled END) AS bigint) AS returned
     FROM (SELECT l.product_id AS id, l.quantity, o.status, o.decided_at, ",
    cancelled!(),
    " AS cancelled FROM order_lines l LEFT JOIN orders o ON o.id = l.order_id
           WHERE l.order_id > $1 AND l.order_id <= $2) lines
     GROUP BY id"
);

const RETURNS: &str = "/* verify */ SELECT product_id AS id, count(*) AS rows,
        CAST(sum(quantity) AS bigint) AS pieces
     FROM stock_returns GROUP BY product_id";

const WRONG_RETURNS: &str = concat!(
    "/* verify */ SELECT o.id FROM orders o JOIN order_lines l ON l.order_id = o.id
     WHERE o.id > $1 AND o.id <= $2 AND o.cancelled_quantities IS NOT NULL
       AND NOT ",
    cancelled!(),
    " BETWEEN 0 AND l.quantity"
);

const ADJUSTMENTS: &str = "/* verify */ SELECT product_id AS id, count(*) AS rows,
        CAST(sum(delta) AS bigint) AS pieces
     FROM stock_adjustments GROUP BY product_id";

const PRODUCTS: &str = "/* verify */ SELECT id, sku, name, stock FROM products
     WHERE id > $1 ORDER BY id LIMIT $2";

const LINES_WITHOUT_ORDER: &str = "/* verify */ SELECT DISTINCT order_id FROM order_lines
     WHERE order_id > $1 AND order_id <= $2
       AND NOT EXISTS (SELECT 1 FROM orders WHERE id = order_id)";

/// The price of what is cancelled is put together only for the orders that have some.
const WRONG_TOTALS: &str = concat!(
    "/* verify */ SELECT * FROM (
         SELECT o.id, o.total_price, CASE WHEN o.cancelled_quantities IS NULL THEN own.total ELSE (
                    SELECT CAST(sum((l.quantity - ",
    cancelled!(),
    ") * l.unit_price) AS bigint) FROM order_lines l WHERE l.order_id = o.id) END AS total,
                own.lines, own.last_no
         FROM orders o LEFT JOIN (
             SELECT order_id, CAST(sum(quantity * unit_price) AS bigint) AS total,
                    count(*) AS lines, CAST(max(line_no) AS bigint) AS last_no
             FROM order_lines WHERE order_id > $1 AND order_id <= $2 GROUP BY order_id) own
           ON own.order_id = o.id
         WHERE o.id > $1 AND o.id <= $2) totals
     WHERE lines IS NULL OR last_no <> lines OR total <> total_price"
);

const WRONG_STATES: &str = "/* verify */ SELECT id, CAST(status AS text) FROM orders
     WHERE id > $1 AND id <= $2 AND NOT (
        (completed_at IS NOT NULL) = (status = 'completed')
        AND (cancelled_at IS NOT NULL) = (status = 'cancelled')
        AND (status = 'cancelled' OR (decided_at IS NULL) = (status = 'pending'))
        AND (held_at IS NOT NULL) = (held_until IS NOT NULL)
        AND (held_at IS NULL OR hold_seconds IS NOT NULL)
        AND (status NOT IN ('pending', 'failed') OR held_at IS NULL)
        AND (status NOT IN ('held', 'expired') OR held_at IS NOT NULL)
        AND (status NOT IN ('success', 'completed')
             OR (held_at IS NULL) = (confirmed_at IS NULL))
        AND (status IN ('success', 'completed', 'cancelled') AND held_at IS NOT NULL
             OR confirmed_at IS NULL)
        AND (failure_code IS NOT NULL) = (status = 'failed')
        AND (failure_product_id IS NOT NULL) = (status = 'failed')
        AND (failure_requested IS NOT NULL) = (status = 'failed')
        AND (failure_available IS NOT NULL) = (status = 'failed')
        AND (cancelled_quantities IS NULL OR status NOT IN ('pending', 'failed'))
        AND (failure_product_id IS NULL OR EXISTS (
            SELECT 1 FROM order_lines WHERE order_id = id AND product_id = failure_product_id)))";

/// Held orders with a line of which something is left, whose product has no hold that ends when theirs
/// does, or may lapse unseen.
const WITHOUT_HOLD: &str = concat!(
    "/* verify */ SELECT id FROM orders o
     WHERE id > $1 AND id <= $2 AND held_at IS NOT NULL AND status = 'held' AND EXISTS (
         SELECT 1 FROM order_lines l JOIN products p ON p.id = l.product_id
         WHERE l.order_id = o.id AND l.quantity > ",
    cancelled!(),
    " AND (
             p.lapses_at IS NULL OR p.lapses_at > o.held_until
             OR NOT EXISTS (SELECT 1 FROM holds h WHERE h.order_id = o.id
                            AND h.product_id = l.product_id AND h.held_until = o.held_until)))"
);

const WRONG_HOLDS: &str = concat!(
    "/* verify */ SELECT DISTINCT h.order_id, CAST(o.status AS text)
     FROM holds h LEFT JOIN orders o ON o.id = h.order_id
     WHERE o.id IS NULL OR CAST(o.status AS text) <> 'held' OR NOT EXISTS (
         SELECT 1 FROM order_lines l WHERE l.order_id = h.order_id AND l.product_id = h.product_id
           AND l.quantity > ",
    cancelled!(),
    ")"
);

const SOLD_WITHOUT_ENTRY: &str = "/* verify */ SELECT id FROM orders
     WHERE id > $1 AND id <= $2 AND status = 'success' AND NOT EXISTS (
         SELECT 1 FROM queue_entries WHERE topic = 'process' AND order_id = id)";

const WRONG_ENTRIES: &str =
    "/* verify */ SELECT e.order_id, CAST(o.status AS text), CAST(e.compensates AS integer)
     FROM queue_entries e LEFT JOIN orders o ON o.id = e.order_id
     WHERE o.id IS NULL OR e.topic = 'process'
       AND CAST(o.status AS text) <> CASE
           WHEN CAST(e.compensates AS integer) = 0 THEN 'success'
           WHEN o.cancelled_quantities IS NOT NULL AND o.completed_at IS NOT NULL THEN 'completed'
           ELSE 'cancelled' END";

const COUNT_TASKS: &str = "/* verify */ SELECT count(*) FROM queue_entries WHERE topic = 'process'";

const ATTEMPTS_WITHOUT_ORDER: &str = "/* verify */ SELECT DISTINCT order_id FROM process_attempts
     WHERE NOT EXISTS (SELECT 1 FROM orders WHERE id = order_id)";

const COUNT_KEYS: &str = "/* verify */ SELECT count(*) FROM idempotency_keys";

/// What archived orders kept of products and gave back.
const ARCHIVED_SALES: &str =
    "/* verify */ SELECT product_id AS id, lines AS rows, kept AS pieces, returned
     FROM archived_sales";

const ARCHIVED_COUNTS: &str = concat!(
    "/* verify */ SELECT ",
    milestone_sums!(),
    " FROM archive_files"
);

const ARCHIVED_LINES: &str =
    "/* verify */ SELECT CAST(coalesce(sum(lines), 0) AS bigint) FROM archive_files";

/// Finished files whose orders are not all gone, or more than those.
const WRONG_FILES: &str =
    "/* verify */ SELECT number, orders - left_out, accepted FROM archive_files
     WHERE is_open IS NULL AND accepted <> orders - left_out";

const KEYS_WITHOUT_TARGET: &str = "/* verify */ SELECT key, target_id FROM idempotency_keys
     WHERE NOT EXISTS (SELECT 1 FROM orders WHERE id = target_id)
       AND NOT EXISTS (SELECT 1 FROM stock_adjustments WHERE id = target_id)";

/// Verifies what `options` name.
pub(super) async fn verify<B: VerifySteps>(
    backend: &B,
    options: &VerifyOptions,
) -> Result<Verification, Error> {
    let mut snapshot = backend.snapshot().await?;
    let mut books = Books::default();
    let connection = &mut *snapshot;
    let batched = connection.fetch_ids(B::BATCHED_TASKS, &[]).await?;
    books.batched(batched);
    let counters: Counts = connection.fetch_one(COUNTERS, &[]).await?;
    read_orders(connection, &mut books, options, counters.accepted).await?;
    read_archive(connection, &mut books).await?;
    if options.is_whole() {
        books.compare_counters(&counters);
        read_references(connection, &mut books).await?;
    }
    let returns: Vec<Pieces> = connection.fetch_all(RETURNS, &[]).await?;
    for kept in returns {
        books.products.entry(kept.id).or_default().returns += kept.pieces;
    }
    let adjustments: Vec<Pieces> = connection.fetch_all(ADJUSTMENTS, &[]).await?;
    for adjusted in adjustments {
        books.found.verified.adjustments += adjusted.rows.unsigned_abs();
        books.products.entry(adjusted.id).or_default().adjusted = adjusted.pieces;
    }
    read_products(connection, &mut books, options).await?;
    Ok(books.found)
}

/// Reads the orders slice by slice.
async fn read_orders<C: SqlConnection>(
    connection: &mut C,
    books: &mut Books,
    options: &VerifyOptions,
    accepted: i64,
) -> Result<(), Error> {
    let mut after = options.since.map_or(Uuid::nil(), |since| id_at(since, 0));
    let percent = u32::from(options.sample.unwrap_or(100).clamp(1, 100));
    let slice = if percent < 100 { SAMPLED_SLICE } else { SLICE };
    // Any of the slices may be the first.
    let (mut share, mut done) = (SystemClock.now().timestamp_subsec_micros() % 100, 0);
    loop {
        let bounds = [Value::Id(after), Value::Int(slice - 1)];
        let end: Option<(Uuid,)> = connection.fetch_optional(SLICE_END, &bounds).await?;
        let until = end.map_or(Uuid::max(), |(id,)| id);
        share += percent;
        if share >= 100 {
            share -= 100;
            read_slice(connection, books, after, until).await?;
        }
        done += slice.unsigned_abs();
        if let Some(progress) = &options.progress {
            progress(done.min(accepted.unsigned_abs()), accepted.unsigned_abs());
        }
        if end.is_none() {
            return Ok(());
        }
        after = until;
    }
}

async fn read_slice<C: SqlConnection>(
    connection: &mut C,
    books: &mut Books,
    after: Uuid,
    until: Uuid,
) -> Result<(), Error> {
    let slice = [Value::Id(after), Value::Id(until)];
    let counts: Counts = connection.fetch_one(COUNT_ORDERS, &slice).await?;
    books.count_orders(&counts);
    let lines: Vec<LinesRow> = connection.fetch_all(LINES, &slice).await?;
    for held in lines {
        books.found.verified.lines += held.rows.unsigned_abs();
        let product = books.products.entry(held.id).or_default();
        product.held = product.held.saturating_add(held.pieces);
        product.given_back = product.given_back.saturating_add(held.returned);
    }
    for id in connection.fetch_ids(WRONG_RETURNS, &slice).await? {
        let (expected, found) = ("no line that gave back more than it had", "one");
        let found = Discrepancy::new(Check::Returns, Some(id), expected, found);
        books.found.add(found);
    }
    for id in connection.fetch_ids(LINES_WITHOUT_ORDER, &slice).await? {
        books.missing_order(id, "lines");
    }
    let totals: Vec<TotalRow> = connection.fetch_all(WRONG_TOTALS, &slice).await?;
    for row in totals {
        books.found.add(row.discrepancy());
    }
    let states: Vec<(Uuid, String)> = connection.fetch_all(WRONG_STATES, &slice).await?;
    for (id, status) in states {
        let expected = format!("the times and the failure of an order that is {status}");
        let found = Discrepancy::new(Check::OrderState, Some(id), expected, "others");
        books.found.add(found);
    }
    for id in connection.fetch_ids(WITHOUT_HOLD, &slice).await? {
        let expected = "a hold of each product that ends when the order's does";
        let found = Discrepancy::new(Check::Hold, Some(id), expected, "none, or another");
        books.found.add(found);
    }
    for id in connection.fetch_ids(SOLD_WITHOUT_ENTRY, &slice).await? {
        books.sold_without_entry(id);
    }
    Ok(())
}

/// Reads what stays of orders that are archived.
async fn read_archive<C: SqlConnection>(
    connection: &mut C,
    books: &mut Books,
) -> Result<(), Error> {
    let counts: Counts = connection.fetch_one(ARCHIVED_COUNTS, &[]).await?;
    books.found.verified.archived_orders = counts.accepted.unsigned_abs();
    books.add_counts(&counts);
    let (told,): Count = connection.fetch_one(ARCHIVED_LINES, &[]).await?;
    let mut carried = 0_i64;
    let sales: Vec<LinesRow> = connection.fetch_all(ARCHIVED_SALES, &[]).await?;
    for sold in sales {
        carried = carried.saturating_add(sold.rows);
        let product = books.products.entry(sold.id).or_default();
        product.held = product.held.saturating_add(sold.pieces);
        product.given_back = product.given_back.saturating_add(sold.returned);
        product.returns = product.returns.saturating_add(sold.returned);
    }
    if told != carried {
        let expected = format!("{told} lines of archived orders, as their files tell");
        books.wrong_archive(expected, carried);
    }
    let files: Vec<(i64, i64, i64)> = connection.fetch_all(WRONG_FILES, &[]).await?;
    for (number, expected, found) in files {
        books.wrong_archive(format!("{expected} orders gone to file {number}"), found);
    }
    Ok(())
}

/// Reads what refers to orders from outside, and what no order was found for.
async fn read_references<C: SqlConnection>(
    connection: &mut C,
    books: &mut Books,
) -> Result<(), Error> {
    let (tasks,): Count = connection.fetch_one(COUNT_TASKS, &[]).await?;
    books.found.verified.tasks += tasks.unsigned_abs();
    let entries: Vec<(Uuid, Option<String>, i32)> =
        connection.fetch_all(WRONG_ENTRIES, &[]).await?;
    for (id, status, compensates) in entries {
        match status {
            None => books.missing_order(id, "a queue entry"),
            Some(status) => books.wrong_task(id, compensates == 1, &status),
        }
    }
    let left = std::mem::take(&mut books.batched);
    for id in left {
        books.wrong_task(id, false, "not sold, or not there");
    }
    let holds: Vec<(Uuid, Option<String>)> = connection.fetch_all(WRONG_HOLDS, &[]).await?;
    for (id, status) in holds {
        match status {
            None => books.missing_order(id, "a hold"),
            Some(status) => books.wrong_hold(id, &status),
        }
    }
    for id in connection.fetch_ids(ATTEMPTS_WITHOUT_ORDER, &[]).await? {
        books.missing_order(id, "an attempt");
    }
    let (keys,): Count = connection.fetch_one(COUNT_KEYS, &[]).await?;
    books.found.verified.idempotency_keys = keys.unsigned_abs();
    let keys: Vec<(String, Uuid)> = connection.fetch_all(KEYS_WITHOUT_TARGET, &[]).await?;
    for (key, id) in keys {
        books.missing_order(id, &format!("the idempotency key {key:?}"));
    }
    Ok(())
}

/// Compares the stock of each product, if all orders were read, and tells which are not there.
async fn read_products<C: SqlConnection>(
    connection: &mut C,
    books: &mut Books,
    options: &VerifyOptions,
) -> Result<(), Error> {
    let mut after = Uuid::nil();
    loop {
        let values = [Value::Id(after), Value::Int(PRODUCTS_AT_ONCE)];
        let rows: Vec<ProductRow> = connection.fetch_all(PRODUCTS, &values).await?;
        let Some(last) = rows.last() else {
            break;
        };
        after = last.id;
        for row in rows {
            books.found.verified.products += 1;
            let sums = books.products.remove(&row.id).unwrap_or_default();
            if !options.is_whole() {
                continue;
            }
            let stock = Discrepancy::of_stock(row.id, row.stock, sums.adjusted, sums.held);
            for found in stock.into_iter().chain(sums.wrong_returns(row.id)) {
                let (sku, name) = (row.sku.clone(), Some(row.name.clone()));
                books.found.add(Discrepancy { sku, name, ..found });
            }
        }
    }
    for id in std::mem::take(&mut books.products).into_keys() {
        let expected = "the product that lines or adjustments refer to";
        let found = Discrepancy::new(Check::MissingProduct, Some(id), expected, "none");
        books.found.add(found);
    }
    Ok(())
}

/// The sums so far, and what was found.
#[derive(Default)]
struct Books {
    found: Verification,
    products: HashMap<Uuid, Sums>,
    /// Orders of tasks that lie in batches, until the order was met.
    batched: HashSet<Uuid>,
    counts: Counts,
}

#[derive(Default)]
struct Sums {
    adjusted: i64,
    held: i64,
    /// What its orders gave back, as they tell it.
    given_back: i64,
    /// What was kept of its returns.
    returns: i64,
}

impl Sums {
    fn wrong_returns(&self, id: Uuid) -> Option<Discrepancy> {
        (self.given_back != self.returns).then(|| {
            let expected = format!("{} given back by orders", self.given_back);
            let found = format!("{} kept as returns", self.returns);
            Discrepancy::new(Check::Returns, Some(id), expected, found)
        })
    }
}

impl Books {
    fn batched(&mut self, ids: Vec<Uuid>) {
        self.found.verified.tasks = ids.len() as u64;
        for id in ids {
            if !self.batched.insert(id) {
                let found = Discrepancy::new(Check::Task, Some(id), "one task", "several");
                self.found.add(found);
            }
        }
    }

    fn count_orders(&mut self, counts: &Counts) {
        self.found.verified.orders += counts.accepted.unsigned_abs();
        self.add_counts(counts);
    }

    fn add_counts(&mut self, counts: &Counts) {
        for (sum, more) in self.counts.each_mut().into_iter().zip(counts.each()) {
            *sum = sum.saturating_add(more);
        }
    }

    fn compare_counters(&mut self, counters: &Counts) {
        let both = self.counts.each().into_iter().zip(counters.each());
        for ((counted, told), name) in both.zip(Counts::NAMES) {
            if counted != told {
                let (expected, found) = (format!("{counted} {name}"), told);
                let found = Discrepancy::new(Check::Counters, None, expected, found);
                self.found.add(found);
            }
        }
    }

    fn sold_without_entry(&mut self, id: Uuid) {
        if !self.batched.remove(&id) {
            let found = Discrepancy::new(Check::Task, Some(id), "the task of a sale", "none");
            self.found.add(found);
        }
    }

    fn wrong_task(&mut self, id: Uuid, compensates: bool, status: &str) {
        let task = if compensates {
            "a compensation only for an order that is cancelled"
        } else {
            "one task, and only for an order that is sold and not completed"
        };
        let found = format!("one more, of an order that is {status}");
        let found = Discrepancy::new(Check::Task, Some(id), task, found);
        self.found.add(found);
    }

    fn wrong_hold(&mut self, id: Uuid, status: &str) {
        let expected = "a hold only of what is left of an order that is held";
        let found = format!("one of an order that is {status}");
        let found = Discrepancy::new(Check::Hold, Some(id), expected, found);
        self.found.add(found);
    }

    fn wrong_archive(&mut self, expected: String, found: i64) {
        let found = Discrepancy::new(Check::Archive, None, expected, found);
        self.found.add(found);
    }

    fn missing_order(&mut self, id: Uuid, what: &str) {
        let expected = format!("what {what} refers to");
        let found = Discrepancy::new(Check::MissingOrder, Some(id), expected, "none");
        self.found.add(found);
    }
}

/// The number of orders that came to each milestone.
#[derive(Default, FromRow)]
struct Counts {
    accepted: i64,
    sold: i64,
    failed: i64,
    completed: i64,
    cancelled: i64,
    returned: i64,
    held: i64,
    confirmed: i64,
    expired: i64,
    released: i64,
}

impl Counts {
    const NAMES: [&str; 10] = [
        "accepted",
        "sold",
        "failed",
        "completed",
        "cancelled",
        "returned",
        "held",
        "confirmed",
        "expired",
        "released",
    ];

    const fn each(&self) -> [i64; 10] {
        [
            self.accepted,
            self.sold,
            self.failed,
            self.completed,
            self.cancelled,
            self.returned,
            self.held,
            self.confirmed,
            self.expired,
            self.released,
        ]
    }

    const fn each_mut(&mut self) -> [&mut i64; 10] {
        [
            &mut self.accepted,
            &mut self.sold,
            &mut self.failed,
            &mut self.completed,
            &mut self.cancelled,
            &mut self.returned,
            &mut self.held,
            &mut self.confirmed,
            &mut self.expired,
            &mut self.released,
        ]
    }
}

/// Pieces of a product, and the number of rows that they are the sum of.
#[derive(FromRow)]
struct Pieces {
    id: Uuid,
    rows: i64,
    pieces: i64,
}

/// What sold orders keep of a product and gave back, and the number of its lines.
#[derive(FromRow)]
struct LinesRow {
    id: Uuid,
    rows: i64,
    pieces: i64,
    returned: i64,
}

#[derive(FromRow)]
struct ProductRow {
    id: Uuid,
    sku: Option<String>,
    name: String,
    stock: i64,
}

/// An order, and what its lines make.
#[derive(FromRow)]
struct TotalRow {
    id: Uuid,
    total_price: i64,
    total: Option<i64>,
    lines: Option<i64>,
    last_no: Option<i64>,
}

impl TotalRow {
    fn discrepancy(&self) -> Discrepancy {
        let id = Some(self.id);
        match (self.lines, self.last_no) {
            (None, _) => Discrepancy::new(Check::OrderLines, id, "lines", "none"),
            (Some(lines), Some(last)) if lines != last => {
                let expected = format!("lines 1 to {last}");
                Discrepancy::new(Check::OrderLines, id, expected, format!("{lines} of them"))
            }
            _ => {
                let expected = format!("{} (minor units)", self.total.unwrap_or_default());
                Discrepancy::new(Check::OrderTotal, id, expected, self.total_price)
            }
        }
    }
}
