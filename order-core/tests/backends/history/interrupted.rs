//! Archives that are interrupted at every step, and whose files and orders change meanwhile: each order is
//! in the database or in a file at every moment, and the next run goes on.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use order_core::{
    Error, OrderService,
    domain::{OrderId, OrderStatus, ReturnRequest},
    history::{
        ArchiveFile, ArchiveOptions, Ended, Erased, HistoryStore, Manifest, StoredOrder, archive,
    },
};
use serde_json::Value;

use super::shop::{OldShop, Place, archived, files, lines, work_off};

/// A store that fails at one of its steps: before it is done, or after.
struct Interrupted {
    store: Arc<dyn HistoryStore>,
    steps: AtomicI64,
    is_done: bool,
    /// Changes orders once a file is sealed.
    meddler: Option<(OrderService, OldShop)>,
}

impl Interrupted {
    fn of(place: &Place, steps: i64, is_done: bool) -> Self {
        Self {
            store: Arc::clone(&place.store).history_store().unwrap(),
            steps: AtomicI64::new(steps),
            is_done,
            meddler: None,
        }
    }

    async fn step<T>(&self, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let is_last = self.steps.fetch_sub(1, Ordering::Relaxed) == 0;
        if is_last && !self.is_done {
            return Err(Error::Stopping);
        }
        let done = step.await?;
        if is_last {
            return Err(Error::Stopping);
        }
        Ok(done)
    }
}

#[async_trait]
impl HistoryStore for Interrupted {
    async fn time(&self) -> Result<DateTime<Utc>, Error> {
        self.step(self.store.time()).await
    }

    async fn next_ended(
        &self,
        after: OrderId,
        before: OrderId,
        limit: usize,
    ) -> Result<Option<(OrderId, OrderId)>, Error> {
        self.step(self.store.next_ended(after, before, limit)).await
    }

    async fn ended_orders(&self, first: OrderId, last: OrderId) -> Result<Ended, Error> {
        self.step(self.store.ended_orders(first, last)).await
    }

    async fn open_file(&self) -> Result<Option<ArchiveFile>, Error> {
        self.step(self.store.open_file()).await
    }

    async fn begin_file(&self, first: OrderId, last: OrderId) -> Result<ArchiveFile, Error> {
        self.step(self.store.begin_file(first, last)).await
    }

    async fn abandon_file(&self, file: &ArchiveFile) -> Result<(), Error> {
        self.step(self.store.abandon_file(file)).await
    }

    async fn seal_file(
        &self,
        file: &ArchiveFile,
        manifest: &Manifest,
    ) -> Result<ArchiveFile, Error> {
        let sealed = self.step(self.store.seal_file(file, manifest)).await?;
        if let Some((shop, old)) = &self.meddler {
            meddle(shop, old).await;
        }
        Ok(sealed)
    }

    async fn forget_keys(
        &self,
        file: &ArchiveFile,
        orders: &HashSet<OrderId>,
    ) -> Result<u64, Error> {
        self.step(self.store.forget_keys(file, orders)).await
    }

    async fn delete_orders(
        &self,
        file: &ArchiveFile,
        orders: &[StoredOrder],
    ) -> Result<Vec<OrderId>, Error> {
        self.step(self.store.delete_orders(file, orders)).await
    }

    async fn finish_file(&self, file: &ArchiveFile, left_out: usize) -> Result<(), Error> {
        self.step(self.store.finish_file(file, left_out)).await
    }

    async fn erase_customer(&self, customer: &str) -> Result<Erased, Error> {
        self.store.erase_customer(customer).await
    }
}

fn id(value: &Value) -> OrderId {
    OrderId(value.as_str().unwrap().parse().unwrap())
}

/// The orders in the files, in which there may be one twice if it was left out.
fn in_files(place: &Place) -> Vec<OrderId> {
    let lines = archived(&place.archive());
    lines.iter().map(|line| id(&line["id"])).collect()
}

