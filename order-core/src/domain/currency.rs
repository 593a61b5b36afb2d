//! The currencies of ISO 4217, and the one that this process sells in.

use std::{fmt, str::FromStr, sync::OnceLock};

use serde::{Serialize, Serializer};

use super::ValidationError;

/// The codes in use, by their decimals. Metals, funds and test codes are no prices.
const CODES: [(u32, &str); 4] = [
    (
        0,
        "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    ),
    (
        2,
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD \
         CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD \
         GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL \
         MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN \
         PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP \
         SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
    ),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
    (4, "CLF UYW"),
];

static OF_PROCESS: OnceLock<Currency> = OnceLock::new();

/// A currency of ISO 4217, with the decimals of its minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Currency {
    code: &'static str,
    decimals: u32,
}

impl Currency {
    /// The US dollar: what a process sells in unless it is told otherwise.
    pub const USD: Self = Self {
        code: "USD",
        decimals: 2,
    };

    /// Its three letters.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.code
    }

    /// The decimals of an amount: 2 for `USD`, 0 for `JPY`, 3 for `KWD`.
    #[must_use]
    pub const fn decimals(self) -> u32 {
        self.decimals
    }

    /// The minor units of one unit.
    pub(crate) const fn scale(self) -> i64 {
        10_i64.pow(self.decimals)
    }

    /// The currency of every amount in this process.
    #[must_use]
    pub fn of_process() -> Self {
        OF_PROCESS.get().copied().unwrap_or(Self::USD)
    }

    /// Makes this the currency of every amount in this process: once, before it reads or writes
    /// any. Amounts are counts of minor units and carry no currency, and a process has one as a
    /// database has one.
    ///
    /// # Errors
    /// The currency that the process was told before, when it is another one.
    pub fn set_for_process(self) -> Result<(), Self> {
        match *OF_PROCESS.get_or_init(|| self) {
            told if told == self => Ok(()),
            told => Err(told),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

impl FromStr for Currency {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let known = CODES.iter().flat_map(|(decimals, codes)| {
            let codes = codes.split_ascii_whitespace();
            codes.map(|code| Self {
                code,
                decimals: *decimals,
            })
        });
        known
            .into_iter()
            .find(|one| one.code == text)
            .ok_or_else(|| {
                ValidationError::new("currency", "must be a code of ISO 4217, such as USD")
            })
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code)
    }
}

/// What has prices, as it is serialized for somebody else: with their currency.
#[derive(Clone, Debug, Serialize)]
pub struct InCurrency<T> {
    #[serde(flatten)]
    value: T,
    currency: Currency,
}

impl<T> From<T> for InCurrency<T> {
    fn from(value: T) -> Self {
        Self {
            value,
            currency: Currency::of_process(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_known_with_their_decimals() {
        for (code, decimals) in [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("VND", 0)] {
            let currency: Currency = code.parse().unwrap_or(Currency::USD);
            assert_eq!((currency.code(), currency.decimals()), (code, decimals));
        }
        for text in ["", "usd", "US", "USDX", "XXX", "AED AFN", " "] {
            assert!(text.parse::<Currency>().is_err(), "{text:?}");
        }
        let all = || {
            CODES
                .iter()
                .flat_map(|(_, codes)| codes.split_ascii_whitespace())
        };
        assert!(all().all(|code| code.len() == 3));
        let mut once: Vec<_> = all().collect();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), all().count(), "a code is there twice");
    }
}
