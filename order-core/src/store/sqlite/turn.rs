//! One transaction for each turn, made of the steps of `steps`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    SqliteStore,
    accept::insert,
    conditional,
    idempotency::{keep, keys_of},
    json_ids,
    read::by_id,
    steps::{claim, decide_claimed, read, take},
};
use crate::{
    domain::{NewOrder, Order, OrderMode, Product, ProductId},
    error::Error,
    store::{
        Decided, Outcome, Pick, Purchase,
        idempotency::Batch,
        plan,
        retry::Retry,
        rows::{self, Micros, select_product},
        strategy::Turns,
    },
};

#[async_trait]
impl Turns for SqliteStore {
    async fn living(&self, products: &[ProductId]) -> Result<Vec<Product>, Error> {
        let rows: Vec<rows::ProductRow<Micros>> = sqlx::query_as(select_product!(
            "WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND archived_at IS NULL"
        ))
        .bind(json_ids(products.iter().map(|id| id.0)))
        .fetch_all(&mut *self.readers.acquire().await?)
        .await?;
        rows.into_iter().map(Product::try_from).collect()
    }

    async fn purchase_locked(
        &self,
        orders: &[NewOrder],
        retry: &Retry,
    ) -> Result<Outcome<Purchase>, Error> {
        let mut tx = self.writer.begin().await?;
        let batch = Batch::new(orders, OrderMode::Purchase, keys_of(&mut tx, orders).await?);
        let stored = by_id(&mut tx, batch.to_read(retry)).await?;
        let products = read(&mut tx, batch.lines()).await?;
        let (prices, mut batch_stock) = (plan::prices(&products), plan::batch_stock(&products));
        let settled = batch.settle(&stored, |order| {
            plan::sell(order, &prices, &mut batch_stock)
        });
        let sold: Vec<&Order> = settled.made().collect();
        let mut changed = Vec::new();
        if !sold.is_empty() {
            insert(&mut tx, &sold).await?;
            keep(&mut tx, &settled.kept).await?;
            changed = take(&mut tx, batch_stock.deductions(), plan::latest(orders)).await?;
            tx.commit().await?;
        }
        Ok(Outcome {
            results: settled.results,
            changed,
            ..Outcome::default()
        })
    }

    async fn purchase_if_enough(
        &self,
        order: &NewOrder,
        _retry: &Retry,
    ) -> Result<Option<Outcome<Purchase>>, Error> {
        conditional::purchase(self, order).await
    }

    async fn decide_locked(
        &self,
        pick: Pick<'_>,
        at: DateTime<Utc>,
        retry: &Retry,
    ) -> Result<Outcome<Decided>, Error> {
        let mut tx = self.writer.begin_in_background().await?;
        let pending = claim(&mut tx, pick).await?;
        if pending.is_empty() {
            return Ok(Outcome::default());
        }
        let outcome = decide_claimed(&mut tx, &pending, at).await?;
        retry.note(outcome.changed.iter().map(|product| product.id));
        tx.commit().await?;
        Ok(outcome)
    }

    async fn decide_conditional(
        &self,
        pick: Pick<'_>,
        at: DateTime<Utc>,
        retry: &Retry,
    ) -> Result<Outcome<Decided>, Error> {
        conditional::decide(self, pick, at, retry).await
    }
}
