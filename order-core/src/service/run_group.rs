//! Running one group of orders in one transaction.

use tokio::time::Instant;

use super::inner::ServiceInner;
use crate::{
    domain::{NewOrder, Order, OrderMode, Replayable},
    error::Error,
    metrics,
};

/// The most orders that share one transaction.
pub(super) const GROUP_ORDERS: usize = 1_000;

/// Runs a group; each order has a result of its own. When the backend refuses the group for
/// good, every order is tried alone, so that a bad one does not fail its neighbours.
pub(super) async fn run_group(
    inner: &ServiceInner,
    mode: OrderMode,
    orders: &[NewOrder],
) -> Vec<Result<Order, Error>> {
    match run_once(inner, mode, orders).await {
        Ok(results) => results,
        Err(error) if orders.len() == 1 || concerns_all(&error) => {
            orders.iter().map(|_| Err(error.clone())).collect()
        }
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                orders = orders.len(),
                "group failed, trying its orders alone"
            );
            let mut results = Vec::with_capacity(orders.len());
            for order in orders {
                let alone = run_once(inner, mode, std::slice::from_ref(order)).await;
                results.push(alone.and_then(only));
            }
            results
        }
    }
}

/// The responses to the orders of a group, each with the fact that it is a replay or not.
pub(super) fn responses(
    orders: &[NewOrder],
    results: Vec<Result<Order, Error>>,
) -> impl Iterator<Item = Result<Replayable<Order>, Error>> {
    orders.iter().zip(results).map(|(order, result)| {
        result.map(|stored| Replayable {
            replayed: order.is_replayed_by(&stored),
            value: stored,
        })
    })
}

/// The result of the one order that was given.
pub(super) fn only<T>(results: impl IntoIterator<Item = Result<T, Error>>) -> Result<T, Error> {
    results
        .into_iter()
        .next()
        .unwrap_or_else(|| Err(Error::corrupt("the store gave no result for the order")))
}

/// True for an error that each order alone would meet, too.
pub(super) const fn concerns_all(error: &Error) -> bool {
    error.is_transient() && !matches!(error, Error::Locked)
}

async fn run_once(
    inner: &ServiceInner,
    mode: OrderMode,
    orders: &[NewOrder],
) -> Result<Vec<Result<Order, Error>>, Error> {
    let start = Instant::now();
    let results = match mode {
        OrderMode::Accept => inner.accept(orders).await,
        OrderMode::Purchase => {
            let outcome = inner.purchase(orders).await;
            let results = outcome.map(|outcome| outcome.results);
            if results
                .as_ref()
                .is_ok_and(|results| results.iter().any(Result::is_ok))
            {
                inner.sold.notify_one();
            }
            results
        }
    };
    let record = match mode {
        OrderMode::Accept => metrics::accepted,
        OrderMode::Purchase => metrics::purchased,
    };
    record(
        orders,
        start.elapsed(),
        &results.as_ref().map(Vec::as_slice),
    );
    results
}
