//! The statements whose text differs between databases, by what they are about. Those that are the
//! same on every database stand beside the scripts that execute them.

use super::sorted::Sorted;
use crate::process::TaskState;

/// The statements that differ between databases.
pub(crate) struct Statements {
    pub(super) history: HistoryStatements,
    pub(super) holds: HoldStatements,
    pub(super) keys: KeyStatements,
    /// Inserts an entry of the audit log: its id, client, key, action, subject, before and after,
    /// and the time that follows.
    pub(super) insert_audit: &'static str,
    pub(super) orders: OrderStatements,
    pub(super) products: ProductStatements,
    pub(super) queue: QueueStatements,
    pub(super) stats: StatsStatements,
    pub(super) tasks: TaskStatements,
}

/// The statements over history that differ between databases. Unless it is said otherwise, the first
/// parameter of each are orders, by ids.
pub(crate) struct HistoryStatements {
    /// Of each product: lines, pieces, those that the orders keep, those that they gave back.
    pub(super) sums: &'static str,
    /// The orders that have an entry of a queue.
    pub(super) entries: &'static str,
    /// Adds what the orders took of products to what stays; the second parameter is the last of them.
    pub(super) carry_sales: &'static str,
    /// Adds what customers keep in the orders to what counts towards limits.
    pub(super) carry_purchases: &'static str,
    /// Counts the orders in a sealed file, the second parameter.
    pub(super) carry_counts: &'static str,
    pub(super) delete_lines: &'static str,
    pub(super) delete_attempts: &'static str,
    pub(super) delete_orders: &'static str,
    /// The idempotency keys of the orders: scope, key, order.
    pub(super) keys_of: &'static str,
    /// Takes customer and reference out of the orders.
    pub(super) empty_orders: &'static str,
    /// Takes the errors out of the attempts at the tasks of the orders.
    pub(super) empty_attempts: &'static str,
    /// The orders from one to another of idempotency keys that are younger than an age.
    pub(super) young_keys: &'static str,
    /// The idempotency keys of orders from one to another that are older than an age: scope, key, order.
    pub(super) old_keys: &'static str,
    /// The orders without lines, locked in id order.
    pub(super) lock: &'static str,
    /// The ids of the first orders of a customer, up to a limit, locked in id order.
    pub(super) lock_of_customer: &'static str,
    /// Deletes returns, by products and their own ids.
    pub(super) delete_returns: &'static str,
    /// Deletes idempotency keys, by scopes and keys.
    pub(super) delete_keys: &'static str,
    /// Sets the fingerprint of idempotency keys, by scopes and keys.
    pub(super) empty_keys: &'static str,
}

/// The statements over holds that differ between databases.
pub(crate) struct HoldStatements {
    /// The ends of holds and their orders, after a time and an order, up to a limit, in that order:
    /// those that are over at the time that follows.
    pub(super) lapsed: &'static str,
    /// The orders of holds that are over at the time that follows: of each of some products up to a
    /// limit.
    pub(super) lapsed_of: &'static str,
    /// Orders without lines, by ids, in id order, that are held and whose time is over at the time that
    /// follows, locked. Those that are locked already are skipped.
    pub(super) lock_lapsed: &'static str,
    /// The same as [`lock_stock`](ProductStatements::lock_stock), without those that are locked already.
    pub(super) lock_free_products: &'static str,
    /// Makes held orders expired, by ids, and counts them; gives their ids.
    pub(super) expire: &'static str,
    /// Removes the holds of orders, by ids.
    pub(super) remove: &'static str,
    /// Sets anew when the first hold of products lapses, by ids.
    pub(super) refresh: &'static str,
    /// The time that follows.
    pub(super) now: &'static str,
}

/// The statements over keys that differ between databases.
pub(crate) struct KeyStatements {
    /// Keys that are not revoked, in id order, by the time that follows.
    pub(super) active: &'static str,
    /// Notes the use of keys, by ids, unless one was noted less than an age ago; at the time that
    /// follows.
    pub(super) note_use: &'static str,
}

/// The statements over orders that differ between databases.
pub(crate) struct OrderStatements {
    /// Orders without lines, by ids, in id order.
    pub(super) read: &'static str,
    /// Lines of orders, by ids, in the order of the orders and of their lines.
    pub(super) lines: &'static str,
    /// The states of orders, by ids.
    pub(super) progress: &'static str,
    /// One order without lines, locked.
    pub(super) lock: &'static str,
    /// Cancels an order at a time, with the pieces of each line as a JSON array; the fourth parameter
    /// is 1 when it was sold, and 0 otherwise, and the fifth likewise when it was held.
    pub(super) cancel: &'static str,
    /// Writes the total of what is left of an order, and the pieces that are cancelled of each line, as
    /// a JSON array.
    pub(super) give_back: &'static str,
    /// The ids of orders that have been pending for an age, after an id, up to a limit, in id order.
    pub(super) pending_for: &'static str,
    /// The number of pending orders up to a limit, and the microseconds that the oldest of them has
    /// been pending, by the time that follows.
    pub(super) backlog: &'static str,
    /// The orders with a line of the product `$1`, along the lines, to which conditions on `order_id`
    /// are added. Lines of a product are in the order of their orders.
    pub(super) along_product: &'static str,
    /// What follows them, to which conditions on the orders are added.
    pub(super) along_product_orders: Sorted,
    /// The end of that, before it is sorted.
    pub(super) along_product_end: &'static str,
    /// The pieces that customers, a JSON array, have of products, by ids, in orders that hold stock at
    /// the time that follows: customer, product, pieces, and the order, if it is held.
    pub(super) had_by_customers: &'static str,
    /// The condition that an order has a line of the product `$2`.
    pub(super) has_product: &'static str,
}

