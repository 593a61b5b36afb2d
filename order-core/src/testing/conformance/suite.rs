//! The suites, one for each part that a store may have.

use std::{future::Future, sync::Arc};

use super::{
    audit as audit_checks, filters, fixture::fixture, held_returns, holds as hold_checks,
    idempotency, keys as key_checks, names, order_versions, orders, packed_tasks as packed_checks,
    products, progress, queue as queue_checks, races, returns as return_checks,
    stats as stats_checks, stock_minutes, tasks as task_checks, terms, time::Time, waiting_tasks,
    workers as worker_checks,
};
use crate::{queue::OrderQueue, store::Store};

/// Checks a store that has every part; `fresh` makes a new, empty one with its time.
///
/// # Panics
/// At the first check that fails.
pub async fn store<F, Fut>(fresh: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn Store>, Arc<dyn Time>)>,
{
    products_and_orders(&fresh).await;
    keys(&fresh).await;
    audit(&fresh).await;
    stats(&fresh).await;
    tasks(&fresh).await;
    holds(&fresh).await;
    returns(&fresh).await;
    workers(&fresh).await;
}

/// Checks the products and orders of a store, which are all that it takes to sell; `fresh` makes a
/// new, empty store with its time.
///
/// # Panics
/// At the first check that fails.
pub async fn products_and_orders<F, Fut>(fresh: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn Store>, Arc<dyn Time>)>,
{
    products::created_products_can_be_read(&fixture(fresh).await).await;
    products::skus_are_unique_among_active_products(&fixture(fresh).await).await;
    products::changes_grow_the_version_and_enter_the_ledger(&fixture(fresh).await).await;
    products::stock_stays_within_its_bounds(&fixture(fresh).await).await;
    products::many_are_written_as_each_alone(&fixture(fresh).await).await;
    products::pages_and_search_find_each_product_once(&fixture(fresh).await).await;
    products::any_part_of_a_name_finds_it(&fixture(fresh).await).await;
    filters::filters_leave_what_they_say(&fixture(fresh).await).await;
    filters::lists_keep_to_a_range_of_times(&fixture(fresh).await).await;
    filters::a_total_that_does_not_fit_is_refused(&fixture(fresh).await).await;
    names::names_are_found_in_either_case_in_any_script(&fixture(fresh).await).await;
    names::a_product_is_found_by_its_new_name(&fixture(fresh).await).await;
    names::search_finds_what_its_definition_says(&fixture(fresh).await).await;
    orders::a_bad_order_does_not_touch_its_neighbours(&fixture(fresh).await).await;
    orders::the_same_id_is_stored_once(&fixture(fresh).await).await;
    orders::decisions_come_first_come_first_served(&fixture(fresh).await).await;
    orders::lines_of_one_product_are_summed(&fixture(fresh).await).await;
    orders::archived_products_fail_their_orders(&fixture(fresh).await).await;
    orders::a_refused_purchase_leaves_no_trace(&fixture(fresh).await).await;
    orders::cancelling_gives_the_stock_back_once(&fixture(fresh).await).await;
    orders::the_price_is_that_of_the_acceptance(&fixture(fresh).await).await;
    orders::lists_filter_and_continue(&fixture(fresh).await).await;
    orders::an_order_is_of_the_client_that_placed_it(&fixture(fresh).await).await;
    progress::where_orders_stand_is_what_they_say(&fixture(fresh).await).await;
    progress::the_backlog_is_what_is_pending(&fixture(fresh).await).await;
    progress::what_is_pending_grows_old_by_the_clock_of_the_store(&fixture(fresh).await).await;
    idempotency::an_order_with_a_key_is_placed_once(&fixture(fresh).await).await;
    idempotency::a_key_belongs_to_one_request(&fixture(fresh).await).await;
    idempotency::a_refused_request_keeps_no_key(&fixture(fresh).await).await;
    idempotency::stock_is_adjusted_and_orders_are_cancelled_once(&fixture(fresh).await).await;
    idempotency::the_same_keys_at_once_place_one_order_each(&fixture(fresh).await).await;
    idempotency::one_key_for_different_orders_places_one(&fixture(fresh).await).await;
    progress::what_is_pending_is_counted(&fixture(fresh).await).await;
    races::the_last_piece_is_sold_once(&fixture(fresh).await).await;
    races::each_order_is_decided_once(&fixture(fresh).await).await;
    races::cancelling_and_deciding_agree(&fixture(fresh).await).await;
    races::everything_at_once_deadlocks_never(&fixture(fresh).await).await;
}

