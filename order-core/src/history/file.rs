//! A file of the archive, and how it is called.

use crate::domain::OrderId;

/// A file that was begun and is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveFile {
    /// Its number, from 1.
    pub number: i64,
    /// No order of it is before.
    pub first: OrderId,
    /// No order of it is after.
    pub last: OrderId,
    /// The SHA-256 of the file, once it is sealed.
    pub sha256: Option<[u8; 32]>,
}

/// The name of a file of the archive.
pub(super) fn name(file: &ArchiveFile) -> String {
    format!("orders-{:06}-{}.ndjson", file.number, file.first)
}

/// The name of the manifest beside a file.
pub(super) fn manifest_name(file: &str) -> String {
    let stem = file.strip_suffix(".ndjson").unwrap_or(file);
    format!("{stem}.manifest.json")
}
