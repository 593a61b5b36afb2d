//! Exact money: an integer count of minor units.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{Currency, ValidationError};

/// An amount of money in minor units of [the currency](Currency::of_process). Never negative, never
/// a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

impl Money {
    /// The highest price: 15 digits, which is what a float carries exactly, should a client read
    /// prices as floats. 9 999 999 999 999.99 in a currency with two decimals.
    pub const MAX_PRICE: Money = Money(999_999_999_999_999);

    /// So many minor units; `None` when negative.
    #[must_use]
    pub const fn from_minor_units(minor_units: i64) -> Option<Self> {
        if minor_units < 0 {
            None
        } else {
            Some(Self(minor_units))
        }
    }

    /// The count of minor units.
    #[must_use]
    pub const fn minor_units(self) -> i64 {
        self.0
    }

    /// A price: `text` as a plain decimal up to [`Money::MAX_PRICE`].
    ///
    /// # Errors
    /// [`ValidationError`] that names `price`.
    pub fn price(text: &str) -> Result<Self, ValidationError> {
        text.parse::<Self>()?.checked_price()
    }

    /// The amount, if it is not too high for a price.
    pub(crate) fn checked_price(self) -> Result<Self, ValidationError> {
        if self > Self::MAX_PRICE {
            let reason = format!("must be at most {}", Self::MAX_PRICE);
            return Err(ValidationError::new("price", reason));
        }
        Ok(self)
    }

    /// What is wrong with an amount that has more decimals than the currency.
    #[must_use]
    pub fn more_decimals() -> &'static str {
        match Currency::of_process().decimals() {
            0 => "must have no decimals",
            2 => "must have at most two decimals",
            3 => "must have at most three decimals",
            _ => "must have at most four decimals",
        }
    }

    fn read(text: &str, currency: Currency) -> Result<Self, ValidationError> {
        let refuse = |reason| Err(ValidationError::new("price", reason));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if whole.starts_with('-') {
            return refuse("must not be negative");
        }
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return refuse("must be a decimal number such as 999.99");
        }
        let fraction = fraction.trim_end_matches('0');
        let decimals = usize::try_from(currency.decimals()).unwrap_or_default();
        if fraction.len() > decimals {
            return refuse(Self::more_decimals());
        }
        let minor_units = format!("{whole}{fraction:0<decimals$}").parse();
        minor_units.map_or_else(
            |_| refuse("is too large"),
            |minor_units| Ok(Self(minor_units)),
        )
    }

    fn write(self, currency: Currency, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, minor) = (self.0 / currency.scale(), self.0 % currency.scale());
        match usize::try_from(currency.decimals()) {
            Ok(decimals) if decimals > 0 => write!(f, "{whole}.{minor:0decimals$}"),
            _ => write!(f, "{whole}"),
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(Currency::of_process(), f)
    }
}

impl FromStr for Money {
    type Err = ValidationError;

    /// Reads `digits[.digits]`, exact in minor units: no sign, exponent, space or separator.
    fn from_str(text: &str) -> Result<Self, ValidationError> {
        Self::read(text, Currency::of_process())
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
            ("1.100", 110),
            ("99999999.99", 9_999_999_999),
            ("9999999999999.99", 999_999_999_999_999),
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
            "10000000000000",
            "10000000000000.00",
            "92233720368547758.08",
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

    #[test]
    fn a_currency_has_its_own_decimals() -> Result<(), ValidationError> {
        struct In(Money, Currency);
        impl fmt::Display for In {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(self.1, f)
            }
        }
        for (code, text, minor_units, written) in [
            ("JPY", "1299", 1_299, "1299"),
            ("JPY", "1299.00", 1_299, "1299"),
            ("KWD", "1.5", 1_500, "1.500"),
            ("KWD", "0.001", 1, "0.001"),
            ("UYW", "2.0001", 20_001, "2.0001"),
            ("EUR", "19.9", 1_990, "19.90"),
        ] {
            let currency = code.parse()?;
            let money = Money::read(text, currency)?;
            assert_eq!(money.minor_units(), minor_units, "{text} {code}");
            assert_eq!(In(money, currency).to_string(), written);
        }
        for (code, text) in [("JPY", "0.5"), ("KWD", "0.0005"), ("EUR", "0.001")] {
            assert!(Money::read(text, code.parse()?).is_err(), "{text} {code}");
        }
        Ok(())
    }
}
