//! The conformance suite: what every store and every queue must do, whatever it is made of.
//!
//! Each check gets a new, empty backend from `fresh`, and what moves its clock.
//!
//! Orders are stamped with times that lie far from those of the backend, as servers do whose
//! clocks are wrong: nothing but what people read may go by them.

mod idempotency;
mod keys;
mod names;
mod orders;
mod products;
mod progress;
mod queue;
mod races;
mod stats;
mod tasks;
mod waiting_tasks;

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    domain::{
        AdjustmentId, IdGenerator, NewOrder, OrderId, OrderRequest, Product, ProductId,
        ProductRequest, Quantity, RequestedLine,
    },
    queue::OrderQueue,
    store::Store,
};

/// Puts a store through all of its checks; `fresh` makes a new, empty one with its time.
///
/// # Panics
/// At the first that fails.
pub async fn store<F, Fut>(fresh: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn Store>, Arc<dyn Time>)>,
{
    products::created_products_can_be_read(&bench(&fresh).await).await;
    products::skus_are_unique_among_living_products(&bench(&fresh).await).await;
    products::changes_grow_the_version_and_enter_the_ledger(&bench(&fresh).await).await;
    products::stock_stays_within_its_bounds(&bench(&fresh).await).await;
    products::pages_and_search_find_each_product_once(&bench(&fresh).await).await;
    products::any_part_of_a_name_finds_it(&bench(&fresh).await).await;
    names::names_are_found_in_either_case_in_any_script(&bench(&fresh).await).await;
    names::a_product_is_found_by_its_new_name(&bench(&fresh).await).await;
    names::search_finds_what_its_definition_says(&bench(&fresh).await).await;
    orders::a_bad_order_does_not_touch_its_neighbours(&bench(&fresh).await).await;
    orders::the_same_id_is_stored_once(&bench(&fresh).await).await;
    orders::decisions_come_first_come_first_served(&bench(&fresh).await).await;
    orders::lines_of_one_product_are_summed(&bench(&fresh).await).await;
    orders::archived_products_fail_their_orders(&bench(&fresh).await).await;
    orders::a_refused_purchase_leaves_no_trace(&bench(&fresh).await).await;
    orders::cancelling_gives_the_stock_back_once(&bench(&fresh).await).await;
    orders::the_price_is_that_of_the_acceptance(&bench(&fresh).await).await;
    orders::lists_filter_and_continue(&bench(&fresh).await).await;
    progress::where_orders_stand_is_what_they_say(&bench(&fresh).await).await;
    progress::the_backlog_is_what_is_pending(&bench(&fresh).await).await;
    progress::what_is_pending_grows_old_by_the_clock_of_the_store(&bench(&fresh).await).await;
    keys::a_key_is_kept_without_its_secret(&bench(&fresh).await).await;
    keys::revoking_is_for_good_and_opens_nothing(&bench(&fresh).await).await;
    idempotency::an_order_with_a_key_is_placed_once(&bench(&fresh).await).await;
    idempotency::a_key_belongs_to_one_request(&bench(&fresh).await).await;
    idempotency::a_refused_request_keeps_no_key(&bench(&fresh).await).await;
    idempotency::stock_is_adjusted_and_orders_are_cancelled_once(&bench(&fresh).await).await;
    idempotency::the_same_keys_at_once_place_one_order_each(&bench(&fresh).await).await;
    idempotency::one_key_for_different_orders_places_one(&bench(&fresh).await).await;
    stats::every_milestone_is_tallied(&bench(&fresh).await).await;
    stats::folding_changes_no_sum(&bench(&fresh).await).await;
    stats::the_newest_orders_are_told_about(&bench(&fresh).await).await;
    stats::tallies_are_exact_when_everybody_comes(&bench(&fresh).await).await;
    tasks::every_sale_has_its_task_however_it_was_sold(&bench(&fresh).await).await;
    tasks::a_task_that_is_there_already_is_kept(&bench(&fresh).await).await;
    tasks::an_order_is_in_the_trace_of_its_request(&bench(&fresh).await).await;
    tasks::a_task_that_is_done_completes_its_order_once(&bench(&fresh).await).await;
    tasks::a_task_waits_out_its_delay(&bench(&fresh).await).await;
    tasks::a_failed_attempt_is_kept_and_made_again(&bench(&fresh).await).await;
    tasks::tasks_are_claimed_in_the_order_in_which_they_are_due(&bench(&fresh).await).await;
    tasks::a_lease_that_ran_out_is_a_failed_attempt(&bench(&fresh).await).await;
    tasks::cancelling_takes_the_task_or_turns_it(&bench(&fresh).await).await;
    waiting_tasks::only_what_was_sold_has_a_task_to_put_on_the_queue(&bench(&fresh).await).await;
    waiting_tasks::a_task_is_counted_once_wherever_it_waits(&bench(&fresh).await).await;
    waiting_tasks::a_task_is_put_on_the_queue_again(&bench(&fresh).await).await;
    waiting_tasks::a_pause_holds_tasks_and_workers_hear_of_it(&bench(&fresh).await).await;
    waiting_tasks::workers_are_judged_by_the_clock_of_the_store(&bench(&fresh).await).await;
    waiting_tasks::what_is_pending_is_counted(&bench(&fresh).await).await;
    races::the_last_piece_is_sold_once(&bench(&fresh).await).await;
    races::each_order_is_decided_once(&bench(&fresh).await).await;
    races::cancelling_and_deciding_agree(&bench(&fresh).await).await;
    races::what_was_done_for_a_cancelled_order_is_undone(&bench(&fresh).await).await;
    races::everything_at_once_deadlocks_never(&bench(&fresh).await).await;
}

