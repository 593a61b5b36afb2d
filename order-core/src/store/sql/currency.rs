//! The currency that a database sells in.

use super::{
    backend::{Priority, SqlBackend, SqlConnection},
    retry::{reading, with_retry},
    value::Value,
};
use crate::{domain::Currency, error::Error};

const SET: &str = "INSERT INTO currency (code) VALUES ($1) ON CONFLICT DO NOTHING";
const GET: &str = "SELECT code FROM currency";

pub(super) async fn get<B: SqlBackend>(backend: &B) -> Result<Option<Currency>, Error> {
    let code: Option<(String,)> = reading(backend, || async move {
        backend.read().await?.fetch_optional(GET, &[]).await
    })
    .await?;
    code.map(|(code,)| code.parse().map_err(Error::corrupt))
        .transpose()
}

pub(super) async fn set<B: SqlBackend>(backend: &B, currency: Currency) -> Result<Currency, Error> {
    if let Some(kept) = get(backend).await? {
        return Ok(kept);
    }
    with_retry(backend, |_| async move {
        let code = [Value::text(currency.code())];
        backend.execute_single(Priority::Request, SET, &code).await
    })
    .await?;
    let kept = get(backend).await?;
    kept.ok_or_else(|| Error::corrupt("the currency was not kept"))
}
