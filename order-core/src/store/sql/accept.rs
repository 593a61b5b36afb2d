//! Storing new orders as pending.

use super::{
    backend::{LockFailure, Priority, SqlTransaction},
    decide::ClaimSteps,
    idempotency::look_up,
    plan,
    retry::{Attempt, Retry},
    stock::prices,
};
use crate::{
    domain::{NewOrder, Order, OrderMode},
    error::Error,
};

pub(super) async fn accept<B: ClaimSteps>(
    backend: &B,
    orders: &[NewOrder],
) -> Result<Vec<Result<Order, Error>>, Error> {
    let mut retry = Retry::reporting(|failure| failure == LockFailure::Key);
    let accepted = retry.run(backend, |attempt| accept_once(backend, orders, attempt));
    accepted
        .await
        .map_err(|error| match B::lock_failure(&error) {
            Some(LockFailure::Key) => Error::Locked,
            _ => error,
        })
}

async fn accept_once<B: ClaimSteps>(
    backend: &B,
    orders: &[NewOrder],
    attempt: Attempt,
) -> Result<Vec<Result<Order, Error>>, Error> {
    let mut tx = backend.begin_single(Priority::Request).await?;
    let (batch, stored) = look_up(&mut *tx, orders, OrderMode::Accept, attempt.resolving).await?;
    let prices = prices(&mut *tx, &plan::products_of(batch.lines())).await?;
    let settled = batch.settle(&stored, |order| prices.order(order));
    let pending: Vec<&Order> = settled.made().collect();
    if let Some(first) = pending.iter().map(|order| order.id).min() {
        let at = plan::latest(orders);
        tx.insert_orders(&pending, &settled.records, &Vec::new(), at)
            .await?;
        tx.commit().await?;
        backend.accepted(first);
    } else if settled.results.iter().any(Result::is_ok) {
        tx.confirm().await?;
    }
    Ok(settled.results)
}
