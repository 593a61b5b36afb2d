//! The `ETag` of a product: its version, which grows with every change.

use order_core::domain::Product;

use crate::http::{
    entity_tag::{EntityTags, IfMatch},
    problem::Problem,
};

/// The `ETag` of this version of the product.
pub(super) fn etag(product: &Product) -> String {
    format!("\"{}\"", product.version)
}

/// The versions that `If-Match` lets a change be made to. Tags are compared strongly (RFC 9110
/// §13.1.1): a weak one never matches, and one that names no version of ours matches none.
pub(super) enum Expected {
    /// Any.
    Any,
    /// One of these; there is at least one.
    Versions(Vec<i64>),
    /// None, and whether a weak tag would have named one.
    Nothing { is_weak: bool },
}

impl From<IfMatch> for Expected {
    fn from(if_match: IfMatch) -> Self {
        let Some(EntityTags::These(tags)) = if_match.0 else {
            return Self::Any;
        };
        let strong = tags.iter().filter(|tag| !tag.is_weak);
        let versions: Vec<i64> = strong.filter_map(|tag| version_of(&tag.text)).collect();
        if versions.is_empty() {
            let is_weak = tags.iter().any(|tag| tag.is_weak);
            return Self::Nothing { is_weak };
        }
        Self::Versions(versions)
    }
}

impl Expected {
    /// The refusal of what matches no version, for a product that is there.
    pub(super) fn refusal(is_weak: bool) -> Problem {
        Problem::precondition_failed(if is_weak {
            "If-Match never matches a weak tag (W/\"…\"), as a proxy that compresses answers makes \
             them: send the version of the product in quotes"
        } else {
            "no tag of If-Match is one of this product"
        })
    }
}

/// The version that an `ETag` names.
fn version_of(etag: &str) -> Option<i64> {
    let text = etag.strip_prefix('"')?.strip_suffix('"')?;
    let version: i64 = text.parse().ok()?;
    (version.to_string() == text).then_some(version)
}
