//! Products, and the ledger of their stock.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, Transaction};

use super::PostgresStore;
use crate::{
    domain::{
        AdjustmentId, MAX_OFFSET_ROWS, NewProduct, Page, PageStart, Product, ProductChange,
        ProductId, StockAdjustment,
    },
    error::Error,
    store::{
        ProductQuery, ProductStore,
        error::on_commit,
        retry::{Retry, with_retry},
        rows::{ProductRow, select_product},
    },
};

#[async_trait]
impl ProductStore for PostgresStore {
    async fn create_product(&self, product: &NewProduct) -> Result<Product, Error> {
        with_retry!(retry => self.create_once(product, &retry))
    }

    async fn product(&self, id: ProductId) -> Result<Option<Product>, Error> {
        with_retry!(_retry => self.product_once(id))
    }

    async fn product_with_sku(&self, sku: &str) -> Result<Option<Product>, Error> {
        with_retry!(_retry => self.product_with_sku_once(sku))
    }

    async fn products(&self, query: &ProductQuery) -> Result<Page<Product, ProductId>, Error> {
        with_retry!(_retry => self.products_once(query))
    }

    async fn update_product(
        &self,
        id: ProductId,
        change: &ProductChange,
        adjustment_id: AdjustmentId,
        at: DateTime<Utc>,
    ) -> Result<Option<Product>, Error> {
        with_retry!(retry => self.update_once(id, change, adjustment_id, at, &retry))
    }

    async fn adjust_stock(&self, adjustment: &StockAdjustment) -> Result<Option<Product>, Error> {
        with_retry!(retry => self.adjust_once(adjustment, &retry))
    }

    async fn archive_product(&self, id: ProductId, at: DateTime<Utc>) -> Result<bool, Error> {
        with_retry!(retry => self.archive_once(id, at, &retry))
    }
}

impl PostgresStore {
    async fn product_once(&self, id: ProductId) -> Result<Option<Product>, Error> {
        let row: Option<ProductRow<DateTime<Utc>>> =
            sqlx::query_as(select_product!("WHERE id = $1 AND archived_at IS NULL"))
                .bind(id.0)
                .fetch_optional(&self.pool)
                .await?;
        row.map(Product::try_from).transpose()
    }

    async fn product_with_sku_once(&self, sku: &str) -> Result<Option<Product>, Error> {
        let row: Option<ProductRow<DateTime<Utc>>> =
            sqlx::query_as(select_product!("WHERE sku = $1 AND archived_at IS NULL"))
                .bind(sku)
                .fetch_optional(&self.pool)
                .await?;
        row.map(Product::try_from).transpose()
    }

    async fn products_once(&self, query: &ProductQuery) -> Result<Page<Product, ProductId>, Error> {
        let (after, offset) = query.page.bounds();
        let rows: Vec<ProductRow<DateTime<Utc>>> = sqlx::query_as(select_product!(
            "WHERE archived_at IS NULL
               AND ($1::uuid IS NULL OR id < $1)
               AND ($2::text IS NULL OR strpos(lower(name), lower($2)) > 0)
             ORDER BY id DESC LIMIT $3 OFFSET $4"
        ))
        .bind(after.map(|id| id.0))
        .bind(&query.search)
        .bind(query.page.limit())
        .bind(offset)
        .fetch_all(&self.pool)
        .await?;
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

    async fn create_once(&self, product: &NewProduct, retry: &Retry) -> Result<Product, Error> {
        if retry.resolving()
            && let Some(stored) = self.product(product.id).await?
        {
            return Ok(stored);
        }
        let created = product.clone().into_product();
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO products (id, sku, name, price, stock, version, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(created.id.0)
        .bind(&created.sku)
        .bind(&created.name)
        .bind(created.price.minor_units())
        .bind(created.stock)
        .bind(created.version)
        .bind(created.created_at)
        .bind(created.updated_at)
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
        let mut tx = self.pool.begin().await?;
        let Some(before) = lock(&mut tx, id).await? else {
            return Ok(None);
        };
        if retry.resolving() && is_entered(&mut tx, adjustment_id).await? {
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
    ) -> Result<Option<Product>, Error> {
        let mut tx = self.pool.begin().await?;
        let Some(before) = lock(&mut tx, adjustment.product_id).await? else {
            return Ok(None);
        };
        if retry.resolving() && is_entered(&mut tx, adjustment.id).await? {
            return Ok(Some(before));
        }
        let product = adjustment.apply(before)?;
        enter(&mut tx, adjustment).await?;
        write(tx, &product).await?;
        Ok(Some(product))
    }

    async fn archive_once(
        &self,
        id: ProductId,
        at: DateTime<Utc>,
        retry: &Retry,
    ) -> Result<bool, Error> {
        let done = sqlx::query(
            "UPDATE products SET archived_at = $2, updated_at = $2, version = version + 1
             WHERE id = $1 AND archived_at IS NULL",
        )
        .bind(id.0)
        .bind(at)
        .execute(&self.pool)
        .await
        .map_err(on_commit)?;
        if done.rows_affected() > 0 || !retry.resolving() {
            return Ok(done.rows_affected() > 0);
        }
        let mine: Option<i32> =
            sqlx::query_scalar("SELECT 1 FROM products WHERE id = $1 AND archived_at = $2")
                .bind(id.0)
                .bind(at)
                .fetch_optional(&self.pool)
                .await?;
        Ok(mine.is_some())
    }

    async fn count(&self, query: &ProductQuery) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM (
                 SELECT 1 FROM products
                 WHERE archived_at IS NULL
                   AND ($1::text IS NULL OR strpos(lower(name), lower($1)) > 0)
                 LIMIT $2) counted",
        )
        .bind(&query.search)
        .bind(i64::from(MAX_OFFSET_ROWS))
        .fetch_one(&self.pool)
        .await?;
        Ok(count.unsigned_abs())
    }
}

/// A living product, locked.
async fn lock(connection: &mut PgConnection, id: ProductId) -> Result<Option<Product>, Error> {
    let row: Option<ProductRow<DateTime<Utc>>> = sqlx::query_as(select_product!(
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
        "UPDATE products SET sku = $2, name = $3, price = $4, stock = $5, version = $6, updated_at = $7
         WHERE id = $1",
    )
    .bind(product.id.0)
    .bind(&product.sku)
    .bind(&product.name)
    .bind(product.price.minor_units())
    .bind(product.stock)
    .bind(product.version)
    .bind(product.updated_at)
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
