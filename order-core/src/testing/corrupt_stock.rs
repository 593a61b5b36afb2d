//! Damage for `verify` to find.

use sqlx::SqlitePool;

use crate::domain::ProductId;

/// Takes pieces off a product of a `SQLite` file without an entry in the ledger.
///
/// # Panics
/// When the file is not there.
pub async fn corrupt_stock(url: &str, id: ProductId, pieces: i64) {
    let pool = SqlitePool::connect(url).await.unwrap();
    sqlx::query("UPDATE products SET stock = stock - ?2 WHERE id = ?1")
        .bind(id.0)
        .bind(pieces)
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}
