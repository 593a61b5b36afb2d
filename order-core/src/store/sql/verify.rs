//! Products whose stock is not what their history says.

use sqlx::FromRow;
use uuid::Uuid;

use crate::{domain::ProductId, store::Imbalance};

#[derive(FromRow)]
pub(super) struct DiscrepancyRow {
    id: Uuid,
    stock: i64,
    adjusted: i64,
    held: i64,
}

pub(super) fn discrepancies(rows: Vec<DiscrepancyRow>) -> Vec<Imbalance> {
    let discrepancy = |row: DiscrepancyRow| Imbalance {
        product_id: ProductId(row.id),
        stock: row.stock,
        adjusted: row.adjusted,
        held: row.held,
    };
    rows.into_iter().map(discrepancy).collect()
}
