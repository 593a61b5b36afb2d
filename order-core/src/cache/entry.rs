//! Entries of a cache.

use crate::domain::{Product, ProductId};

/// The entry of a cache for a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The product, at its version.
    Active(Product),
    /// The product changed: nothing older than `version` is served, and nothing else is known.
    Outdated {
        /// The product.
        id: ProductId,
        /// The version that the product has at least.
        version: i64,
    },
    /// The product is archived: nothing is newer than that.
    Archived(ProductId),
}

impl Entry {
    /// The product that it is for.
    #[must_use]
    pub const fn id(&self) -> ProductId {
        match self {
            Self::Active(product) => product.id,
            Self::Outdated { id, .. } | Self::Archived(id) => *id,
        }
    }

    /// The number that orders the entries of one product. Versions stay far below 2^53, up to which
    /// a Redis script compares exactly.
    pub(crate) const fn version(&self) -> i64 {
        match self {
            Self::Active(product) => product.version,
            Self::Outdated { version, .. } => *version,
            Self::Archived(_) => 1 << 53,
        }
    }
}