/// Checks the API keys of a store.
///
/// # Panics
/// At the first check that fails.
pub async fn keys<F, Fut>(fresh: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn Store>, Arc<dyn Time>)>,
{
    key_checks::a_key_is_kept_without_its_secret(&fixture(fresh).await).await;
    key_checks::revoking_is_for_good_and_opens_nothing(&fixture(fresh).await).await;
    key_checks::a_client_has_one_name_and_many_keys(&fixture(fresh).await).await;
    key_checks::a_key_expires_by_the_clock_of_the_store(&fixture(fresh).await).await;
    key_checks::the_use_of_a_key_is_noted_once_a_minute(&fixture(fresh).await).await;
}

/// Checks the audit log of a store, which needs its other parts.
///
/// # Panics
/// At the first check that fails.
pub async fn audit<F, Fut>(fresh: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn Store>, Arc<dyn Time>)>,
{
    audit_checks::changes_of_products_are_entered_once(&fixture(fresh).await).await;
    audit_checks::a_cancelled_order_is_entered_once(&fixture(fresh).await).await;
    audit_checks::keys_are_entered_without_their_hashes(&fixture(fresh).await).await;
    audit_checks::what_operators_do_to_queues_is_entered(&fixture(fresh).await).await;
    audit_checks::the_log_is_read_by_filters_and_pages(&fixture(fresh).await).await;
}

/// Checks the figures of a store for operators.
///
/// # Panics
/// At the first check that fails.
pub async fn stats<F, Fut>(fresh: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn Store>, Arc<dyn Time>)>,
{
    stats_checks::every_milestone_is_counted(&fixture(fresh).await).await;
    stats_checks::compacting_changes_no_sum(&fixture(fresh).await).await;
    stats_checks::the_newest_orders_are_told_about(&fixture(fresh).await).await;
    stats_checks::counters_are_exact_when_everybody_comes(&fixture(fresh).await).await;
}

/// Checks the post-sale tasks of a store, which needs a queue and heartbeats for their pauses.
///
/// # Panics
/// At the first check that fails.
pub async fn tasks<F, Fut>(fresh: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn Store>, Arc<dyn Time>)>,
{
    task_checks::every_sale_has_its_task_however_it_was_sold(&fixture(fresh).await).await;
    task_checks::a_task_that_is_there_already_is_kept(&fixture(fresh).await).await;
    task_checks::an_order_is_in_the_trace_of_its_request(&fixture(fresh).await).await;
    task_checks::a_task_that_is_done_completes_its_order_once(&fixture(fresh).await).await;
    task_checks::a_task_waits_out_its_delay(&fixture(fresh).await).await;
    task_checks::a_failed_attempt_is_kept_and_made_again(&fixture(fresh).await).await;
    task_checks::tasks_are_claimed_in_the_order_in_which_they_are_due(&fixture(fresh).await).await;
    task_checks::a_lease_that_ran_out_is_a_failed_attempt(&fixture(fresh).await).await;
    task_checks::cancelling_takes_the_task_or_turns_it(&fixture(fresh).await).await;
    packed_checks::tasks_that_were_sold_together_end_by_themselves(&fixture(fresh).await).await;
    packed_checks::a_lease_of_many_runs_out_for_each(&fixture(fresh).await).await;
    packed_checks::a_task_that_was_not_begun_is_due_again(&fixture(fresh).await).await;
    packed_checks::what_is_cancelled_among_many_is_undone(&fixture(fresh).await).await;
    packed_checks::a_claim_ahead_gives_no_more_than_it_may(&fixture(fresh).await).await;
    waiting_tasks::only_what_was_sold_has_a_task_to_put_on_the_queue(&fixture(fresh).await).await;
    waiting_tasks::a_task_is_counted_once_wherever_it_waits(&fixture(fresh).await).await;
    waiting_tasks::tasks_are_told_apart_by_their_state(&fixture(fresh).await).await;
    waiting_tasks::a_task_is_put_on_the_queue_again(&fixture(fresh).await).await;
    waiting_tasks::a_pause_holds_tasks_and_workers_hear_of_it(&fixture(fresh).await).await;
    races::what_was_done_for_a_cancelled_order_is_undone(&fixture(fresh).await).await;
}

