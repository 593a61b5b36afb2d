//! The time that a client is ready to wait for an answer (`Prefer: wait=N`, RFC 7240 §4.3).
//!
//! A preference is no demand: one that is unknown or cannot be read is ignored.

use std::time::Duration;

use poem::http::{HeaderMap, HeaderName};
use poem_openapi::types::Type;

use super::header_parameter::header_parameter;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const MAX_WAIT_SECS: u64 = 30;

/// The time that the client is ready to wait, as a parameter of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(Option<u64>);

impl Wait {
    /// The time that the client asked for, if it did.
    pub fn limit(self) -> Option<Duration> {
        self.0.map(Duration::from_secs)
    }

    /// The value of `Preference-Applied`.
    pub fn applied(self) -> Option<String> {
        self.0.map(|wait_secs| format!("wait={wait_secs}"))
    }

    /// The preference in these headers, cut to the longest time that is granted.
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(PREFER).iter();
        let mut wait = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(preferences)
            .filter_map(|(name, value)| name.eq_ignore_ascii_case("wait").then_some(value));
        // The first of several counts (RFC 7240 §2).
        let wait_secs = wait.next().and_then(|value| value.parse::<u64>().ok());
        Self(wait_secs.map(|wait_secs| wait_secs.min(MAX_WAIT_SECS)))
    }
}

/// Names and values, without the parameters that may follow each. A comma within quotes
/// separates nothing.
fn preferences(header: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut is_quoted = false;
    let each = header.split(move |c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    });
    each.filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        Some((name.trim(), value.trim().trim_matches('"')))
    })
}

header_parameter!(Wait, String::schema_ref(), |request| Self::of(
    request.headers()
));

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    #[test]
    fn the_first_wait_that_is_asked_for_counts() {
        for (lines, wait_secs) in [
            (&["wait=5"][..], Some(5)),
            (&["respond-async, Wait = 10"], Some(10)),
            (&["respond-async", "wait=\"7\"; strictly"], Some(7)),
            (&["wait=3, wait=5"], Some(3)),
            (&["wait=0"], Some(0)),
            (&["wait=3600"], Some(30)),
            (&["wait=18446744073709551616"], None),
            (&["respond-async; wait=7"], None),
            (&["note=\"a, wait=7\""], None),
            (&["wait=-1"], None),
            (&["wait=x"], None),
            (&["wait"], None),
            (&["waiting=5"], None),
            (&[""], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(PREFER, HeaderValue::from_static(line));
            }
            assert_eq!(Wait::of(&headers), Wait(wait_secs), "{lines:?}");
        }
    }
}
