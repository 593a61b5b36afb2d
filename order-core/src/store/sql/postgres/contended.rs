//! Finding out which products are contended, and watching them until they are not.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use uuid::Uuid;

use super::store::PostgresStore;
use crate::{
    domain::ProductId,
    error::Error,
    store::{
        contention::Contention,
        sql::{
            backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
            lockable::ContentionSteps,
            value::Value,
        },
    },
};

/// A product is contended when it is found locked, unchanged, so many times, this far apart.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(40);

/// The shortest pause between two looks at contended products.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Looking takes at most one part in so many of the time.
const SHARE: u32 = 20;
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The most products that are looked at together.
const PRODUCTS_A_LOOK: usize = 1_000;

/// Those that are free, and all of them with their versions.
const LOOK: &str = "
    WITH free AS MATERIALIZED (
        SELECT id FROM products WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
    SELECT id, version, false AS is_free FROM products WHERE id = ANY($1)
    UNION ALL SELECT id, 0, true FROM free";

#[async_trait]
impl ContentionSteps for PostgresStore {
    fn contention(&self) -> Option<&Arc<Contention>> {
        Some(&self.contention)
    }

    /// Has those that are contended watched from then on.
    async fn examine(&self, products: &[ProductId]) {
        let mut suspects = HashMap::new();
        for look in 0..LOOKS {
            let ids: Vec<ProductId> = if look == 0 {
                products.to_vec()
            } else {
                tokio::time::sleep(BETWEEN_LOOKS).await;
                suspects.keys().copied().collect()
            };
            match self.attempt(self.locked(&ids)).await {
                Ok(locked) if look == 0 => suspects = locked,
                Ok(locked) => suspects.retain(|id, version| locked.get(id) == Some(version)),
                Err(error) => {
                    // Nothing can be told: whoever asked tries again.
                    tracing::debug!(%error, "products were not looked at");
                    return;
                }
            }
            if suspects.is_empty() {
                return;
            }
        }
        if self.contention.begin(suspects) {
            self.watch_contention();
        }
    }
}

impl PostgresStore {
    /// Looks at contended products until there are none.
    fn watch_contention(&self) {
        let store = self.clone();
        tokio::spawn(async move {
            let (mut after, mut pause) = (None, LOOK_EVERY);
            while !store.contention.is_over() {
                tokio::time::sleep(pause).await;
                let products = store.contention.next(after, PRODUCTS_A_LOOK);
                let is_full = products.len() == PRODUCTS_A_LOOK;
                after = products.last().copied().filter(|_| is_full);
                let began = Instant::now();
                let still = match store.attempt(store.locked(&products)).await {
                    Ok(still) => still,
                    Err(_) if store.connections.pool().is_closed() => HashMap::new(),
                    Err(error) => {
                        tracing::debug!(%error, "contended products were not looked at");
                        pause = LONGEST_PAUSE;
                        continue;
                    }
                };
                let look_again = |first| store.claim_cursor.rewind(first);
                store.contention.looked_at(&products, &still, look_again);
                pause = (began.elapsed() * SHARE).clamp(LOOK_EVERY, LONGEST_PAUSE);
            }
        });
    }

    /// Those of `products` that somebody holds locked, with their versions. It waits for nobody, and
    /// what it locks is free again at once: rolled back, since a commit would wait for the disk.
    async fn locked(&self, products: &[ProductId]) -> Result<HashMap<ProductId, i64>, Error> {
        let ids = Value::Ids(products.iter().map(|id| id.0).collect());
        let mut tx = self.begin(Priority::Background, None).await?;
        let rows: Vec<(Uuid, i64, bool)> = tx.fetch_all(LOOK, &[ids]).await?;
        tx.rollback().await?;
        let (free, all): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(.., is_free)| *is_free);
        let all = all.into_iter();
        let mut locked: HashMap<ProductId, i64> = all
            .map(|(id, version, _)| (ProductId(id), version))
            .collect();
        for (id, ..) in free {
            locked.remove(&ProductId(id));
        }
        Ok(locked)
    }
}
