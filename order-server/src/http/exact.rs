//! Numbers as JSON writes them, read digit by digit: `1e2`, `1.10` and `-0` are what they say, and
//! no float stands between.

use std::num::IntErrorKind;

/// The reason why a number is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inexact {
    /// It is not a number.
    NotANumber,
    /// It has more decimals.
    MoreDecimals,
    TooLarge,
    TooSmall,
}

/// A JSON number times 10 to the power of `decimals`, if that is a whole number of 64 bits.
pub(crate) fn exact(json: &str, decimals: i64) -> Result<i64, Inexact> {
    let is_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if !is_number {
        return Err(Inexact::NotANumber);
    }
    let (is_negative, unsigned) = match json.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, json),
    };
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_end_matches('0');
    let zeros = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    let out_of_range = if is_negative {
        Inexact::TooSmall
    } else {
        Inexact::TooLarge
    };
    let exponent = match exponent.parse::<i64>() {
        Ok(exponent) => exponent,
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => return Err(out_of_range),
        Err(_) => return Err(Inexact::MoreDecimals),
    };
    // Texts in memory are far shorter than an i64 counts.
    let places = |count: usize| i64::try_from(count).unwrap_or(i64::MAX / 4);
    let scale = exponent
        .saturating_add(decimals)
        .saturating_add(places(zeros))
        .saturating_sub(places(fraction.len()));
    let Ok(scale) = usize::try_from(scale) else {
        return Err(Inexact::MoreDecimals);
    };
    // The largest number of 64 bits has 19 digits.
    if significant.len().saturating_add(scale) > 19 {
        return Err(out_of_range);
    }
    let sign = if is_negative { "-" } else { "" };
    let text = format!("{sign}{significant}{}", "0".repeat(scale));
    text.parse().map_err(|_| out_of_range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_they_say() {
        let long = format!("1.{}", "0".repeat(1_000));
        for (json, decimals, value) in [
            ("0", 0, Ok(0)),
            ("-0", 0, Ok(0)),
            ("-0.0e99999999999999999999", 2, Ok(0)),
            ("1e2", 0, Ok(100)),
            ("1E+2", 0, Ok(100)),
            ("100e-2", 0, Ok(1)),
            ("1.0", 0, Ok(1)),
            (long.as_str(), 0, Ok(1)),
            ("12.50", 1, Ok(125)),
            ("1.10", 2, Ok(110)),
            ("1.100", 2, Ok(110)),
            ("0.01", 2, Ok(1)),
            ("1.005e3", 2, Ok(100_500)),
            ("-1.5e1", 0, Ok(-15)),
            ("9223372036854775807", 0, Ok(i64::MAX)),
            ("-9223372036854775808", 0, Ok(i64::MIN)),
            ("92233720368547758.07", 2, Ok(i64::MAX)),
            ("9223372036854775808", 0, Err(Inexact::TooLarge)),
            ("-9223372036854775809", 0, Err(Inexact::TooSmall)),
            ("1e19", 0, Err(Inexact::TooLarge)),
            ("1e9223372036854775807", 2, Err(Inexact::TooLarge)),
            ("1e99999999999999999999", 0, Err(Inexact::TooLarge)),
            ("-1e400", 0, Err(Inexact::TooSmall)),
            ("1.5", 0, Err(Inexact::MoreDecimals)),
            ("0.001", 2, Err(Inexact::MoreDecimals)),
            ("1e-9223372036854775808", 0, Err(Inexact::MoreDecimals)),
            ("1e-99999999999999999999", 0, Err(Inexact::MoreDecimals)),
            ("1.0000000000000000000000001", 0, Err(Inexact::MoreDecimals)),
            ("\"1\"", 0, Err(Inexact::NotANumber)),
            ("true", 0, Err(Inexact::NotANumber)),
            ("[1]", 0, Err(Inexact::NotANumber)),
        ] {
            assert_eq!(exact(json, decimals), value, "{json}");
        }
    }
}
