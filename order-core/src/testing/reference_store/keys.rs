//! The clients and keys of the reference store: lists.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::store::ReferenceStore;
use crate::{
    audit::AuditChange,
    domain::KeyId,
    error::Error,
    keys::{Access, ApiKey, Client, HashedKey, KeyStore},
};

#[async_trait]
impl KeyStore for ReferenceStore {
    async fn create_client(&self, client: &Client) -> Result<Client, Error> {
        let mut state = self.state.lock().unwrap();
        let named = state.clients.iter().find(|c| c.name == client.name);
        if let Some(named) = named {
            return Ok(named.clone());
        }
        state.clients.push(client.clone());
        Ok(client.clone())
    }

    async fn clients(&self) -> Result<Vec<Client>, Error> {
        let mut clients = self.state.lock().unwrap().clients.clone();
        clients.sort_by_key(|client| std::cmp::Reverse(client.id));
        Ok(clients)
    }

    async fn create_key(&self, key: &HashedKey) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap();
        if !state.keys.iter().any(|stored| stored.key.id == key.key.id) {
            state.keys.push(key.clone());
            state.record(AuditChange::key_created(&key.key));
        }
        Ok(())
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, Error> {
        let state = self.state.lock().unwrap();
        let mut keys: Vec<_> = state.keys.iter().map(|stored| stored.key.clone()).collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.id));
        Ok(keys)
    }

    async fn revoke_key(&self, id: KeyId, at: DateTime<Utc>) -> Result<Option<ApiKey>, Error> {
        let mut state = self.state.lock().unwrap();
        let stored = state.keys.iter_mut().find(|stored| stored.key.id == id);
        let Some(stored) = stored else {
            return Ok(None);
        };
        let is_first = stored.key.revoked_at.is_none();
        stored.key.revoked_at.get_or_insert(at);
        let key = stored.key.clone();
        if is_first {
            state.record(AuditChange::key_revoked(&key));
        }
        Ok(Some(key))
    }

    async fn access(&self) -> Result<Access, Error> {
        let state = self.state.lock().unwrap();
        if state.keys.is_empty() {
            return Ok(Access::Open);
        }
        let now = state.now();
        let mut active = state.keys.clone();
        active.retain(|stored| stored.key.revoked_at.is_none());
        active.sort_by_key(|stored| stored.key.id);
        for stored in &mut active {
            stored.is_expired = stored.key.expires_at.is_some_and(|at| at <= now);
        }
        Ok(Access::Keys(active))
    }

    async fn note_use(&self, ids: &[KeyId]) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap();
        let now = state.now();
        for stored in state.keys.iter_mut().filter(|s| ids.contains(&s.key.id)) {
            let last = &mut stored.key.last_used_at;
            if last.is_none_or(|last| now - last >= TimeDelta::minutes(1)) {
                *last = Some(now);
            }
        }
        Ok(())
    }
}
