//! What happens to who waits for a product in vain.
//!
//! Nobody waits long for a lock with something in hand: not a connection, not the lock of another
//! product. Sessions give a lock up after a quarter of a second ([`LOCK_WAIT`]). Whoever that
//! happens to lets go of everything, finds out which of his products are contended (see
//! [`Contention`](crate::store::Contention)), and goes on without them; those that are merely busy
//! he waits for again, twice as long each time, so that he has his turn however many there are.

use std::{
    borrow::Cow,
    collections::HashMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::PostgresStore;
use crate::{
    domain::{NewOrder, ProductId},
    error::Error,
    store::{
        Contention, Decided, Outcome, Pick, Purchase, Strategy,
        error::{is_lock_timeout, waits_for_key},
        plan,
        retry::{LOCK_PATIENCE, Retry},
        strategy,
    },
};

/// How long a statement waits for a lock, unless its transaction says otherwise: what its session
/// is set to.
pub(super) const LOCK_WAIT: Duration = Duration::from_millis(250);
/// The longest that a transaction waits for a product that is busy.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How often a product has to be found locked, unchanged, to be contended, and how far apart.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(40);

/// How often contended products are looked at.
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

/// Waiting for locks, from the first attempt on.
#[derive(Debug)]
pub(super) struct Waiting {
    until: Instant,
    lock_wait: Option<Duration>,
}

impl Waiting {
    pub(super) fn begin() -> Self {
        Self {
            until: Instant::now() + LOCK_PATIENCE,
            lock_wait: None,
        }
    }

    /// An attempt that is told when it waited for a lock in vain.
    pub(super) fn attempt(&self) -> Retry {
        Retry::told_of_locks(self.lock_wait)
    }

    /// Whether to wait once more after an attempt that waited in vain, and then longer: there may
    /// be more waiting than have their turns in that time. Not for a key, since who waits for one
    /// has all products in hand.
    pub(super) fn goes_on(&mut self, error: &Error) -> bool {
        if !waits_for_key(error) {
            let longer = self.lock_wait.unwrap_or(LOCK_WAIT) * 2;
            self.lock_wait = Some(longer.min(LONGEST_WAIT));
        }
        is_lock_timeout(error) && Instant::now() < self.until
    }
}

/// Makes `$attempt`, which changes `$products`, when they can be locked: while they cannot, it waits
/// without a connection. `$retry` is in scope of it.
macro_rules! when_lockable {
    ($store:expr, $products:expr, $retry:ident => $attempt:expr) => {{
        let mut waiting = $crate::store::postgres::contended::Waiting::begin();
        loop {
            if !$store.contention.is_empty() {
                $store.lockable($products, &waiting).await?;
            }
            let mut $retry = waiting.attempt();
            match $crate::store::retry::with_retry!($retry, $attempt) {
                Err(error) if waiting.goes_on(&error) => $store.examine($products).await,
                result => break result,
            }
        }
    }};
}
pub(super) use when_lockable;

/// Orders, those among them that can have their turn, and why the others cannot.
struct Split<'a> {
    chosen: Cow<'a, [NewOrder]>,
    aside: Vec<Option<ProductId>>,
}

impl<'a> Split<'a> {
    fn of(orders: &'a [NewOrder], contention: &Contention) -> Self {
        if contention.is_empty() {
            return Self {
                chosen: Cow::Borrowed(orders),
                aside: Vec::new(),
            };
        }
        let contended = |order: &NewOrder| contention.among(&order.lines);
        let aside: Vec<_> = orders.iter().map(contended).collect();
        let chosen = orders.iter().zip(&aside);
        let chosen = chosen.filter(|(_, aside)| aside.is_none());
        Self {
            chosen: chosen.map(|(order, _)| order.clone()).collect(),
            aside,
        }
    }

    /// The results of all, in their order.
    fn rejoin(self, outcome: Outcome<Purchase>) -> Outcome<Purchase> {
        if self.aside.iter().all(Option::is_none) {
            return outcome;
        }
        let mut chosen = outcome.results.into_iter();
        let missing = || Error::corrupt("the store gave no result for an order");
        let results = self.aside.into_iter().map(|aside| match aside {
            Some(product_id) => Err(Error::ProductContended { product_id }),
            None => chosen.next().unwrap_or_else(|| Err(missing())),
        });
        Outcome {
            results: results.collect(),
            ..outcome
        }
    }
}