/// The statements over products that differ between databases.
pub(crate) struct ProductStatements {
    /// One living product, locked.
    pub(super) lock: &'static str,
    /// Living products, by ids, locked in id order. Those that are locked are skipped.
    pub(super) lock_free: &'static str,
    /// The same, locked in any case.
    pub(super) lock_all: &'static str,
    /// Living products, by a list of skus.
    pub(super) by_skus: &'static str,
    /// Price and stock of products, by ids, locked in id order, and the time, asked when they are
    /// locked, that follows.
    pub(super) lock_stock: &'static str,
    /// Living products, by ids, after whoever is changing them.
    pub(super) living: &'static str,
    /// The same as they are now, the newest first.
    pub(super) by_ids: &'static str,
    /// The prices of living products, by ids, and whether they have a limit per customer.
    pub(super) prices: &'static str,
    /// The history of the stock of a product, before an entry, up to a limit, the newest first.
    pub(super) stock_history: &'static str,
    pub(super) stock_by_minute: &'static str,
    /// Ids and names of living products whose name is not folded, after an id, up to a limit, in id
    /// order. Those that are locked are skipped.
    pub(super) unfolded: &'static str,
}

/// The statements of a queue. The first parameter of each is a topic.
pub(crate) struct QueueStatements {
    /// Inserts entries by their orders, unless they are there, due at the time that follows.
    pub(super) push: &'static str,
    /// Claims entries that are due: up to so many, until a time, under an id.
    pub(super) claim: &'static str,
    /// Deletes the entries that leases still hold.
    pub(super) ack: &'static str,
    /// Puts the entries that leases still hold back, until a time.
    pub(super) retry: &'static str,
    /// Gives the entries up that leases still hold, at a time, for a reason.
    pub(super) dead_letter: &'static str,
    /// Makes dead entries due, by their orders, at the time that follows; gives their orders.
    pub(super) redrive: &'static str,
    /// The beginning of the condition that the lower-cased reason contains the text that follows.
    pub(super) reason_contains: &'static str,
    /// Counts entries up to a limit, of which those may be claimed that have been due for an age, by
    /// the time that follows.
    pub(super) stats: &'static str,
}

/// The statements over figures that differ between databases.
pub(crate) struct StatsStatements {
    /// One row for each step of a window, both given in seconds, and one for all that was before.
    pub(super) counters: &'static str,
    /// The first pending order after an id, and the microseconds that it has been pending, by the
    /// time that follows.
    pub(super) oldest_pending: &'static str,
    /// The products that the newest orders ask for, with the pieces: from so many orders, so many
    /// lines of them, and up to so many products.
    pub(super) hot_products: &'static str,
}

/// The statements over tasks and workers that differ between databases.
pub(crate) struct TaskStatements {
    /// The state of an order, which is locked.
    pub(super) lock_status: &'static str,
    /// Inserts the task of an order, due at the time that follows, unless it is there.
    pub(super) insert: &'static str,
    /// Makes the task of an order due at the time that follows, if it is dead or delayed. One that
    /// is under a lease keeps it.
    pub(super) make_due: &'static str,
    /// Turns the task of an order into a compensation that is due at the time that follows. An
    /// attempt that is under way keeps its lease.
    pub(super) mark_compensating: &'static str,
    /// Notes that a return came, on the task of an order that somebody may know without it: of one that
    /// was claimed before, or of a completed order, if the second parameter says that it is.
    pub(super) mark_returned: &'static str,
    /// Inserts the compensation of a completed order, due at the time that follows, unless it has a
    /// task.
    pub(super) insert_compensation: &'static str,
    /// The task of an order, and the time that follows.
    pub(super) task: &'static str,
    /// Up to so many tasks in a state, of which those may be claimed that have been due for an age,
    /// by the time that follows, each with that time.
    pub(super) in_state: fn(TaskState) -> &'static str,
    /// All workers, and the time, those that started last first.
    pub(super) workers: &'static str,
    /// The statements that write a heartbeat, before the last one.
    pub(super) write_heartbeat: &'static [&'static str],
    /// The last statement of a heartbeat: gives the topics that are paused.
    pub(super) paused: &'static str,
}
