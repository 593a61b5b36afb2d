//! The `ETag` of a product or an order: its version, which differs after every change.

use order_core::domain::{Order, OrderVersion, Product};

use crate::http::{
    entity_tag::{EntityTags, IfMatch},
    problem::Problem,
};

/// The `ETag` of this version of the product.
pub(super) fn etag(product: &Product) -> String {
    format!("\"{}\"", product.version)
}

/// The `ETag` of this version of the order.
pub(super) fn order_etag(order: &Order) -> String {
    format!("\"{}\"", order.version())
}

/// The versions that `If-Match` lets a change be made to. Tags are compared strongly (RFC 9110
/// §13.1.1): a weak one never matches, and one that names no version of ours matches none.
pub(super) enum Expected<V> {
    /// Any.
    Any,
    /// One of these; there is at least one.
    Versions(Vec<V>),
    /// None, and whether a weak tag would have named one.
    Nothing { is_weak: bool },
}

impl<V: Version> From<IfMatch> for Expected<V> {
    fn from(if_match: IfMatch) -> Self {
        let Some(EntityTags::These(tags)) = if_match.0 else {
            return Self::Any;
        };
        let strong = tags.iter().filter(|tag| !tag.is_weak);
        let versions: Vec<V> = strong.filter_map(|tag| version_of(&tag.text)).collect();
        if versions.is_empty() {
            let is_weak = tags.iter().any(|tag| tag.is_weak);
            return Self::Nothing { is_weak };
        }
        Self::Versions(versions)
    }
}

impl<V: Version> Expected<V> {
    /// The refusal of what matches no version, for a product or an order that is there.
    pub(super) fn refusal(is_weak: bool) -> Problem {
        let what = V::OF;
        Problem::precondition_failed(&if is_weak {
            format!(
                "If-Match never matches a weak tag (W/\"…\"), as a proxy that compresses answers \
                 makes them: send it without W/, which is the version of the {what} in quotes"
            )
        } else {
            format!("no tag of If-Match is one of this {what}")
        })
    }
}

/// What an `ETag` names.
pub(super) trait Version: std::str::FromStr + ToString {
    /// What it is a version of.
    const OF: &'static str;
}

impl Version for i64 {
    const OF: &'static str = "product";
}

impl Version for OrderVersion {
    const OF: &'static str = "order";
}

/// The version that an `ETag` names.
fn version_of<V: Version>(etag: &str) -> Option<V> {
    let text = etag.strip_prefix('"')?.strip_suffix('"')?;
    let version: V = text.parse().ok()?;
    (version.to_string() == text).then_some(version)
}