/// The time that a backend goes by, to be moved instead of waited for.
#[async_trait]
pub trait Time: Send + Sync {
    /// Moves the clock of the backend forward; where it cannot be moved, makes everything older
    /// that the backend remembers.
    async fn advance(&self, by: TimeDelta);
}

/// Puts a queue through all of its checks; `fresh` makes a new, empty one with its time.
///
/// # Panics
/// At the first that fails.
pub async fn queue<F, Fut>(fresh: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn OrderQueue>, Arc<dyn Time>)>,
{
    queue::entries_come_once_and_oldest_first(fresh().await).await;
    queue::a_lease_that_ran_out_is_taken_over(fresh().await).await;
    queue::a_retry_waits_for_its_delay(fresh().await).await;
    queue::dead_letters_are_kept_and_not_claimed(fresh().await).await;
    queue::dead_letters_can_be_read_and_redriven(fresh().await).await;
    queue::a_paused_topic_gives_out_nothing(fresh().await).await;
    queue::concurrent_claims_share_nothing(fresh().await).await;
}

/// What a check works with: the store and its time, and a source of ids at the one point in time
/// at which orders are stamped.
struct Bench {
    store: Arc<dyn Store>,
    time: Arc<dyn Time>,
    ids: IdGenerator,
    at: DateTime<Utc>,
}

async fn bench<F, Fut>(fresh: &F) -> Bench
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn Store>, Arc<dyn Time>)>,
{
    let (store, time) = fresh().await;
    Bench {
        store,
        time,
        ids: IdGenerator::default(),
        at: start(),
    }
}

/// When all that tests stamp happens.
#[must_use]
pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap()
}

impl Bench {
    async fn product(&self, name: &str, stock: i64) -> Product {
        let request = ProductRequest::new(name, "2.50".parse().unwrap(), stock, None).unwrap();
        self.create(request).await.unwrap()
    }

    async fn create(&self, request: ProductRequest) -> Result<Product, crate::Error> {
        let product = request.stamp(
            ProductId(self.ids.next(self.at)),
            self.adjustment_id(),
            self.at,
        );
        self.store.create_product(&product).await
    }

    /// Lets time go by for the store.
    async fn wait(&self, seconds: i64) {
        self.time.advance(TimeDelta::seconds(seconds)).await;
    }

    async fn stock(&self, id: ProductId) -> i64 {
        self.store.product(id).await.unwrap().unwrap().stock
    }

    async fn books_balance(&self) {
        assert_eq!(self.store.verify().await.unwrap(), []);
    }

    fn adjustment_id(&self) -> AdjustmentId {
        AdjustmentId(self.ids.next(self.at))
    }

    fn order(&self, lines: &[(ProductId, i64)]) -> NewOrder {
        let lines = lines
            .iter()
            .map(|(product_id, quantity)| RequestedLine {
                product_id: *product_id,
                quantity: Quantity::new(*quantity).unwrap(),
            })
            .collect();
        let request = OrderRequest::new(lines, Some("reference".to_owned())).unwrap();
        request.stamp(OrderId(self.ids.next(self.at)), self.at)
    }

    fn orders(&self, count: usize, lines: &[(ProductId, i64)]) -> Vec<NewOrder> {
        (0..count).map(|_| self.order(lines)).collect()
    }
}
