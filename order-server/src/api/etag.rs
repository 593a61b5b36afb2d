//! The `ETag` of a product: its version, which grows with every change.

use order_core::domain::Product;

/// The `ETag` of this version of the product.
pub(super) fn etag(product: &Product) -> String {
    format!("\"{}\"", product.version)
}

/// The version that an `ETag` names.
pub(super) fn version_of(etag: &str) -> Option<i64> {
    etag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

/// Compares a tag of `If-None-Match` weakly (RFC 9110 §8.8.3.2).
pub(super) fn matches(tag: &str, etag: &str) -> bool {
    tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
}
