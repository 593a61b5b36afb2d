//! Archiving: file after file, each proven before its orders go.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    ArchiveFile, ArchiveOptions, Archived, Ended, HistoryStore, Manifest, ProductSums, StoredOrder,
    directory::Directory,
    file::{manifest_name, name},
    manifest::digest,
};
use crate::{
    domain::{OrderId, ProductId},
    error::Error,
};

/// The orders that one transaction deletes: few, so that whoever buys waits for no longer than usual.
const DELETED_AT_ONCE: usize = 500;

/// Archives what `options` name, and first what an earlier run left unfinished.
///
/// # Errors
/// As [`OrderService::archive`](crate::service::OrderService::archive).
pub async fn archive(
    store: &dyn HistoryStore,
    options: &ArchiveOptions,
) -> Result<Archived, Error> {
    options.check(store.time().await?)?;
    if options.is_dry_run {
        return count(store, options).await;
    }
    let directory = Directory::open(options.directory.clone()).await?;
    let mut archive = Archive {
        store,
        options,
        directory,
        archived: Archived::default(),
    };
    if let Some(file) = store.open_file().await? {
        archive.resume(&file).await?;
    }
    let (mut after, limit) = (OrderId(Uuid::nil()), options.orders_per_file);
    while let Some((first, last)) = store.next_ended(after, options.end(), limit).await? {
        // Read anew once it is begun: until then, somebody else may have archived some of them.
        let file = store.begin_file(first, last).await?;
        archive.resume(&file).await?;
        after = last;
    }
    Ok(archive.archived)
}

/// Counts what would be archived.
async fn count(store: &dyn HistoryStore, options: &ArchiveOptions) -> Result<Archived, Error> {
    let (mut after, limit) = (OrderId(Uuid::nil()), options.orders_per_file);
    let mut archived = Archived::default();
    while let Some((first, last)) = store.next_ended(after, options.end(), limit).await? {
        let ended = store.ended_orders(first, last).await?;
        archived.orders += ended.orders.len() as u64;
        let lines = ended.orders.iter().map(|one| one.order.lines.len() as u64);
        archived.lines += lines.sum::<u64>();
        options.tell(archived.orders);
        after = last;
    }
    Ok(archived)
}

/// The number of orders, and of their lines.
fn counted<'a>(orders: impl Iterator<Item = &'a StoredOrder>) -> (u64, u64) {
    orders.fold((0, 0), |(sum, lines), order| {
        (sum + 1, lines + order.lines.len() as u64)
    })
}

/// An archive that is under way.
struct Archive<'a> {
    store: &'a dyn HistoryStore,
    options: &'a ArchiveOptions,
    directory: Directory,
    archived: Archived,
}

impl Archive<'_> {
    /// Goes on with a file that was begun, now or by an earlier run. One that is not sealed is written
    /// anew: nothing of it is deleted.
    async fn resume(&mut self, file: &ArchiveFile) -> Result<(), Error> {
        if file.sha256.is_some() {
            return self.take(file).await;
        }
        let ended = self.store.ended_orders(file.first, file.last).await?;
        if !ended.orders.is_empty() {
            return self.write(file, ended).await;
        }
        self.directory.remove(&manifest_name(&name(file))).await?;
        self.directory.remove(&name(file)).await?;
        self.store.abandon_file(file).await
    }

    /// Writes a file, proves that it has what it should, seals it, and takes its orders.
    async fn write(&mut self, file: &ArchiveFile, ended: Ended) -> Result<(), Error> {
        let (mut contents, orders) = (Vec::new(), ended.orders.len());
        for order in &ended.orders {
            order.write(&mut contents).map_err(Error::backend)?;
        }
        drop(ended.orders);
        self.directory
            .write(&name(file), Arc::new(contents))
            .await?;
        let (manifest, _) = self.read(file).await?;
        self.check(file, &manifest, orders, &ended.products)?;
        self.write_manifest(&manifest).await?;
        let sealed = self.store.seal_file(file, &manifest).await?;
        self.take(&sealed).await
    }

    /// Reads a file back.
    async fn read(&self, file: &ArchiveFile) -> Result<(Manifest, Vec<StoredOrder>), Error> {
        let contents = self.directory.read(&name(file)).await?;
        if file
            .sha256
            .is_some_and(|sha256| sha256 != digest(&contents))
        {
            let reason = "is not as it was when its orders began to be deleted: put it back";
            return Err(self.wrong(file, reason));
        }
        let lines = contents.split_inclusive(|byte| *byte == b'\n');
        let orders: Result<Vec<StoredOrder>, _> = lines.map(serde_json::from_slice).collect();
        let orders =
            orders.map_err(|error| self.wrong(file, format!("cannot be read: {error}")))?;
        let manifest = Manifest::of(file, &contents, &orders);
        let manifest = manifest.map_err(|reason| self.wrong(file, reason))?;
        Ok((manifest, orders))
    }

    /// Refuses a file that does not amount to what the database counted. Then either the file is
    /// damaged, or the books of these orders do not balance: they are not to be lost before it is known
    /// why.
    fn check(
        &self,
        file: &ArchiveFile,
        manifest: &Manifest,
        orders: usize,
        products: &BTreeMap<ProductId, ProductSums>,
    ) -> Result<(), Error> {
        if manifest.orders != orders as u64
            || !manifest
                .products()
                .eq(products.iter().map(|(id, sums)| (*id, *sums)))
        {
            let reason = "does not amount to what the database counts: nothing of it was deleted; \
                          `order-cli verify` tells whether the books balance";
            return Err(self.wrong(file, reason));
        }
        Ok(())
    }

    /// Deletes the orders of a sealed file, and finishes it.
    async fn take(&mut self, file: &ArchiveFile) -> Result<(), Error> {
        let (mut manifest, orders) = self.read(file).await?;
        let ids: HashSet<OrderId> = orders.iter().map(|order| order.id).collect();
        self.store.forget_keys(file, &ids).await?;
        for some in orders.chunks(DELETED_AT_ONCE) {
            manifest
                .left_out
                .extend(self.store.delete_orders(file, some).await?);
            self.archived.orders += some.len() as u64;
            self.options.tell(self.archived.orders);
        }
        let left_out: HashSet<OrderId> = manifest.left_out.iter().copied().collect();
        let stays = |order: &&StoredOrder| left_out.contains(&order.id);
        let (orders, lines) = counted(orders.iter().filter(stays));
        self.archived.orders -= orders;
        self.write_manifest(&manifest).await?;
        self.store.finish_file(file, left_out.len()).await?;
        self.archived.lines += manifest.lines - lines;
        self.archived.files.push(manifest);
        Ok(())
    }

    async fn write_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        let mut text = serde_json::to_vec_pretty(manifest).map_err(Error::backend)?;
        text.push(b'\n');
        let name = manifest_name(&manifest.file);
        self.directory.write(&name, Arc::new(text)).await
    }

    fn wrong(&self, file: &ArchiveFile, reason: impl Into<String>) -> Error {
        Error::Archive {
            file: self.directory.tell(&name(file)),
            reason: reason.into(),
        }
    }
}
