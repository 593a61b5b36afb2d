//! Held orders, made straight on the database.

use std::sync::Arc;

use anyhow::ensure;
use order_core::{
    clock::{Clock, SystemClock},
    domain::{HoldTime, IdGenerator, NewOrder, OrderId, OrderRequest, ProductId, Quantity},
    store::{Store, Strategy},
};

/// The orders of one transaction.
const BATCH: usize = 1_000;

/// Holds so many orders of one piece for a day.
///
/// # Errors
/// When the store does not sell them.
pub async fn hold_orders(
    store: &Arc<dyn Store>,
    product: ProductId,
    count: usize,
) -> anyhow::Result<Vec<OrderId>> {
    let (ids, mut held) = (IdGenerator::default(), Vec::with_capacity(count));
    let request = OrderRequest::one(product, Quantity::new(1)?);
    let request = request.held_for(Some(HoldTime::new(86_400)?));
    while held.len() < count {
        let at = SystemClock.now();
        let batch = BATCH.min(count - held.len());
        let order = || request.clone().into_new_order(OrderId(ids.next(at)), at);
        let orders: Vec<NewOrder> = std::iter::repeat_with(order).take(batch).collect();
        let outcome = store.purchase(&orders, Strategy::Batch).await?;
        ensure!(outcome.results.iter().all(Result::is_ok), "not all is held");
        held.extend(orders.iter().map(NewOrder::id));
    }
    Ok(held)
}
