//! Statements that differ by the order of a list.

use uuid::Uuid;

use crate::domain::Sort;

/// A statement for each order of a list.
#[derive(Clone, Copy)]
pub(super) struct Sorted {
    pub(super) newest_first: &'static str,
    pub(super) oldest_first: &'static str,
}

impl Sorted {
    pub(super) const fn by(&self, sort: Sort) -> &'static str {
        match sort {
            Sort::NewestFirst => self.newest_first,
            Sort::OldestFirst => self.oldest_first,
        }
    }
}

/// A statement that a macro makes of the comparison by which an id comes after another one, and of the
/// direction of the ids.
macro_rules! sorted {
    ($statement:ident) => {
        $crate::store::sql::sorted::Sorted {
            newest_first: $statement!("<", "DESC"),
            oldest_first: $statement!(">", "ASC"),
        }
    };
}

pub(super) use sorted;

/// The comparison by which an id comes after another one.
pub(super) const AFTER: Sorted = Sorted {
    newest_first: "<",
    oldest_first: ">",
};

/// The comparison by which an id does not come after another one.
pub(super) const NOT_AFTER: Sorted = Sorted {
    newest_first: ">=",
    oldest_first: "<=",
};

/// The direction of the ids.
pub(super) const DIRECTION: Sorted = Sorted {
    newest_first: "DESC",
    oldest_first: "ASC",
};

/// The place before the first item.
pub(super) const fn beginning(sort: Sort) -> Uuid {
    match sort {
        Sort::NewestFirst => Uuid::max(),
        Sort::OldestFirst => Uuid::nil(),
    }
}
