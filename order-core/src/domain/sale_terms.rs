//! When a product is on sale, and how much of it one customer may have.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ValidationError;

/// The terms on which a product is sold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaleTerms {
    /// The most pieces that one customer may have; none without a limit.
    #[serde(default)]
    pub limit_per_customer: Option<i64>,
    /// The time at which its sale begins; none when it has begun.
    #[serde(default)]
    pub on_sale_from: Option<DateTime<Utc>>,
    /// The time at which its sale ends; none when it does not.
    #[serde(default)]
    pub on_sale_until: Option<DateTime<Utc>>,
}

impl SaleTerms {
    /// The highest limit per customer.
    pub const MAX_LIMIT: i64 = 1_000_000;

    /// The same terms, with times in whole microseconds, if they make sense.
    ///
    /// # Errors
    /// [`ValidationError`] that names `limit_per_customer` (not 1..=1 000 000) or `on_sale_until` (not
    /// later than `on_sale_from`).
    pub fn checked(self) -> Result<Self, ValidationError> {
        let limits = 1..=Self::MAX_LIMIT;
        if self
            .limit_per_customer
            .is_some_and(|limit| !limits.contains(&limit))
        {
            let reason = "must be from 1 to 1000000";
            return Err(ValidationError::new("limit_per_customer", reason));
        }
        let terms = self.storable();
        if let (Some(from), Some(until)) = (terms.on_sale_from, terms.on_sale_until)
            && until <= from
        {
            return Err(ValidationError::new("on_sale_until", ends_too_early()));
        }
        Ok(terms)
    }

    /// The same terms, as databases keep them.
    pub(crate) fn storable(self) -> Self {
        Self {
            on_sale_from: self.on_sale_from.map(in_micros),
            on_sale_until: self.on_sale_until.map(in_micros),
            ..self
        }
    }

    /// Tells whether the product is on sale at `now`.
    #[must_use]
    pub fn are_open(&self, now: DateTime<Utc>) -> bool {
        self.on_sale_from.is_none_or(|from| from <= now)
            && self.on_sale_until.is_none_or(|until| now < until)
    }
}

/// A time in whole microseconds, which is what databases keep. A leap second is the one after it.
pub(super) fn in_micros(at: DateTime<Utc>) -> DateTime<Utc> {
    // It is none only out of the range of times.
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

/// What is wrong with a window that ends before it begins.
pub(crate) const fn ends_too_early() -> &'static str {
    "must be later than on_sale_from"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(secs, 0)
    }

    #[test]
    fn a_window_holds_its_beginning_and_not_its_end() {
        let terms = SaleTerms {
            on_sale_from: at(10),
            on_sale_until: at(20),
            ..SaleTerms::default()
        };
        for (now, is_open) in [(9, false), (10, true), (19, true), (20, false)] {
            assert_eq!(terms.are_open(at(now).unwrap()), is_open, "{now}");
        }
        assert!(SaleTerms::default().are_open(at(0).unwrap()));
        assert!(terms.checked().is_ok());
        for until in [10, 9] {
            let on_sale_until = at(until);
            let wrong = SaleTerms {
                on_sale_until,
                ..terms
            };
            assert_eq!(wrong.checked().unwrap_err().field, "on_sale_until");
        }
    }

    /// A window that ends with the microsecond in which it begins is none.
    #[test]
    fn times_are_those_that_databases_keep() {
        let window = |from: &str, until: &str| SaleTerms {
            on_sale_from: Some(from.parse().unwrap()),
            on_sale_until: Some(until.parse().unwrap()),
            ..SaleTerms::default()
        };
        for (from, until, kept) in [
            (
                "2030-01-01T00:00:00.0000009Z",
                "2030-01-01T00:00:00.0000019Z",
                "2030-01-01T00:00:00.000001Z",
            ),
            (
                "1960-01-01T00:00:00.0000009Z",
                "1969-12-31T23:59:59.9999999Z",
                "1969-12-31T23:59:59.999999Z",
            ),
            (
                "2016-12-31T23:59:59Z",
                "2016-12-31T23:59:60.5Z",
                "2017-01-01T00:00:00.5Z",
            ),
        ] {
            let terms = window(from, until).checked().unwrap();
            assert_eq!(terms.on_sale_until, Some(kept.parse().unwrap()));
            assert_eq!(terms.checked(), Ok(terms));
        }
        let short = window(
            "2030-01-01T00:00:00.0000011Z",
            "2030-01-01T00:00:00.0000019Z",
        );
        assert_eq!(short.checked().unwrap_err().field, "on_sale_until");
    }
}
