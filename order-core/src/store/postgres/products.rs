//! Products, and the ledger of their stock.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::{
    PostgresStore,
    contended::when_lockable,
    idempotency::{is_replay, keep},
    search, session,
};
use crate::{
    domain::{
        AdjustmentId, MAX_OFFSET_ROWS, NewProduct, Page, PageRequest, PageStart, Product,
        ProductChange, ProductId, Replayable, StockAdjustment,
    },
    error::Error,
    store::{
        ProductQuery, ProductStore,
        error::on_commit,
        idempotency::Kept,
        retry::{Retry, with_retry},
        rows::{ProductRow, kept_fold, select_product},
    },
};

type Row = ProductRow<DateTime<Utc>>;

#[async_trait]
impl ProductStore for PostgresStore {
    async fn create_product(&self, product: &NewProduct) -> Result<Product, Error> {
        with_retry!(retry => self.connections.attempt(self.create_once(product, &retry)))
    }

    async fn product(&self, id: ProductId) -> Result<Option<Product>, Error> {
        with_retry!(_retry => self.connections.attempt(self.product_once(id)))
    }

    async fn product_with_sku(&self, sku: &str) -> Result<Option<Product>, Error> {
        with_retry!(_retry => self.connections.attempt(self.product_with_sku_once(sku)))
    }

    async fn products(&self, query: &ProductQuery) -> Result<Page<Product, ProductId>, Error> {
        with_retry!(_retry => self.connections.attempt(self.products_once(query)))
    }

    async fn update_product(
        &self,
        id: ProductId,
        change: &ProductChange,
        adjustment_id: AdjustmentId,
        at: DateTime<Utc>,
    ) -> Result<Option<Product>, Error> {
        when_lockable!(self, &[id], retry => {
            self.connections.attempt(self.update_once(id, change, adjustment_id, at, &retry))
        })
    }

    async fn adjust_stock(
        &self,
        adjustment: &StockAdjustment,
    ) -> Result<Option<Replayable<Product>>, Error> {
        when_lockable!(self, &[adjustment.product_id], retry => {
            self.connections.attempt(self.adjust_once(adjustment, &retry))
        })
    }

    async fn archive_product(&self, id: ProductId, at: DateTime<Utc>) -> Result<bool, Error> {
        when_lockable!(self, &[id], retry => self.connections.attempt(self.archive_once(id, at, &retry)))
    }

    async fn fold_names(&self) -> Result<u64, Error> {
        search::fold_names(self).await
    }
}

impl PostgresStore {
    async fn product_once(&self, id: ProductId) -> Result<Option<Product>, Error> {
        let row: Option<Row> =
            sqlx::query_as(select_product!("WHERE id = $1 AND archived_at IS NULL"))
                .bind(id.0)
                .fetch_optional(&mut *self.connections.acquire().await?)
                .await?;
        row.map(Product::try_from).transpose()
    }

    async fn product_with_sku_once(&self, sku: &str) -> Result<Option<Product>, Error> {
        let row: Option<ProductRow<DateTime<Utc>>> =
            sqlx::query_as(select_product!("WHERE sku = $1 AND archived_at IS NULL"))
                .bind(sku)
                .fetch_optional(&mut *self.connections.acquire().await?)
                .await?;
        row.map(Product::try_from).transpose()
    }

    async fn products_once(&self, query: &ProductQuery) -> Result<Page<Product, ProductId>, Error> {
        let rows = match query.folded_part() {
            Some(part) => {
                self.named(search::page(self, &part, &query.page).await?)
                    .await?
            }
            None => self.newest(&query.page).await?,
        };
        let total = match query.page.start {
            PageStart::Offset(_) => Some(self.count(query).await?),
            _ => None,
        };
        let products = rows
            .into_iter()
            .map(Product::try_from)
            .collect::<Result<_, _>>()?;
        Ok(Page::from_rows(
            products,
            query.page.size,
            |p: &Product| p.id,
            total,
        ))
    }