impl PostgresStore {
    /// Sells orders, but for those that contain a contended product: nothing is done for them.
    pub(super) async fn purchase_uncontended(
        &self,
        orders: &[NewOrder],
    ) -> Result<Outcome<Purchase>, Error> {
        let mut waiting = Waiting::begin();
        loop {
            let split = Split::of(orders, &self.contention);
            if split.chosen.is_empty() {
                return Ok(split.rejoin(Outcome::default()));
            }
            let retry = waiting.attempt();
            match strategy::purchase_together(self, &split.chosen, retry).await {
                Err(error) if waits_for_key(&error) => return Err(Error::Locked),
                Err(error) if waiting.goes_on(&error) => {
                    let lines = split.chosen.iter().flat_map(|order| &order.lines);
                    self.examine(&plan::products_of(lines)).await;
                }
                result => return Ok(split.rejoin(result?)),
            }
        }
    }

    /// Decides orders, but for those that contain a contended product: they stay pending.
    pub(super) async fn decide_uncontended(
        &self,
        pick: Pick<'_>,
        at: DateTime<Utc>,
    ) -> Result<Outcome<Decided>, Error> {
        let mut waiting = Waiting::begin();
        loop {
            let mut retry = waiting.attempt();
            match strategy::decide_one(self, pick, Strategy::Batch, at, &mut retry).await {
                Err(error) if waiting.goes_on(&error) => self.examine(&retry.wanted()).await,
                result => return result,
            }
        }
    }

    /// Waits until none of `products` is contended.
    ///
    /// # Errors
    /// [`Error::ProductContended`] when that takes too long.
    pub(super) async fn lockable(
        &self,
        products: &[ProductId],
        waiting: &Waiting,
    ) -> Result<(), Error> {
        let mut ends = self.contention.ends();
        while let Some(product_id) = self.contention.first_of(products.iter().copied()) {
            let until = tokio::time::Instant::from_std(waiting.until);
            if tokio::time::timeout_at(until, ends.changed())
                .await
                .is_err()
            {
                return Err(Error::ProductContended { product_id });
            }
        }
        Ok(())
    }

    /// Finds out which of `products`, for which somebody just waited in vain, are contended, and
    /// has them watched from then on.
    pub(super) async fn examine(&self, products: &[ProductId]) {
        let mut suspects = HashMap::new();
        for look in 0..LOOKS {
            let ids: Vec<ProductId> = if look == 0 {
                products.to_vec()
            } else {
                tokio::time::sleep(BETWEEN_LOOKS).await;
                suspects.keys().copied().collect()
            };
            match self.locked(&ids).await {
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
                let still = match store.locked(&products).await {
                    Ok(still) => still,
                    Err(_) if store.pool().is_closed() => HashMap::new(),
                    Err(error) => {
                        tracing::debug!(%error, "contended products were not looked at");
                        pause = LONGEST_PAUSE;
                        continue;
                    }
                };
                let look_again = |first| store.frontier.retreat(first);
                store.contention.looked_at(&products, &still, look_again);
                pause = (began.elapsed() * SHARE).clamp(LOOK_EVERY, LONGEST_PAUSE);
            }
        });
    }

    async fn locked(&self, products: &[ProductId]) -> Result<HashMap<ProductId, i64>, Error> {
        self.connections.attempt(self.locked_once(products)).await
    }

    /// Those of `products` that somebody holds locked, with their versions. It waits for nobody, and
    /// what it locks is free again at once: rolled back, since a commit would wait for the disk.
    async fn locked_once(&self, products: &[ProductId]) -> Result<HashMap<ProductId, i64>, Error> {
        let ids: Vec<Uuid> = products.iter().map(|id| id.0).collect();
        let mut connection = self.connections.acquire().await?;
        let mut tx = connection.begin().await?;
        let rows: Vec<(Uuid, i64, bool)> =
            sqlx::query_as(LOOK).bind(ids).fetch_all(&mut *tx).await?;
        tx.rollback().await?;
        let (free, all): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(.., is_free)| *is_free);
        let mut locked: HashMap<ProductId, i64> = all
            .into_iter()
            .map(|(id, version, _)| (ProductId(id), version))
            .collect();
        for (id, ..) in free {
            locked.remove(&ProductId(id));
        }
        Ok(locked)
    }
}
