//! Values that several settings share.

use std::time::Duration;

use url::Url;

/// A duration of `count` milliseconds, at most a century: more could not be added to a time.
pub(super) const fn millis(count: u64) -> Duration {
    const CENTURY: u64 = 36_525 * 86_400_000;
    Duration::from_millis(if count < CENTURY { count } else { CENTURY })
}

/// Parses a whole number from 1.
pub(super) fn positive() -> impl clap::builder::TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(1..)
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