/// Checks the holds of a store, and its terms of sale, which need tasks and figures, too.
///
/// # Panics
/// At the first check that fails.
pub async fn holds<F, Fut>(fresh: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn Store>, Arc<dyn Time>)>,
{
    hold_checks::an_order_is_held_and_confirmed(&fixture(fresh).await).await;
    hold_checks::a_confirmed_order_is_sold_like_any_other(&fixture(fresh).await).await;
    hold_checks::a_hold_cannot_be_confirmed_after_its_time(&fixture(fresh).await).await;
    hold_checks::a_hold_is_extended_up_to_a_day(&fixture(fresh).await).await;
    hold_checks::only_what_is_held_is_confirmed_or_extended(&fixture(fresh).await).await;
    hold_checks::lapsed_stock_goes_to_whoever_needs_it(&fixture(fresh).await).await;
    hold_checks::what_nobody_needs_expires_in_batches(&fixture(fresh).await).await;
    hold_checks::what_has_no_room_stays_held(&fixture(fresh).await).await;
    hold_checks::a_repeated_hold_is_the_same(&fixture(fresh).await).await;
    hold_checks::a_hold_has_one_end(&fixture(fresh).await).await;
    held_returns::what_is_left_of_a_hold_expires(&fixture(fresh).await).await;
    held_returns::what_is_left_of_a_lapsed_hold_goes_to_whoever_needs_it(&fixture(fresh).await)
        .await;
    held_returns::what_is_left_of_a_hold_is_confirmed(&fixture(fresh).await).await;
    held_returns::a_hold_of_which_nothing_is_left_is_cancelled(&fixture(fresh).await).await;
    held_returns::what_came_back_may_be_had_again(&fixture(fresh).await).await;
    terms::a_product_is_sold_within_its_window(&fixture(fresh).await).await;
    terms::a_window_is_kept_in_whole_microseconds(&fixture(fresh).await).await;
    terms::a_customer_has_no_more_than_the_limit(&fixture(fresh).await).await;
}

/// Checks that parts of orders come back, with the tasks and the audit log that tell of it.
///
/// # Panics
/// At the first check that fails.
pub async fn returns<F, Fut>(fresh: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn Store>, Arc<dyn Time>)>,
{
    return_checks::part_of_an_order_comes_back(&fixture(fresh).await).await;
    return_checks::the_rest_of_an_order_is_cancelled(&fixture(fresh).await).await;
    return_checks::only_what_holds_stock_gives_back(&fixture(fresh).await).await;
    return_checks::a_return_with_a_key_is_carried_out_once(&fixture(fresh).await).await;
    return_checks::what_came_back_does_not_change_a_replay(&fixture(fresh).await).await;
    return_checks::each_piece_comes_back_once(&fixture(fresh).await).await;
    return_checks::returns_and_all_else_agree(&fixture(fresh).await).await;
    return_checks::a_completed_order_gives_back_and_stays_completed(&fixture(fresh).await).await;
    return_checks::what_came_back_is_told(&fixture(fresh).await).await;
    return_checks::a_return_is_entered_in_the_audit_log(&fixture(fresh).await).await;
    return_checks::the_history_of_stock_adds_up(&fixture(fresh).await).await;
    stock_minutes::the_history_is_summed_by_minutes(fixture(fresh).await).await;
    order_versions::an_order_is_cancelled_only_as_it_was_seen(&fixture(fresh).await).await;
    order_versions::a_hold_is_changed_only_as_it_was_seen(&fixture(fresh).await).await;
    order_versions::one_of_those_who_saw_the_same_hold_changes_it(&fixture(fresh).await).await;
    order_versions::each_state_has_the_version_that_is_read(&fixture(fresh).await).await;
    order_versions::one_of_those_who_saw_the_same_changes_it(&fixture(fresh).await).await;
}

/// Checks the heartbeats that a store keeps.
///
/// # Panics
/// At the first check that fails.
pub async fn workers<F, Fut>(fresh: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn Store>, Arc<dyn Time>)>,
{
    worker_checks::workers_are_judged_by_the_clock_of_the_store(&fixture(fresh).await).await;
}

/// Checks a queue; `fresh` makes a new, empty one with its time.
///
/// # Panics
/// At the first check that fails.
pub async fn queue<F, Fut>(fresh: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn OrderQueue>, Arc<dyn Time>)>,
{
    queue_checks::entries_come_once_and_oldest_first(fresh().await).await;
    queue_checks::a_lease_that_ran_out_is_taken_over(fresh().await).await;
    queue_checks::a_retry_waits_for_its_delay(fresh().await).await;
    queue_checks::dead_letters_are_kept_and_not_claimed(fresh().await).await;
    queue_checks::dead_letters_can_be_read_and_redriven(fresh().await).await;
    queue_checks::dead_letters_are_found_by_reason_and_time(fresh().await).await;
    queue_checks::a_paused_topic_gives_out_nothing(fresh().await).await;
    queue_checks::concurrent_claims_share_nothing(fresh().await).await;
}
