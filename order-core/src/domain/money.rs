//! Exact money: an integer count of minor units, two decimals, no currency.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::ValidationError;

/// An amount of money in minor units (1/100). Never negative, never a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

impl Money {
    /// The first amount that is too high to be a price: 100 000 000.00.
    pub const PRICE_LIMIT: Money = Money(10_000_000_000);

    /// `minor_units` hundredths; `None` when negative.
    #[must_use]
    pub const fn from_minor_units(minor_units: i64) -> Option<Self> {
        if minor_units < 0 {
            None
        } else {
            Some(Self(minor_units))
        }
    }

    /// The count of hundredths.
    #[must_use]
    pub const fn minor_units(self) -> i64 {
        self.0
    }

    /// A price: `text` as a plain decimal below [`Money::PRICE_LIMIT`].
    ///
    /// # Errors
    /// [`ValidationError`] that names `price`.
    pub fn price(text: &str) -> Result<Self, ValidationError> {
        let price: Self = text.parse()?;
        if price >= Self::PRICE_LIMIT {
            return Err(ValidationError::new("price", "must be below 100000000.00"));
        }
        Ok(price)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl FromStr for Money {
    type Err = ValidationError;

    /// Reads `digits[.digits]` with at most two decimals: no sign, exponent, space or separator.
    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let refuse = |reason| Err(ValidationError::new("price", reason));
        let (whole, cents) = text.split_once('.').unwrap_or((text, "0"));
        if whole.starts_with('-') {
            return refuse("must not be negative");
        }
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(cents) {
            return refuse("must be a decimal number such as 999.99");
        }
        if cents.len() > 2 {
            return refuse("must have at most two decimals");
        }
        let cents = cents.parse::<i64>().map(|c| match text.split_once('.') {
            Some((_, one)) if one.len() == 1 => c * 10,
            _ => c,
        });
        let minor_units = match (whole.parse::<i64>(), cents) {
            (Ok(whole), Ok(cents)) => whole.checked_mul(100).and_then(|m| m.checked_add(cents)),
            _ => None,
        };
        minor_units.map_or_else(|| refuse("is too large"), |m| Ok(Self(m)))
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    /// Reads what [`Serialize`] writes: a decimal string.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (text, minor_units) in [
            ("0", 0),
            ("0.5", 50),
            ("999.99", 99_999),
            ("1299", 129_900),
            ("99999999.99", 9_999_999_999),
        ] {
            let money = Money::price(text).map_err(|e| e.to_string());
            assert_eq!(money, Ok(Money(minor_units)), "{text}");
            let again = Money(minor_units).to_string().parse::<Money>();
            assert_eq!(again.map_err(|e| e.to_string()), Ok(Money(minor_units)));
        }
    }

    #[test]
    fn refuses_what_is_not_a_plain_decimal_in_range() {
        let long = "9".repeat(40);
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "NaN",
            "inf",
            "0.001",
            "1,5",
            " 1",
            "1 ",
            "100000000",
            "100000000.00",
            "0x10",
            "१",
            &long,
        ] {
            let refused = Money::price(text);
            assert!(
                matches!(&refused, Err(ValidationError { field, .. }) if field == "price"),
                "{text:?} gave {refused:?}"
            );
        }
    }
}
