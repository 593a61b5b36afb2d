//! Products, and the ledger of their stock.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{
    SqliteStore,
    idempotency::{is_replay, keep},
    writer::WriteTransaction,
};
use crate::{
    domain::{
        AdjustmentId, MAX_OFFSET_ROWS, NewProduct, Page, PageStart, Product, ProductChange,
        ProductId, Replayable, StockAdjustment,
    },
    error::Error,
    store::{
        ProductQuery, ProductStore,
        idempotency::Kept,
        retry::with_retry,
        rows::{self, Micros, kept_fold, select_product},
    },
};

type ProductRow = rows::ProductRow<Micros>;

#[async_trait]
impl ProductStore for SqliteStore {
    async fn create_product(&self, product: &NewProduct) -> Result<Product, Error> {
        with_retry!(_retry => self.create_once(product))
    }

    async fn product(&self, id: ProductId) -> Result<Option<Product>, Error> {
        let row: Option<ProductRow> =
            sqlx::query_as(select_product!("WHERE id = ?1 AND archived_at IS NULL"))
                .bind(id.0)
                .fetch_optional(&mut *self.readers.acquire().await?)
                .await?;
        row.map(Product::try_from).transpose()
    }

    async fn product_with_sku(&self, sku: &str) -> Result<Option<Product>, Error> {
        let row: Option<ProductRow> =
            sqlx::query_as(select_product!("WHERE sku = ?1 AND archived_at IS NULL"))
                .bind(sku)
                .fetch_optional(&mut *self.readers.acquire().await?)
                .await?;
        row.map(Product::try_from).transpose()
    }

    async fn products(&self, query: &ProductQuery) -> Result<Page<Product, ProductId>, Error> {
        let (after, offset) = query.page.bounds();
        let rows: Vec<ProductRow> = sqlx::query_as(select_product!(
            "WHERE archived_at IS NULL AND id < ?1
               AND (?2 IS NULL OR instr(CASE WHEN name_folded_of = name THEN name_folded
                                             ELSE lower(name) END, ?2) > 0)
             ORDER BY id DESC LIMIT ?3 OFFSET ?4"
        ))
        // A condition of the primary key in any case: `?1 IS NULL OR …` would be none.
        .bind(after.map_or(Uuid::max(), |id| id.0))
        .bind(query.folded_part())
        .bind(query.page.limit())
        .bind(offset)
        .fetch_all(&mut *self.readers.acquire().await?)
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

    async fn update_product(
        &self,
        id: ProductId,
        change: &ProductChange,
        adjustment_id: AdjustmentId,
        at: DateTime<Utc>,
    ) -> Result<Option<Product>, Error> {
        with_retry!(_retry => self.update_once(id, change, adjustment_id, at))
    }

    async fn adjust_stock(
        &self,
        adjustment: &StockAdjustment,
    ) -> Result<Option<Replayable<Product>>, Error> {
        with_retry!(_retry => self.adjust_once(adjustment))
    }

    async fn archive_product(&self, id: ProductId, at: DateTime<Utc>) -> Result<bool, Error> {
        with_retry!(_retry => self.archive_once(id, at))
    }

    async fn fold_names(&self) -> Result<u64, Error> {
        super::fold::fold_names(self).await
    }
}

impl SqliteStore {
    async fn create_once(&self, product: &NewProduct) -> Result<Product, Error> {
        let created = product.clone().into_product();
        let mut tx = self.writer.begin().await?;
        sqlx::query(
            "INSERT INTO products (id, sku, name, price, stock, version, created_at, updated_at,
                                   name_folded, name_folded_of)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, CASE WHEN ?9 IS NOT NULL THEN ?3 END)",
        )
        .bind(created.id.0)
        .bind(&created.sku)
        .bind(&created.name)
        .bind(created.price.minor_units())
        .bind(created.stock)
        .bind(created.version)
        .bind(Micros::from(created.created_at))
        .bind(Micros::from(created.updated_at))
        .bind(kept_fold(&created.name))
        .execute(&mut *tx)
        .await?;
        enter(&mut tx, &StockAdjustment::initial(product)).await?;
        tx.commit().await?;
        Ok(created)
    }

    async fn update_once(
        &self,
        id: ProductId,
        change: &ProductChange,
        adjustment_id: AdjustmentId,
        at: DateTime<Utc>,
    ) -> Result<Option<Product>, Error> {
        let mut tx = self.writer.begin().await?;
        let Some(before) = living(&mut tx, id).await? else {
            return Ok(None);
        };
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
    ) -> Result<Option<Replayable<Product>>, Error> {
        let mut tx = self.writer.begin().await?;
        let Some(before) = living(&mut tx, adjustment.product_id).await? else {
            return Ok(None);
        };
        let kept = Kept::of_adjustment(adjustment);
        if let Some(kept) = &kept
            && is_replay(&mut tx, &kept.key, kept.fingerprint).await?
        {
            return Ok(Some(Replayable::again(before)));
        }
        let product = adjustment.apply(before)?;
        enter(&mut tx, adjustment).await?;
        keep(&mut tx, &kept).await?;
        write(tx, &product).await?;
        Ok(Some(Replayable::first(product)))
    }

    async fn archive_once(&self, id: ProductId, at: DateTime<Utc>) -> Result<bool, Error> {
        let mut tx = self.writer.begin().await?;
        let done = sqlx::query(
            "UPDATE products SET archived_at = ?2, updated_at = ?2, version = version + 1
             WHERE id = ?1 AND archived_at IS NULL",
        )
        .bind(id.0)
        .bind(Micros::from(at))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn count(&self, query: &ProductQuery) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM (
                 SELECT 1 FROM products
                 WHERE archived_at IS NULL
                   AND (?1 IS NULL OR instr(CASE WHEN name_folded_of = name THEN name_folded
                                                 ELSE lower(name) END, ?1) > 0)
                 LIMIT ?2)",
        )
        .bind(query.folded_part())
        .bind(i64::from(MAX_OFFSET_ROWS))
        .fetch_one(&mut *self.readers.acquire().await?)
        .await?;
        Ok(count.unsigned_abs())
    }
}

