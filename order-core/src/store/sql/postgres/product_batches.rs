//! Many products in one statement for each table.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    audit::Author,
    domain::{Product, StockAdjustment},
    error::Error,
    store::sql::{audit_row::AuditRow, rows::stored_fold},
};

/// They come in the order of their skus: two batches that wait for each other's skus would wait for
/// good otherwise.
const INSERT_PRODUCTS: &str =
    "INSERT INTO products (id, sku, name, price, stock, version, created_at, updated_at,
                           name_folded, name_folded_of, limit_per_customer, on_sale_from,
                           on_sale_until)
     SELECT id, sku, name, price, stock, version, created_at, created_at, fold,
            CASE WHEN fold IS NOT NULL THEN name END, per_customer, on_sale_from, on_sale_until
     FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
                 $7::text[], $8::timestamptz[], $9::bigint[], $10::timestamptz[],
                 $11::timestamptz[])
          AS new (id, sku, name, price, stock, version, fold, created_at, per_customer,
                  on_sale_from, on_sale_until)
     ON CONFLICT DO NOTHING RETURNING id";

const WRITE_PRODUCTS: &str =
    "UPDATE products SET sku = new.sku, name = new.name, price = new.price, stock = new.stock,
            version = new.version, updated_at = new.updated_at, name_folded = new.fold,
            name_folded_of = CASE WHEN new.fold IS NOT NULL THEN new.name END,
            limit_per_customer = new.per_customer, on_sale_from = new.on_sale_from,
            on_sale_until = new.on_sale_until
     FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
                 $7::text[], $8::timestamptz[], $9::bigint[], $10::timestamptz[],
                 $11::timestamptz[])
          AS new (id, sku, name, price, stock, version, fold, updated_at, per_customer,
                  on_sale_from, on_sale_until)
     WHERE products.id = new.id";

const INSERT_ADJUSTMENTS: &str =
    "INSERT INTO stock_adjustments (id, product_id, delta, reason, created_at)
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[])";

const INSERT_AUDIT: &str =
    "INSERT INTO audit_log (id, client, key_id, action, subject, before, after, at)
     SELECT id, $1, $2, action, subject, before::jsonb, after::jsonb, clock_timestamp()
     FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[])
          AS new (id, action, subject, before, after)";

pub(super) async fn insert_products(
    connection: &mut PgConnection,
    products: &[Product],
) -> Result<Vec<Uuid>, Error> {
    let rows: Vec<(Uuid,)> = sqlx::query_as_with(INSERT_PRODUCTS, columns(products)?)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

pub(super) async fn write_products(
    connection: &mut PgConnection,
    products: &[Product],
) -> Result<(), Error> {
    let query = sqlx::query_with(WRITE_PRODUCTS, columns(products)?);
    query.execute(connection).await?;
    Ok(())
}

/// The parameters of both statements. New products were updated when they were created.
fn columns(products: &[Product]) -> Result<sqlx::postgres::PgArguments, sqlx::Error> {
    use sqlx::Arguments;
    let all = products.iter();
    let mut arguments = sqlx::postgres::PgArguments::default();
    let mut add = || {
        arguments.add(all.clone().map(|one| one.id.0).collect::<Vec<Uuid>>())?;
        arguments.add(
            all.clone()
                .map(|one| one.sku.as_deref())
                .collect::<Vec<Option<&str>>>(),
        )?;
        arguments.add(
            all.clone()
                .map(|one| one.name.as_str())
                .collect::<Vec<&str>>(),
        )?;
        arguments.add(
            all.clone()
                .map(|one| one.price.minor_units())
                .collect::<Vec<i64>>(),
        )?;
        arguments.add(all.clone().map(|one| one.stock).collect::<Vec<i64>>())?;
        arguments.add(all.clone().map(|one| one.version).collect::<Vec<i64>>())?;
        arguments.add(
            all.clone()
                .map(|one| stored_fold(&one.name))
                .collect::<Vec<Option<String>>>(),
        )?;
        arguments.add(
            all.clone()
                .map(|one| one.updated_at)
                .collect::<Vec<DateTime<Utc>>>(),
        )?;
        arguments.add(
            all.clone()
                .map(|one| one.terms.limit_per_customer)
                .collect::<Vec<Option<i64>>>(),
        )?;
        arguments.add(
            all.clone()
                .map(|one| one.terms.on_sale_from)
                .collect::<Vec<Option<DateTime<Utc>>>>(),
        )?;
        arguments.add(
            all.clone()
                .map(|one| one.terms.on_sale_until)
                .collect::<Vec<Option<DateTime<Utc>>>>(),
        )
    };
    add().map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}

pub(super) async fn insert_adjustments(
    connection: &mut PgConnection,
    all: &[StockAdjustment],
) -> Result<(), Error> {
    let each = all.iter();
    let ids: Vec<Uuid> = each.clone().map(|one| one.id.0).collect();
    let products: Vec<Uuid> = each.clone().map(|one| one.product_id.0).collect();
    let deltas: Vec<i64> = each.clone().map(|one| one.delta).collect();
    let reasons: Vec<&str> = each.clone().map(|one| one.reason.as_str()).collect();
    let times: Vec<DateTime<Utc>> = each.map(|one| one.created_at).collect();
    sqlx::query(INSERT_ADJUSTMENTS)
        .bind(ids)
        .bind(products)
        .bind(deltas)
        .bind(reasons)
        .bind(times)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn insert_audit(
    connection: &mut PgConnection,
    rows: &[AuditRow],
    author: &Author,
) -> Result<(), Error> {
    let each = rows.iter();
    let ids: Vec<Uuid> = each.clone().map(|row| row.id).collect();
    let actions: Vec<&str> = each.clone().map(|row| row.action).collect();
    let subjects: Vec<&str> = each.clone().map(|row| row.subject.as_str()).collect();
    let before: Vec<Option<&str>> = each.clone().map(|row| row.before.as_deref()).collect();
    let after: Vec<Option<&str>> = each.map(|row| row.after.as_deref()).collect();
    sqlx::query(INSERT_AUDIT)
        .bind(author.client.as_deref())
        .bind(author.key.map(|key| key.0))
        .bind(ids)
        .bind(actions)
        .bind(subjects)
        .bind(before)
        .bind(after)
        .execute(connection)
        .await?;
    Ok(())
}