    async fn newest(&self, page: &PageRequest<ProductId>) -> Result<Vec<Row>, Error> {
        let (after, offset) = page.bounds();
        // A condition of the primary key in any case: `$1 IS NULL OR …` would be none, and
        // a page far back would walk past all that is newer.
        let rows = sqlx::query_as(select_product!(
            "WHERE archived_at IS NULL AND id < $1 ORDER BY id DESC LIMIT $2 OFFSET $3"
        ))
        .bind(after.map_or(Uuid::max(), |id| id.0))
        .bind(page.limit())
        .bind(offset)
        .fetch_all(&mut *self.connections.acquire().await?)
        .await?;
        Ok(rows)
    }

    /// These products. One that was archived a moment ago is shown all the same: the page
    /// stays as long as it was found to be, and goes on where it ends.
    async fn named(&self, ids: Vec<Uuid>) -> Result<Vec<Row>, Error> {
        let rows = sqlx::query_as(select_product!("WHERE id = ANY($1) ORDER BY id DESC"))
            .bind(ids)
            .fetch_all(&mut *self.connections.acquire().await?)
            .await?;
        Ok(rows)
    }

    async fn create_once(&self, product: &NewProduct, retry: &Retry) -> Result<Product, Error> {
        let mut connection = self.connections.acquire().await?;
        let mut tx = connection.begin().await?;
        if retry.resolving()
            && let Some(stored) = lock(&mut tx, product.id).await?
        {
            session::assure(&mut tx).await?;
            tx.commit().await?;
            return Ok(stored);
        }
        let created = product.clone().into_product();
        sqlx::query(
            "INSERT INTO products (id, sku, name, price, stock, version, created_at, updated_at,
                                   name_folded, name_folded_of)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8,
                     $9, CASE WHEN $9 IS NOT NULL THEN $3 END)",
        )
        .bind(created.id.0)
        .bind(&created.sku)
        .bind(&created.name)
        .bind(created.price.minor_units())
        .bind(created.stock)
        .bind(created.version)
        .bind(created.created_at)
        .bind(created.updated_at)
        .bind(kept_fold(&created.name))
        .execute(&mut *tx)
        .await?;
        enter(&mut tx, &StockAdjustment::initial(product)).await?;
        tx.commit().await.map_err(on_commit)?;
        Ok(created)
    }

    async fn update_once(
        &self,
        id: ProductId,
        change: &ProductChange,
        adjustment_id: AdjustmentId,
        at: DateTime<Utc>,
        retry: &Retry,
    ) -> Result<Option<Product>, Error> {
        let mut connection = self.connections.acquire().await?;
        let mut tx = connection.begin_for(retry).await?;
        let Some(before) = lock(&mut tx, id).await? else {
            return Ok(None);
        };
        if retry.resolving() && is_entered(&mut tx, adjustment_id).await? {
            session::assure(&mut tx).await?;
            tx.commit().await?;
            return Ok(Some(before));
        }
        let stock_before = before.stock;
        let product = change.apply(before, at)?;
        let adjustment = StockAdjustment::set(adjustment_id, stock_before, &product);
        enter(&mut tx, &adjustment).await?;
        write(tx, &product).await?;
        Ok(Some(product))
    }

    async fn adjust_once(
        &self,
        adjustment: &StockAdjustment,
        retry: &Retry,
    ) -> Result<Option<Replayable<Product>>, Error> {
        let mut connection = self.connections.acquire().await?;
        let mut tx = connection.begin_for(retry).await?;
        let Some(before) = lock(&mut tx, adjustment.product_id).await? else {
            return Ok(None);
        };
        if retry.resolving() && is_entered(&mut tx, adjustment.id).await? {
            session::assure(&mut tx).await?;
            tx.commit().await?;
            return Ok(Some(Replayable::first(before)));
        }
        let kept = Kept::of_adjustment(adjustment);
        if let Some(kept) = &kept
            && is_replay(&mut tx, &kept.key, kept.fingerprint).await?
        {
            session::assure(&mut tx).await?;
            tx.commit().await?;
            return Ok(Some(Replayable::again(before)));
        }
        let product = adjustment.apply(before)?;
        enter(&mut tx, adjustment).await?;
        if let Some(kept) = kept {
            keep(&mut tx, kept).await?;
        }
        write(tx, &product).await?;
        Ok(Some(Replayable::first(product)))
    }

    async fn archive_once(
        &self,
        id: ProductId,
        at: DateTime<Utc>,
        retry: &Retry,
    ) -> Result<bool, Error> {
        let mut connection = self.connections.acquire().await?;
        let done = sqlx::query(
            "UPDATE products SET archived_at = $2, updated_at = $2, version = version + 1
             WHERE id = $1 AND archived_at IS NULL",
        )
        .bind(id.0)
        .bind(at)
        .execute(&mut *connection)
        .await
        .map_err(on_commit)?;
        if done.rows_affected() > 0 || !retry.resolving() {
            return Ok(done.rows_affected() > 0);
        }
        let mine: Option<i32> =
            sqlx::query_scalar("SELECT 1 FROM products WHERE id = $1 AND archived_at = $2")
                .bind(id.0)
                .bind(at)
                .fetch_optional(&mut *connection)
                .await?;
        if mine.is_some() {
            session::assure(&mut connection).await?;
        }
        Ok(mine.is_some())
    }

    async fn count(&self, query: &ProductQuery) -> Result<u64, Error> {
        let count: i64 = match query.folded_part() {
            Some(part) => search::count(self, &part).await?,
            None => {
                sqlx::query_scalar(
                    "SELECT count(*) FROM (
                         SELECT 1 FROM products WHERE archived_at IS NULL LIMIT $1) counted",
                )
                .bind(i64::from(MAX_OFFSET_ROWS))
                .fetch_one(&mut *self.connections.acquire().await?)
                .await?
            }
        };
        Ok(count.unsigned_abs())
    }
}

