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
        let several = several_without_password(text);
        return several.unwrap_or_else(|| "(not a URL)".to_owned());
    };
    url.set_query(None);
    url.set_fragment(None);
    // Refused only where a URL has no place for a password.
    let _ = url.set_password(None);
    url.to_string()
}

/// The same of a URL that names several hosts, as URLs of Postgres may.
fn several_without_password(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    // What looks like hosts may be part of a password that should have been escaped.
    let is_host = |host: &str| match host.rsplit_once(':') {
        Some((_, port)) => host.ends_with(']') || port.bytes().all(|b| b.is_ascii_digit()),
        None => true,
    };
    let are_hosts = hosts.contains(',') && hosts.split(',').all(is_host) && !rest.contains('@');
    let name = user.split(':').next().filter(|name| !name.is_empty());
    let user = name.map(|name| format!("{name}@")).unwrap_or_default();
    are_hosts.then(|| format!("{scheme}://{user}{hosts}{path}"))
}
