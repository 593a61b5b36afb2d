//! The open connections by the address of their peer. When an address has too many, the one that was
//! idle for longest gives way.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::{activity::Activity, limits::AddressLimit};
use crate::http::account::Account;

/// All connections.
pub(super) struct Addresses {
    limit: AddressLimit,
    by_address: Mutex<HashMap<Account, Vec<Peer>>>,
}

/// A connection, as its neighbours see it.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) activity: Arc<Activity>,
    /// Cancelled when it has to give way.
    pub(super) gives_way: CancellationToken,
}

/// The place of a connection, until this is dropped.
pub(super) struct Place {
    all: Arc<Addresses>,
    address: Account,
    pub(super) peer: Peer,
}

impl Addresses {
    pub(super) fn new(limit: AddressLimit) -> Arc<Self> {
        Arc::new(Self {
            limit,
            by_address: Mutex::default(),
        })
    }

    /// A place for a connection from `address`; none when there are too many, and all are in use.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let most = self.limit.of(address);
        let address = Account::of_address(address);
        let peer = Peer {
            activity: Arc::default(),
            gives_way: CancellationToken::new(),
        };
        let mut by_address = self.lock();
        let neighbours = by_address.entry(address).or_default();
        if neighbours.len() >= most {
            let idle = neighbours.iter().enumerate();
            let idle = idle.filter_map(|(at, one)| Some((one.activity.idle_since()?, at)));
            let (_, at) = idle.min()?;
            neighbours.swap_remove(at).gives_way.cancel();
        }
        neighbours.push(peer.clone());
        Some(Place {
            all: Arc::clone(self),
            address,
            peer,
        })
    }

    /// What the lock guards is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, HashMap<Account, Vec<Peer>>> {
        let locked = self.by_address.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self.all.lock();
        if let Some(neighbours) = by_address.get_mut(&self.address) {
            neighbours.retain(|one| !Arc::ptr_eq(&one.activity, &self.peer.activity));
            if neighbours.is_empty() {
                by_address.remove(&self.address);
            }
        }
    }
}
