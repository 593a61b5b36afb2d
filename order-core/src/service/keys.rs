//! Keys of the API, made and taken back.

use super::OrderService;
use crate::{
    domain::KeyId,
    error::Error,
    keys::{ApiKey, KeyRequest, Secret},
};

impl OrderService {
    /// Makes a key. What its holder needs is in the secret, and kept nowhere.
    ///
    /// # Errors
    /// The backend's.
    pub async fn create_key(&self, request: KeyRequest) -> Result<(ApiKey, Secret), Error> {
        let now = self.now();
        let secret = Secret::generate()?;
        let key = request.stamp(KeyId(self.parts.ids.next(now)), &secret, now);
        let stored = key.clone();
        self.to_the_end(move |store| async move { store.create_key(&stored).await })
            .await?;
        Ok((key.key, secret))
    }

    /// Every key, the revoked ones included, newest first.
    ///
    /// # Errors
    /// The backend's.
    pub async fn keys(&self) -> Result<Vec<ApiKey>, Error> {
        self.parts.store.keys().await
    }

    /// Revokes a key for good; one that is revoked already is answered as it is.
    ///
    /// # Errors
    /// The backend's.
    pub async fn revoke_key(&self, id: KeyId) -> Result<Option<ApiKey>, Error> {
        let now = self.now();
        self.to_the_end(move |store| async move { store.revoke_key(id, now).await })
            .await
    }
}
