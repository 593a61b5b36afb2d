//! Values that several settings share.

use std::{error::Error, str::FromStr, time::Duration};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use url::Url;

/// A duration of `count` milliseconds, at most a century: more could not be added to a time.
pub(super) const fn millis(count: u64) -> Duration {
    const CENTURY: u64 = 36_525 * 86_400_000;
    Duration::from_millis(if count < CENTURY { count } else { CENTURY })
}

/// Parses a whole number from 1.
pub(super) fn positive() -> impl TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(1..)
}

/// Parses one of the names of a type, which help and completions list.
pub fn one_of<T>(names: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Error + Send + Sync> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

/// A URL without its password, query and fragment.
pub(super) fn without_password(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return "(not a URL)".to_owned();
    };
    url.set_query(None);
    url.set_fragment(None);
    // Refused only where a URL has no place for a password.
    let _ = url.set_password(None);
    url.to_string()
}