/// What the manifests say of orders that stayed.
fn left_out(place: &Place) -> Vec<OrderId> {
    let manifests = files(&place.archive(), ".manifest.json");
    let manifests = manifests
        .values()
        .map(|text| serde_json::from_str(text).unwrap());
    let left = manifests.flat_map(|manifest: Value| {
        let left = manifest["left_out"].as_array().unwrap().clone();
        left.into_iter().map(|left| id(&left))
    });
    left.collect()
}

async fn nothing_is_lost(place: &Place, old: &OldShop, when: &str) {
    assert_eq!(place.store.verify().await.unwrap(), [], "{when}");
    let mut all = place.stored().await;
    all.extend(in_files(place));
    let expected: BTreeSet<OrderId> = old.ended.union(&old.open).copied().collect();
    assert_eq!(all, expected, "{when}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_interrupted_goes_on() {
    for place in Place::each().await {
        let old = OldShop::new(&place).await;
        let options = ArchiveOptions {
            orders_per_file: 2,
            ..place.options()
        };
        let mut interruptions = 0;
        'done: loop {
            for is_done in [false, true] {
                for steps in 0..10 {
                    let store = Interrupted::of(&place, steps, is_done);
                    match archive(&store, &options).await {
                        Ok(_) => break 'done,
                        Err(Error::Stopping) => interruptions += 1,
                        Err(error) => panic!("{error}"),
                    }
                    let when = format!("after {steps} steps, {is_done}");
                    nothing_is_lost(&place, &old, &when).await;
                }
            }
        }
        assert!(interruptions >= 12, "only {interruptions} interruptions");
        assert_eq!(place.stored().await, old.open);
        let mut each = in_files(&place);
        each.sort_unstable();
        assert_eq!(each, old.ended.iter().copied().collect::<Vec<_>>());
        assert_eq!(left_out(&place), []);
    }
}

