//! Values as they look on the wire.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use order_core::domain::{Currency, Money};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type},
};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::{Value, value::RawValue};

use crate::http::exact::{Inexact, exact};

/// A point in time: RFC 3339, in UTC.
pub(super) type Time = DateTime<Utc>;

/// An amount of money: a decimal string out; a JSON number or a string in, read digit by
/// digit, so that no float ever stands between the client and us. A number may be written in any
/// way that JSON knows (`1e2`, `1.10`).
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Amount(pub(super) Money);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        read(raw.get()).map(Self).map_err(D::Error::custom)
    }
}

/// Reads the text of a JSON number or string; the error is what is wrong with it.
fn read(json: &str) -> Result<Money, Cow<'static, str>> {
    if json.starts_with('"') {
        let text: String = serde_json::from_str(json).map_err(|error| error.to_string())?;
        return Money::price(&text).map_err(|error| error.reason);
    }
    let reason = match exact(json, i64::from(Currency::of_process().decimals())) {
        Ok(minor_units) => match Money::from_minor_units(minor_units) {
            Some(money) => return Ok(money),
            None => "must not be negative",
        },
        Err(Inexact::NotANumber) => "must be a decimal number such as 999.99",
        Err(Inexact::MoreDecimals) => Money::more_decimals(),
        Err(Inexact::TooLarge) => "is too large",
        Err(Inexact::TooSmall) => "must not be negative",
    };
    Err(reason.into())
}

/// A whole number in a body, written in any way that JSON knows: `100`, `1e2`, `100.0`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole(pub(super) i64);

impl Whole {
    fn read(json: &str) -> Result<Self, &'static str> {
        exact(json, 0).map(Self).map_err(|error| match error {
            Inexact::NotANumber | Inexact::MoreDecimals => "must be a whole number",
            Inexact::TooLarge => "is too large",
            Inexact::TooSmall => "is too small",
        })
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Self::read(raw.get()).map_err(D::Error::custom)
    }
}

impl Type for Whole {
    const IS_REQUIRED: bool = true;

    type RawValueType = i64;
    type RawElementValueType = i64;

    fn name() -> Cow<'static, str> {
        i64::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        i64::schema_ref()
    }

    fn as_raw_value(&self) -> Option<&i64> {
        Some(&self.0)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a i64> + 'a> {
        Box::new(std::iter::once(&self.0))
    }
}

impl ParseFromJSON for Whole {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let value = value.unwrap_or_default();
        Self::read(&value.to_string()).map_err(ParseError::custom)
    }
}

/// What a price looks like, in or out: exact, and up to 15 digits.
fn price_pattern() -> String {
    match Currency::of_process().decimals() {
        0 => r"^\d{1,15}(\.0+)?$".to_owned(),
        decimals => format!(r"^\d{{1,{}}}(\.\d{{1,{decimals}}}0*)?$", 15 - decimals),
    }
}

/// The code of the currency that the prices beside it are in.
pub(super) fn currency() -> String {
    Currency::of_process().code().to_owned()
}

impl ToJSON for Whole {
    fn to_json(&self) -> Option<Value> {
        Some(Value::from(self.0))
    }
}

impl Type for Amount {
    const IS_REQUIRED: bool = true;

    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string(decimal)".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some("An amount with the decimals of the currency, as a string"),
            pattern: Some(price_pattern()),
            example: Some(Value::from("999.99")),
            ..MetaSchema::new_with_format("string", "decimal")
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for Amount {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let value = value.unwrap_or_default();
        read(&value.to_string())
            .map(Self)
            .map_err(ParseError::custom)
    }
}

impl ParseFromParameter for Amount {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        let money = Money::price(value).map_err(|error| error.reason);
        money.map(Self).map_err(ParseError::custom)
    }
}

impl ToJSON for Amount {
    fn to_json(&self) -> Option<Value> {
        Some(Value::from(self.0.to_string()))
    }
}

/// A field that may be left out (by `#[serde(default)]`), and is never `null`.
pub(super) fn given<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Distinguishes a field that is `null` (`Some(None)`) from one that is not there (`None`,
/// by `#[serde(default)]`).
pub(super) fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}
