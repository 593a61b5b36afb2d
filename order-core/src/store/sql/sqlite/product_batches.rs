//! Many products, one by one: in one file a statement costs no round trip.

use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::{
    domain::{Product, StockAdjustment},
    error::Error,
    store::sql::{
        backend::SqlConnection,
        products::{WRITE_PRODUCT, columns, insert_adjustment},
    },
};

const INSERT_UNLESS_THERE: &str =
    "INSERT INTO products (id, sku, name, price, stock, version, created_at, updated_at,
                           name_folded, name_folded_of, limit_per_customer, on_sale_from,
                           on_sale_until)
     VALUES ($1, $2, $3, $4, $5, $6, $12, $7, $8, CASE WHEN $8 IS NOT NULL THEN $3 END,
             $9, $10, $11)
     ON CONFLICT DO NOTHING";

pub(super) async fn insert_products(
    connection: &mut SqliteConnection,
    products: &[Product],
) -> Result<Vec<Uuid>, Error> {
    let mut inserted = Vec::new();
    for product in products {
        let values = columns(product);
        if connection.execute(INSERT_UNLESS_THERE, &values).await? == 1 {
            inserted.push(product.id.0);
        }
    }
    Ok(inserted)
}

pub(super) async fn write_products(
    connection: &mut SqliteConnection,
    products: &[Product],
) -> Result<(), Error> {
    for product in products {
        let values = columns(product);
        connection.execute(WRITE_PRODUCT, &values[..11]).await?;
    }
    Ok(())
}

pub(super) async fn insert_adjustments(
    connection: &mut SqliteConnection,
    all: &[StockAdjustment],
) -> Result<(), Error> {
    for adjustment in all {
        insert_adjustment(connection, adjustment).await?;
    }
    Ok(())
}
