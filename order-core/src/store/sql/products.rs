//! Products, and the ledger of their stock.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    audit,
    backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
    idempotency::{insert_key, is_replay},
    idempotency_record::IdempotencyRecord,
    lockable::ContentionSteps,
    retry::Attempt,
    rows::{self, ProductRow, product_columns, stored_fold},
    value::Value,
};
use crate::{
    audit::{AuditChange, author},
    domain::{
        AdjustmentId, NewProduct, Page, PageStart, Product, ProductChange, ProductId, Replayable,
        StockAdjustment,
    },
    error::Error,
    store::products::ProductQuery,
};

/// The way in which a database finds products.
#[async_trait]
pub(crate) trait ProductSteps: ContentionSteps {
    /// The page of living products that a query asks for, newest first.
    async fn find_products(&self, query: &ProductQuery) -> Result<Vec<ProductRow>, Error>;

    /// The number of those products, counted up to [`MAX_OFFSET_ROWS`](crate::domain::MAX_OFFSET_ROWS).
    async fn count_products(&self, query: &ProductQuery) -> Result<i64, Error>;

    /// Tells, without a lock, whether there may be names to fold.
    async fn may_have_unfolded_names(&self) -> Result<bool, Error> {
        Ok(true)
    }
}

pub(super) const PRODUCT: &str = concat!(
    "SELECT ",
    product_columns!(""),
    " FROM products WHERE id = $1 AND archived_at IS NULL"
);

pub(super) const PRODUCT_WITH_SKU: &str = concat!(
    "SELECT ",
    product_columns!(""),
    " FROM products WHERE sku = $1 AND archived_at IS NULL"
);

const INSERT_PRODUCT: &str =
    "INSERT INTO products (id, sku, name, price, stock, version, created_at, updated_at,
                           name_folded, name_folded_of, limit_per_customer, on_sale_from,
                           on_sale_until)
     VALUES ($1, $2, $3, $4, $5, $6, $12, $7, $8, CASE WHEN $8 IS NOT NULL THEN $3 END,
             $9, $10, $11)";

pub(super) const WRITE_PRODUCT: &str =
    "UPDATE products SET sku = $2, name = $3, price = $4, stock = $5, version = $6, updated_at = $7,
            name_folded = $8, name_folded_of = CASE WHEN $8 IS NOT NULL THEN $3 END,
            limit_per_customer = $9, on_sale_from = $10, on_sale_until = $11
     WHERE id = $1";

const ARCHIVE_PRODUCT: &str =
    "UPDATE products SET archived_at = $2, updated_at = $2, version = version + 1
     WHERE id = $1 AND archived_at IS NULL";

const IS_ARCHIVED_AT: &str = "SELECT 1 FROM products WHERE id = $1 AND archived_at = $2";

const INSERT_ADJUSTMENT: &str =
    "INSERT INTO stock_adjustments (id, product_id, delta, reason, created_at, client, key_id)
     VALUES ($1, $2, $3, $4, $5, $6, $7)";

const IS_ADJUSTED: &str = "SELECT 1 FROM stock_adjustments WHERE id = $1";

pub(super) async fn find<B: SqlBackend>(
    backend: &B,
    statement: &'static str,
    key: Value<'_>,
) -> Result<Option<Product>, Error> {
    let mut connection = backend.read().await?;
    let row: Option<ProductRow> = connection.fetch_optional(statement, &[key]).await?;
    row.map(Product::try_from).transpose()
}

pub(super) async fn list<B: ProductSteps>(
    backend: &B,
    query: &ProductQuery,
) -> Result<Page<Product, ProductId>, Error> {
    let rows = backend.find_products(query).await?;
    let total = match query.page.start {
        PageStart::Offset(_) => Some(backend.count_products(query).await?),
        _ => None,
    };
    Ok(Page::from_rows(
        rows::products(rows)?,
        query.page.size,
        |product: &Product| product.id,
        total.map(i64::unsigned_abs),
    ))
}

pub(super) async fn create<B: SqlBackend>(
    backend: &B,
    product: &NewProduct,
    attempt: Attempt,
) -> Result<Product, Error> {
    let mut tx = backend.begin(Priority::Request, None).await?;
    if attempt.resolving
        && let Some(stored) = lock(&mut *tx, product.id).await?
    {
        tx.confirm().await?;
        return Ok(stored);
    }
    let created = product.clone().into_product();
    tx.execute(INSERT_PRODUCT, &columns(&created)).await?;
    insert_adjustment(&mut *tx, &StockAdjustment::initial(product)).await?;
    audit::record(&mut *tx, &AuditChange::product_created(&created)).await?;
    tx.commit().await?;
    Ok(created)
}

pub(super) async fn update<B: SqlBackend>(
    backend: &B,
    id: ProductId,
    change: &ProductChange,
    adjustment_id: AdjustmentId,
    at: DateTime<Utc>,
    attempt: Attempt,
) -> Result<Option<Product>, Error> {
    let mut tx = backend.begin(Priority::Request, attempt.lock_wait).await?;
    let Some(before) = lock(&mut *tx, id).await? else {
        return Ok(None);
    };
    if attempt.resolving && is_adjusted(&mut *tx, adjustment_id).await? {
        tx.confirm().await?;
        return Ok(Some(before));
    }
    let product = change.apply(before.clone(), at)?;
    let adjustment = StockAdjustment::set(adjustment_id, before.stock, &product);
    insert_adjustment(&mut *tx, &adjustment).await?;
    tx.execute(WRITE_PRODUCT, &columns(&product)[..11]).await?;
    let change = AuditChange::product_updated(&before, &product);
    audit::record(&mut *tx, &change).await?;
    tx.commit().await?;
    Ok(Some(product))
}