/// A living product, read under the write lock.
async fn living(
    connection: &mut SqliteConnection,
    id: ProductId,
) -> Result<Option<Product>, Error> {
    let row: Option<ProductRow> =
        sqlx::query_as(select_product!("WHERE id = ?1 AND archived_at IS NULL"))
            .bind(id.0)
            .fetch_optional(connection)
            .await?;
    row.map(Product::try_from).transpose()
}

/// Writes a product back, and commits.
async fn write(mut tx: WriteTransaction, product: &Product) -> Result<(), Error> {
    sqlx::query(
        "UPDATE products SET sku = ?2, name = ?3, price = ?4, stock = ?5, version = ?6, updated_at = ?7,
                name_folded = ?8, name_folded_of = CASE WHEN ?8 IS NOT NULL THEN ?3 END
         WHERE id = ?1",
    )
    .bind(product.id.0)
    .bind(&product.sku)
    .bind(&product.name)
    .bind(product.price.minor_units())
    .bind(product.stock)
    .bind(product.version)
    .bind(Micros::from(product.updated_at))
    .bind(kept_fold(&product.name))
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// Enters a change in the ledger, also one of 0 pieces: its id tells later that it was made.
async fn enter(
    connection: &mut SqliteConnection,
    adjustment: &StockAdjustment,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO stock_adjustments (id, product_id, delta, reason, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(adjustment.id.0)
    .bind(adjustment.product_id.0)
    .bind(adjustment.delta)
    .bind(&adjustment.reason)
    .bind(Micros::from(adjustment.created_at))
    .execute(connection)
    .await?;
    Ok(())
}
