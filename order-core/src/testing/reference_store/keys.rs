//! The keys of the reference store: a list.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::store::ReferenceStore;
use crate::{
    audit::AuditChange,
    domain::KeyId,
    error::Error,
    keys::{Access, ApiKey, HashedKey, KeyStore},
};

#[async_trait]
impl KeyStore for ReferenceStore {
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
        let mut active = state.keys.clone();
        active.retain(|stored| stored.key.revoked_at.is_none());
        active.sort_by_key(|stored| stored.key.id);
        Ok(Access::Keys(active))
    }
}
