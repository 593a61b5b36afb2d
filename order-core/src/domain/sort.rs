//! The order of a list.

use std::{fmt, str::FromStr};

use super::ValidationError;

/// The order of a list. Both ways lead along the ids, which grow with the time at which they are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sort {
    /// The newest first.
    #[default]
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

impl Sort {
    /// All orders.
    pub const ALL: [Self; 2] = [Self::NewestFirst, Self::OldestFirst];

    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewestFirst => "newest",
            Self::OldestFirst => "oldest",
        }
    }

    /// Tells whether `id` comes after `place` in a list.
    pub fn is_after<Id: Ord>(self, id: &Id, place: &Id) -> bool {
        match self {
            Self::NewestFirst => id < place,
            Self::OldestFirst => id > place,
        }
    }

    /// Puts `items` in this order.
    pub fn arrange<T, Id: Ord>(self, items: &mut [T], id: impl Fn(&T) -> Id) {
        items.sort_by(|a, b| match self {
            Self::NewestFirst => id(b).cmp(&id(a)),
            Self::OldestFirst => id(a).cmp(&id(b)),
        });
    }

    /// The one of two places that comes later in a list.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn later<Id: Ord>(self, a: Id, b: Id) -> Id {
        if self.is_after(&a, &b) { a } else { b }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Sort {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let named = Self::ALL.into_iter().find(|sort| sort.as_str() == text);
        named.ok_or_else(|| ValidationError::new("sort", "must be one of newest, oldest"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_has_a_name_and_a_direction() {
        for sort in Sort::ALL {
            assert_eq!(sort.to_string().parse(), Ok(sort));
            let mut ids = [2, 1, 3];
            sort.arrange(&mut ids, |id| *id);
            let expected = match sort {
                Sort::NewestFirst => [3, 2, 1],
                Sort::OldestFirst => [1, 2, 3],
            };
            assert_eq!(ids, expected);
            assert!(sort.is_after(&ids[1], &ids[0]) && !sort.is_after(&ids[1], &ids[1]));
            assert_eq!(sort.later(ids[0], ids[2]), ids[2]);
        }
        for text in ["", "Newest", "-id", "price"] {
            assert_eq!(text.parse::<Sort>().unwrap_err().field, "sort", "{text}");
        }
    }
}
