//! Keys of the API, made and taken back.

use super::OrderService;
use crate::{
    domain::{ClientId, KeyId},
    error::Error,
    keys::{ApiKey, Client, KeyRequest, Secret},
};

impl OrderService {
    /// Makes a client.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `client` when another has its name, [`Error::Unsupported`] when
    /// the store keeps no keys, and the backend's.
    pub async fn create_client(&self, name: &str) -> Result<Client, Error> {
        let (made, named) = self.client_named(name).await?;
        if made == named.id {
            Ok(named)
        } else {
            Err(Error::invalid("client", "is the name of another client"))
        }
    }

    /// The client with a name, who is made if need be; and the id that it has if so.
    async fn client_named(&self, name: &str) -> Result<(ClientId, Client), Error> {
        let now = self.now();
        let client = Client::new(ClientId(self.inner.ids.next(now)), name, now)?;
        let made = client.id;
        let named = self.run_to_completion(move |inner| async move {
            inner.key_store()?.create_client(&client).await
        });
        Ok((made, named.await?))
    }

    /// Every client, newest first.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the store keeps no keys, and the backend's.
    pub async fn clients(&self) -> Result<Vec<Client>, Error> {
        self.inner.key_store()?.clients().await
    }

    /// The client with this name.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `client` when there is none, [`Error::Unsupported`] when the
    /// store keeps no keys, and the backend's.
    pub async fn client(&self, name: &str) -> Result<Client, Error> {
        let clients = self.clients().await?;
        let named = clients.into_iter().find(|client| client.name == name);
        named.ok_or_else(|| Error::invalid("client", "is not the name of a client"))
    }

    /// Makes a key. Its holder needs the secret, which is kept nowhere.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `client` when it is not there, or `expires_at` when it is over;
    /// [`Error::Unsupported`] when the store keeps no keys, and the backend's.
    pub async fn create_key(&self, request: KeyRequest) -> Result<(ApiKey, Secret), Error> {
        let now = self.now();
        if request.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::invalid("expires_at", "must be in the future"));
        }
        let client = match &request.client {
            Some(name) => self.client(name).await?,
            None => self.client_named(&request.name).await?.1,
        };
        let secret = Secret::generate()?;
        let id = KeyId(self.inner.ids.next(now));
        let key = request.into_hashed_key(id, &client, &secret, now);
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