pub(super) async fn adjust<B: SqlBackend>(
    backend: &B,
    adjustment: &StockAdjustment,
    attempt: Attempt,
) -> Result<Option<Replayable<Product>>, Error> {
    let mut tx = backend.begin(Priority::Request, attempt.lock_wait).await?;
    let Some(before) = lock(&mut *tx, adjustment.product_id).await? else {
        return Ok(None);
    };
    if attempt.resolving && is_adjusted(&mut *tx, adjustment.id).await? {
        tx.confirm().await?;
        return Ok(Some(Replayable::first(before)));
    }
    let record = IdempotencyRecord::of_adjustment(adjustment);
    if let Some(record) = &record
        && is_replay(&mut *tx, record).await?
    {
        tx.confirm().await?;
        return Ok(Some(Replayable::again(before)));
    }
    let product = adjustment.apply(before)?;
    insert_adjustment(&mut *tx, adjustment).await?;
    if let Some(record) = &record {
        insert_key(&mut *tx, record).await?;
    }
    tx.execute(WRITE_PRODUCT, &columns(&product)[..11]).await?;
    let change = AuditChange::stock_adjusted(adjustment, &product);
    audit::record(&mut *tx, &change).await?;
    tx.commit().await?;
    Ok(Some(Replayable::first(product)))
}

pub(super) async fn archive<B: SqlBackend>(
    backend: &B,
    id: ProductId,
    expected_versions: &[i64],
    at: DateTime<Utc>,
    attempt: Attempt,
) -> Result<bool, Error> {
    let values = [Value::Id(id.0), Value::Time(at)];
    let mut tx = backend.begin(Priority::Request, attempt.lock_wait).await?;
    let Some(product) = lock(&mut *tx, id).await? else {
        return is_archived::<B>(tx, &values, attempt).await;
    };
    product.check_version(expected_versions)?;
    tx.execute(ARCHIVE_PRODUCT, &values).await?;
    audit::record(&mut *tx, &AuditChange::product_archived(&product)).await?;
    tx.commit().await?;
    Ok(true)
}

/// Tells whether an earlier attempt, whose answer was lost, archived the product.
async fn is_archived<B: SqlBackend>(
    mut tx: B::Transaction,
    values: &[Value<'_>],
    attempt: Attempt,
) -> Result<bool, Error> {
    if !attempt.resolving {
        return Ok(false);
    }
    let mine: Option<(i32,)> = tx.fetch_optional(IS_ARCHIVED_AT, values).await?;
    if mine.is_some() {
        tx.confirm().await?;
    }
    Ok(mine.is_some())
}

/// A living product, locked.
async fn lock<C: SqlConnection>(
    connection: &mut C,
    id: ProductId,
) -> Result<Option<Product>, Error> {
    let row: Option<ProductRow> = connection
        .fetch_optional(C::SQL.products.lock, &[Value::Id(id.0)])
        .await?;
    row.map(Product::try_from).transpose()
}

/// The parameters of [`INSERT_PRODUCT`], and of [`WRITE_PRODUCT`], which takes all but the last, the
/// time of creation. A new column goes before that one, so that both statements number it alike.
pub(super) fn columns(product: &Product) -> [Value<'_>; 12] {
    [
        Value::Id(product.id.0),
        Value::Text(product.sku.as_deref().map(Into::into)),
        Value::text(&product.name),
        Value::Int(product.price.minor_units()),
        Value::Int(product.stock),
        Value::Int(product.version),
        Value::Time(product.updated_at),
        Value::Text(stored_fold(&product.name).map(Into::into)),
        Value::MaybeInt(product.terms.limit_per_customer),
        Value::MaybeTime(product.terms.on_sale_from),
        Value::MaybeTime(product.terms.on_sale_until),
        Value::Time(product.created_at),
    ]
}

/// Enters a change in the ledger, also one of 0 pieces: its id tells later that it was made.
pub(super) async fn insert_adjustment<C: SqlConnection>(
    connection: &mut C,
    adjustment: &StockAdjustment,
) -> Result<(), Error> {
    let author = author();
    let values = [
        Value::Id(adjustment.id.0),
        Value::Id(adjustment.product_id.0),
        Value::Int(adjustment.delta),
        Value::text(&adjustment.reason),
        Value::Time(adjustment.created_at),
        Value::Text(author.client.as_deref().map(Into::into)),
        Value::OptionalId(author.key.map(|key| key.0)),
    ];
    let inserted = connection.execute(INSERT_ADJUSTMENT, &values);
    inserted.await.map(drop)
}

pub(super) async fn is_adjusted<C: SqlConnection>(
    connection: &mut C,
    id: AdjustmentId,
) -> Result<bool, Error> {
    let found: Option<(i32,)> = connection
        .fetch_optional(IS_ADJUSTED, &[Value::Id(id.0)])
        .await?;
    Ok(found.is_some())
}
