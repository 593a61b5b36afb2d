//! Keys of the API, made and taken back.

use super::OrderService;
use crate::{
    domain::KeyId,
    error::Error,
    keys::{ApiKey, KeyRequest, Secret},
};

impl OrderService {
    /// Makes a key. Its holder needs the secret, which is kept nowhere.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the store keeps no keys, and the backend's.
    pub async fn create_key(&self, request: KeyRequest) -> Result<(ApiKey, Secret), Error> {
        let now = self.now();
        let secret = Secret::generate()?;
        let key = request.into_hashed_key(KeyId(self.inner.ids.next(now)), &secret, now);
        let stored = key.clone();
        self.run_to_completion(
            move |inner| async move { inner.key_store()?.create_key(&stored).await },
        )
        .await?;
        Ok((key.key, secret))
    }

    /// Every key, the revoked ones included, newest first.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the store keeps no keys, and the backend's.
    pub async fn keys(&self) -> Result<Vec<ApiKey>, Error> {
        self.inner.key_store()?.keys().await
    }

    /// Revokes a key for good; one that is revoked already is answered as it is.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the store keeps no keys, and the backend's.
    pub async fn revoke_key(&self, id: KeyId) -> Result<Option<ApiKey>, Error> {
        let now = self.now();
        self.run_to_completion(
            move |inner| async move { inner.key_store()?.revoke_key(id, now).await },
        )
        .await
    }
}
