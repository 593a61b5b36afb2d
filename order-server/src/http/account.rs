//! Who pays for what a request takes of what all share.

use std::net::{IpAddr, Ipv6Addr};

use uuid::Uuid;

const SIGNIFICANT_IPV6_BITS: u32 = 64;

/// A key, or where there is none, an address: an extension of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Account {
    /// The id of a key.
    Key(Uuid),
    /// The part of an address that tells people apart: the first 64 bits of an IPv6 address, which
    /// is what one customer of a provider has.
    Address(IpAddr),
}

impl Account {
    pub(crate) fn of_address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let rest = u128::BITS - SIGNIFICANT_IPV6_BITS;
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> rest << rest))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_as_far_as_people_are() {
        for (one, two, same) in [
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let of = |text: &str| Account::of_address(text.parse().unwrap());
            assert_eq!(of(one) == of(two), same, "{one} and {two}");
        }
    }
}
