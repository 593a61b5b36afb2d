//! The scopes of a key.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::error::Error;

/// One thing that a key may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// Reading products and orders.
    Read = 1,
    /// Placing orders, and reading and cancelling those of the same client.
    Orders = 2,
    /// Changing products, and reading them.
    Products = 4,
    /// Everything, the operators' routes included.
    Admin = 8,
    /// Scraping metrics.
    Metrics = 16,
    /// Operating the queue, and looking at it.
    Operate = 32,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::Orders,
        Self::Products,
        Self::Metrics,
        Self::Operate,
        Self::Admin,
    ];

    /// Its name, wherever it has one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Orders => "orders",
            Self::Products => "products",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
            Self::Operate => "operate",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| {
                let names = "must be read, orders, products, metrics, operate or admin";
                Error::invalid("scope", names)
            })
    }
}

/// A set of scopes; as text, their names with a space between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// The set whose bits are those of its [`Scope`]s; other bits mean nothing.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// True when no scope is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// The scopes that are in it.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        let is_in = move |scope: &Scope| self.0 & *scope as u8 != 0;
        Scope::ALL.into_iter().filter(is_in)
    }

    /// True when a key with these scopes may do what any one of `needed` allows.
    #[must_use]
    pub const fn allow(self, needed: Self) -> bool {
        self.0 & (needed.0 | Scope::Admin as u8) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope as u8))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{scope}")?;
        }
        Ok(())
    }
}

impl FromStr for Scopes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.split_whitespace().map(str::parse).collect()
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Scope::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_allows_what_it_names_and_admin_allows_all() {
        let scopes = |text: &str| text.parse::<Scopes>().unwrap();
        for (has, needed, allowed) in [
            ("read", "read", true),
            ("read", "read orders", true),
            ("read", "orders", false),
            ("orders", "read", false),
            ("orders products", "products", true),
            ("admin", "products", true),
            ("admin", "admin", true),
            ("admin", "operate", true),
            ("operate", "metrics", false),
            ("read orders products", "admin", false),
            ("", "read", false),
            ("admin", "", true),
            ("read", "", false),
        ] {
            assert_eq!(
                scopes(has).allow(scopes(needed)),
                allowed,
                "{has} for {needed}"
            );
        }
    }

    #[test]
    fn scopes_read_back() {
        for bits in 0..64 {
            let scopes = Scopes::from_bits(bits);
            assert_eq!(scopes.to_string().parse::<Scopes>().unwrap(), scopes);
        }
        assert!("read write".parse::<Scopes>().is_err());
    }
}
