//! Keeps the state of each caller's rate.

use std::{
    hash::{BuildHasher, RandomState},
    net::Ipv4Addr,
    sync::Arc,
};

use governor::{
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};
use poem::Request;

use crate::{
    auth::{AuthenticatedKey, Caller},
    http::account::Account,
};

/// Half a megabyte.
const ADDRESS_SLOTS: usize = 1 << 16;

/// A caller whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Key(Arc<AuthenticatedKey>),
    Other(Account),
}

impl Subject {
    pub(super) fn of(request: &Request) -> Self {
        if let Some(Caller::Key(key)) = request.extensions().get() {
            return Self::Key(Arc::clone(key));
        }
        let account = request.extensions().get().copied();
        Self::Other(account.unwrap_or(Account::of_address(Ipv4Addr::UNSPECIFIED.into())))
    }
}

/// The rates of all subjects.
pub(super) struct Buckets {
    addresses: Box<[InMemoryState]>,
    hasher: RandomState,
}

impl Buckets {
    pub(super) fn new() -> Self {
        let slots = std::iter::repeat_with(InMemoryState::default);
        Self {
            addresses: slots.take(ADDRESS_SLOTS).collect(),
            hasher: RandomState::new(),
        }
    }

    fn of<'a>(&'a self, subject: &'a Subject) -> &'a InMemoryState {
        match subject {
            Subject::Key(key) => &key.bucket,
            Subject::Other(account) => {
                let hash = self.hasher.hash_one(account);
                let slot = usize::try_from(hash % ADDRESS_SLOTS as u64).unwrap_or_default();
                &self.addresses[slot]
            }
        }
    }
}

impl StateStore for Buckets {
    type Key = Subject;

    fn measure_and_replace<T, F, E>(&self, subject: &Subject, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.of(subject)
            .measure_and_replace(&NotKeyed::NonKey, decide)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn any_number_of_addresses_takes_the_same_memory() {
        let buckets = Buckets::new();
        let slots: HashSet<*const InMemoryState> = (0..100_000)
            .map(|n| Subject::Other(Account::of_address(Ipv4Addr::from_bits(n).into())))
            .map(|subject| std::ptr::from_ref(buckets.of(&subject)))
            .collect();
        assert!(slots.len() <= ADDRESS_SLOTS);
        assert!(
            slots.len() > ADDRESS_SLOTS / 2,
            "{} slots in use",
            slots.len()
        );
    }
}
