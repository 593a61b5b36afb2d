//! The description of the API, without a server.

use std::sync::Arc;

use order_core::{
    OrderService,
    store::{SqliteStore, Store},
};
use tokio_util::sync::CancellationToken;

use super::{description::describe, health::Health, service::service};

/// The OpenAPI document, as the server gives it at `/openapi.json`.
///
/// # Errors
/// When there is no room for temporary files: the description is derived from running code, which
/// needs a database, if only an empty one.
pub async fn openapi_document() -> anyhow::Result<String> {
    let dir = tempfile::tempdir()?;
    let url = format!("sqlite://{}", dir.path().join("empty.db").display());
    let store = SqliteStore::connect(&url).await?;
    store.migrate().await?;
    let orders = OrderService::builder(Arc::new(store)).build();
    let health = Health::new(orders.clone(), None);
    Ok(describe(&service(
        orders,
        health,
        1,
        CancellationToken::new(),
    )))
}