/// A living product, locked.
async fn lock(connection: &mut PgConnection, id: ProductId) -> Result<Option<Product>, Error> {
    let row: Option<Row> = sqlx::query_as(select_product!(
        "WHERE id = $1 AND archived_at IS NULL FOR NO KEY UPDATE"
    ))
    .bind(id.0)
    .fetch_optional(connection)
    .await?;
    row.map(Product::try_from).transpose()
}

/// Writes a locked product back, and commits.
async fn write(mut tx: Transaction<'_, Postgres>, product: &Product) -> Result<(), Error> {
    sqlx::query(
        "UPDATE products SET sku = $2, name = $3, price = $4, stock = $5, version = $6, updated_at = $7,
                name_folded = $8, name_folded_of = CASE WHEN $8 IS NOT NULL THEN $3 END
         WHERE id = $1",
    )
    .bind(product.id.0)
    .bind(&product.sku)
    .bind(&product.name)
    .bind(product.price.minor_units())
    .bind(product.stock)
    .bind(product.version)
    .bind(product.updated_at)
    .bind(kept_fold(&product.name))
    .execute(&mut *tx)
    .await?;
    tx.commit().await.map_err(on_commit)
}

/// Enters a change in the ledger, also one of 0 pieces: its id tells later that it was made.
async fn enter(connection: &mut PgConnection, adjustment: &StockAdjustment) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO stock_adjustments (id, product_id, delta, reason, created_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(adjustment.id.0)
    .bind(adjustment.product_id.0)
    .bind(adjustment.delta)
    .bind(&adjustment.reason)
    .bind(adjustment.created_at)
    .execute(connection)
    .await?;
    Ok(())
}

async fn is_entered(connection: &mut PgConnection, id: AdjustmentId) -> Result<bool, Error> {
    let found: Option<i32> = sqlx::query_scalar("SELECT 1 FROM stock_adjustments WHERE id = $1")
        .bind(id.0)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}
