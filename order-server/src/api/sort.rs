//! The order of a list, on the wire.

use order_core::domain::Sort;
use poem_openapi::Enum;

/// The order of a list. Both follow the ids, which begin with the time of their creation.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename_all = "snake_case", rename = "Sort")]
pub(super) enum SortName {
    Newest,
    Oldest,
}

impl From<SortName> for Sort {
    fn from(name: SortName) -> Self {
        match name {
            SortName::Newest => Self::NewestFirst,
            SortName::Oldest => Self::OldestFirst,
        }
    }
}
