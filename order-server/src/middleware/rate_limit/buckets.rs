//! Keeps the state of each caller's rate.

use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use governor::{
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};
use poem::Request;

use crate::auth::{AuthenticatedKey, Caller};

/// Half a megabyte.
const ADDRESS_SLOTS: usize = 1 << 16;
const SIGNIFICANT_IPV6_BITS: u32 = 64;

/// A caller whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Key(Arc<AuthenticatedKey>),
    Address(IpAddr),
}

impl Subject {
    pub(super) fn of(request: &Request) -> Self {
        if let Some(Caller::Key(key)) = request.extensions().get() {
            return Self::Key(Arc::clone(key));
        }
        let address = request.remote_addr().as_socket_addr();
        Self::Address(address.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.ip()))
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
            Subject::Address(address) => {
                let hash = self.hasher.hash_one(significant(*address));
                let slot = usize::try_from(hash % ADDRESS_SLOTS as u64).unwrap_or_default();
                &self.addresses[slot]
            }
        }
    }
}

/// The part of an address that tells people apart.
fn significant(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let rest = u128::BITS - SIGNIFICANT_IPV6_BITS;
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> rest << rest))
        }
        address @ IpAddr::V4(_) => address,
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
    fn addresses_are_told_apart_as_far_as_people_are() {
        for (one, two, same) in [
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let of = |text: &str| significant(text.parse().unwrap());
            assert_eq!(of(one) == of(two), same, "{one} and {two}");
        }
    }

    #[test]
    fn any_number_of_addresses_takes_the_same_memory() {
        let buckets = Buckets::new();
        let slots: HashSet<*const InMemoryState> = (0..100_000)
            .map(|n| Subject::Address(Ipv4Addr::from_bits(n).into()))
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
