//! The turns of requests and of tasks at the connection that writes: how long tasks rest, and how
//! many may end at once.

use std::time::{Duration, Instant};

use crate::store::sql::backend::Priority;

/// The rest of tasks, in times of what their last transaction took, when few buy.
const REST: u32 = 2;
/// The same when many do: they wait for each other anyway.
const REST_AMONG_MANY: u32 = 1;
/// For how long somebody who bought is somebody who buys.
const BUYING: Duration = Duration::from_millis(250);
/// The attempts that may end in one turn, however few buy: whoever does waits for them.
const FEW_ENDED: usize = 256;
/// The most attempts that may end in one turn, however many buy.
const MOST_ENDED: usize = 2_000;
/// The attempts that may end for each order that was sold since others did: more than one, so that
/// a backlog shrinks.
const ENDED_PER_SALE: usize = 2;

/// What is remembered of the turns that were.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// When a request last had its turn.
    request: Option<Instant>,
    /// Until when tasks rest, if there are requests.
    rest: Option<Instant>,
    /// The orders that were sold since attempts last ended.
    sold: usize,
}

impl Turns {
    /// Notes a turn that began at `began` and ends `now`.
    pub(super) fn had(&mut self, priority: Priority, began: Instant, now: Instant) {
        match priority {
            Priority::Request => self.request = Some(now),
            Priority::Background => {}
            Priority::Tasks => {
                let is_among_many = self.sold > FEW_ENDED;
                let times = if is_among_many { REST_AMONG_MANY } else { REST };
                self.rest = Some(now + times * (now - began));
            }
        }
    }

    /// Notes orders that were sold.
    pub(super) const fn sold(&mut self, orders: usize) {
        self.sold = self.sold.saturating_add(orders);
    }

    /// Notes a turn in which attempts ended.
    pub(super) const fn ended(&mut self) {
        self.sold = 0;
    }

    /// Until when tasks rest, if somebody buys.
    pub(super) fn rest(&self, now: Instant) -> Option<Instant> {
        let is_buying = |request: Instant| now.duration_since(request) < BUYING;
        self.rest.filter(|_| self.request.is_some_and(is_buying))
    }

    /// The most attempts that may end in a turn that begins now: the more were sold since the last one, the
    /// more. Whoever buys among many waits for many others anyway, and what is sold is done as fast.
    pub(super) fn most_ended(&self) -> usize {
        let of_sales = self.sold.saturating_mul(ENDED_PER_SALE);
        of_sales.clamp(FEW_ENDED, MOST_ENDED)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::{
        OrderService,
        clock::{Clock, SystemClock},
        domain::{IdGenerator, OrderId, OrderRequest, ProductRequest, Quantity},
        process::{AttemptOutcome, Claim, Claimed, TaskStore},
        store::{OrderStore, SqliteStore, Store, Strategy, sql::tasks::end_tasks},
    };

    #[test]
    fn as_many_attempts_end_as_orders_are_sold_and_few_when_few_buy() {
        let mut turns = Turns::default();
        assert_eq!(turns.most_ended(), FEW_ENDED, "nobody buys");
        turns.sold(1);
        assert_eq!(turns.most_ended(), FEW_ENDED, "one buys");
        turns.sold(399);
        assert_eq!(turns.most_ended(), 800, "more than were sold");
        turns.sold(100_000);
        assert_eq!(turns.most_ended(), MOST_ENDED, "a bulk");
        turns.ended();
        assert_eq!(turns.most_ended(), FEW_ENDED, "nothing was sold since");
    }

    #[test]
    fn tasks_rest_twice_as_long_as_they_took_while_somebody_buys_and_once_when_many_do() {
        let (start, ms) = (Instant::now(), Duration::from_millis(1));
        let mut turns = Turns::default();
        turns.had(Priority::Tasks, start, start + 5 * ms);
        assert_eq!(turns.rest(start + 5 * ms), None, "nobody buys");
        turns.had(Priority::Request, start + 5 * ms, start + 6 * ms);
        assert_eq!(turns.rest(start + 6 * ms), Some(start + 15 * ms));
        turns.had(Priority::Background, start + 6 * ms, start + 60 * ms);
        assert_eq!(turns.rest(start + 60 * ms), Some(start + 15 * ms));
        assert_eq!(turns.rest(start + 256 * ms), None, "nobody buys any more");

        turns.sold(FEW_ENDED + 1);
        turns.had(Priority::Tasks, start, start + 5 * ms);
        assert_eq!(
            turns.rest(start + 6 * ms),
            Some(start + 10 * ms),
            "many buy"
        );
    }

    /// What was sold while they waited for their turn counts.
    #[tokio::test]
    async fn the_sales_before_a_turn_say_how_many_attempts_end_in_it() {
        const SOLD: usize = 400;
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("orders.db").display());
        let store = Arc::new(SqliteStore::connect(&url).await.unwrap());
        store.migrate().await.unwrap();
        let service = OrderService::builder(Arc::clone(&store) as Arc<dyn Store>).build();
        let product = ProductRequest::new("p", "1".parse().unwrap(), 10_000, None).unwrap();
        let product = service.create_product(product).await.unwrap().id;
        let (ids, now) = (IdGenerator::default(), SystemClock.now());
        let orders = || {
            let one = || OrderRequest::one(product, Quantity::new(1).unwrap());
            let order = |_| one().into_new_order(OrderId(ids.next(now)), now);
            (0..SOLD).map(order).collect::<Vec<_>>()
        };
        store.purchase(&orders(), Strategy::Batch).await.unwrap();
        let claim = Claim {
            id: ids.next(now),
            worker_id: Uuid::nil(),
            max: SOLD,
            ahead: SOLD,
            delay: Duration::ZERO,
            lease: Duration::from_secs(60),
        };
        let claimed = store.claim_tasks(&claim).await.unwrap();
        assert_eq!(claimed.len(), SOLD);
        let done =
            |claimed: &Claimed| claimed.result(Uuid::nil(), Duration::ZERO, AttemptOutcome::Done);
        let done: Vec<_> = claimed.iter().map(done).collect();
        let ended = end_tasks(&*store, &done[..1], now).await.unwrap();
        assert_eq!((ended.ended, ended.completed), (1, 1));

        let few = end_tasks(&*store, &done[1..], now).await.unwrap();
        assert_eq!(few.ended, FEW_ENDED, "nothing was sold since");
        let more = orders();
        let (sold, ended) = tokio::join!(
            biased;
            store.purchase(&more, Strategy::Batch),
            end_tasks(&*store, &done[1..], now)
        );
        sold.unwrap();
        let ended = ended.unwrap();
        assert_eq!(ended.ended, SOLD - 1, "many were sold since");
        let new = (SOLD - 1 - FEW_ENDED) as u64;
        assert_eq!(ended.completed, new, "the others were completed before");
    }
}