/// One gives something back, and one gets its task again.
async fn meddle(shop: &OrderService, old: &OldShop) {
    let back = ReturnRequest::new(lines(old.lamp, 1)).unwrap();
    let order = shop.order(old.keyed).await.unwrap();
    if order.is_some_and(|order| !order.is_partly_cancelled()) {
        shop.give_back(old.keyed, back).await.unwrap();
        shop.process_order(old.adas).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_meanwhile_stays() {
    for place in Place::each().await {
        let old = OldShop::new(&place).await;
        let mut store = Interrupted::of(&place, i64::MAX, false);
        let (keyed, adas) = (old.keyed, old.adas);
        let (ended, open) = (old.ended.clone(), old.open.clone());
        store.meddler = Some((place.today(), old));
        let done = archive(&store, &place.options()).await.unwrap();
        assert_eq!(done.orders, ended.len() as u64 - 2);
        let mut stay = open;
        stay.extend([keyed, adas]);
        assert_eq!(place.stored().await, stay);
        assert_eq!(left_out(&place), [keyed, adas]);
        let told = done.files.iter().map(|file| file.orders).sum::<u64>();
        assert_eq!(told, ended.len() as u64);

        // They come back later, and then the last word on them is in a file.
        let today = place.today();
        place.later().await;
        work_off(&today).await;
        assert_eq!(place.store.verify().await.unwrap(), []);
        let order = today.order(keyed).await.unwrap().unwrap();
        assert_eq!(order.status, OrderStatus::Completed);
        today.archive(place.options()).await.unwrap();
        assert_eq!(today.order(keyed).await.unwrap(), None);
        let lines = archived(&place.archive());
        let of_keyed = lines.iter().filter(|line| id(&line["id"]) == keyed);
        let versions: Vec<i64> = of_keyed
            .map(|line| line["lines"][0]["cancelled_quantity"].as_i64().unwrap())
            .collect();
        assert_eq!(versions, [0, 1]);
        assert_eq!(place.store.verify().await.unwrap(), []);
    }
}

/// A refusal that names a file, and what is to be done.
fn told(result: Result<order_core::history::Archived, Error>) -> String {
    match result {
        Err(error @ Error::Archive { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_that_is_not_on_the_disk() {
    for place in Place::each().await {
        let old = OldShop::new(&place).await;
        let shop = place.today();
        fs::create_dir_all(place.archive()).unwrap();
        let first = format!("orders-000001-{}.ndjson", old.ended.first().unwrap());
        let unfinished = place.archive().join(format!(".{first}.tmp"));
        for (device, fault) in [("/dev/full", "written"), ("/dev/null", "synced")] {
            symlink(device, &unfinished).unwrap();
            let refused = told(shop.archive(place.options()).await);
            assert!(refused.contains(&format!("cannot be {fault}")), "{refused}");
            fs::remove_file(&unfinished).unwrap();
            assert_eq!(place.stored().await.len(), old.ended.len() + old.open.len());
        }
        // Sealed, and nothing is deleted yet.
        let sealed = Interrupted::of(&place, 3, true);
        assert!(matches!(
            archive(&sealed, &place.options()).await,
            Err(Error::Stopping)
        ));
        let file = place.archive().join(&first);
        let contents = fs::read(&file).unwrap();
        fs::write(&file, &contents[..contents.len() - 1]).unwrap();
        let refused = told(shop.archive(place.options()).await);
        assert!(refused.contains("is not as it was"), "{refused}");
        fs::remove_file(&file).unwrap();
        let refused = told(shop.archive(place.options()).await);
        assert!(refused.contains("cannot be read"), "{refused}");
        assert_eq!(place.stored().await.len(), old.ended.len() + old.open.len());
        fs::write(&file, &contents).unwrap();
        shop.archive(place.options()).await.unwrap();
        assert_eq!(place.stored().await, old.open);
        nothing_is_lost(&place, &old, "at the end").await;
    }
}

/// Orders whose books do not balance are not archived: nobody could find out why any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_add_up_stays() {
    for place in Place::each().await {
        let old = OldShop::new(&place).await;
        let shop = place.today();
        let lamp = place.raw.id(old.lamp.0);
        let (off, on) = match place.raw {
            super::shop::Raw::Postgres(_) => ("SET session_replication_role = replica; ", ""),
            super::shop::Raw::Sqlite(_) => ("DROP TRIGGER stock_returns_keep; ", ""),
        };
        let damage = format!(
            "{off}UPDATE stock_returns SET quantity = quantity + 1 WHERE product_id = {lamp}{on}"
        );
        place.raw.execute(&damage).await.unwrap();
        let refused = told(shop.archive(place.options()).await);
        assert!(refused.contains("does not amount to"), "{refused}");
        let mut all = place.stored().await;
        all.extend(in_files(&place));
        assert_eq!(all.len(), old.ended.len() + old.open.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_archive_at_once_do_each_other_no_harm() {
    for place in Place::each().await {
        let old = OldShop::new(&place).await;
        fs::create_dir_all(place.archive()).unwrap();
        let lock = fs::File::create(place.archive().join(".lock")).unwrap();
        lock.lock().unwrap();
        let refused = told(place.today().archive(place.options()).await);
        assert!(refused.contains("another process"), "{refused}");
        drop(lock);

        let elsewhere = place.dir.path().join("elsewhere");
        let options = |directory: &std::path::Path| ArchiveOptions {
            directory: directory.to_owned(),
            orders_per_file: 1,
            ..place.options()
        };
        let (here, there) = (options(&place.archive()), options(&elsewhere));
        let (one, other) = (place.today(), place.today());
        let (one, other) = tokio::join!(one.archive(here.clone()), other.archive(there.clone()));
        assert!(one.is_ok() || other.is_ok(), "{one:?}, {other:?}");
        for result in [one, other] {
            let harmless = matches!(&result, Ok(_) | Err(Error::Locked | Error::Archive { .. }));
            assert!(harmless, "{result:?}");
        }
        assert_eq!(place.store.verify().await.unwrap(), []);
        assert_eq!(place.stored().await, old.open);
        let mut all = in_files(&place);
        let lines = archived(&elsewhere);
        all.extend(lines.iter().map(|line| id(&line["id"])));
        let all: BTreeSet<OrderId> = all.into_iter().collect();
        assert_eq!(all, old.ended);
    }
}
