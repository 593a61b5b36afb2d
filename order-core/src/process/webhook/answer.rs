//! The meaning of an answer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hyper::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};

use crate::process::ProcessError;

/// 2xx is done; 410 means that nobody wants it any more; all else may pass, and 429 and 503
/// may say when.
pub(super) fn verdict(
    status: StatusCode,
    headers: &HeaderMap,
    now: DateTime<Utc>,
) -> Result<(), ProcessError> {
    if status.is_success() {
        return Ok(());
    }
    let reason = if status.is_redirection() {
        format!("answered {status}: redirects are not followed")
    } else {
        format!("answered {status}")
    };
    match status {
        StatusCode::GONE => Err(ProcessError::GiveUp { reason }),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let after = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
            let after = after.and_then(|after| retry_after(after, now));
            Err(ProcessError::Retry { reason, after })
        }
        _ => Err(ProcessError::retry(reason)),
    }
}

/// A number of seconds, or a date.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    (date.to_utc() - now).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, after: &str) -> Result<(), ProcessError> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, after.parse().unwrap());
        let now = "2026-11-06T08:49:00Z".parse().unwrap();
        verdict(StatusCode::from_u16(status).unwrap(), &headers, now)
    }

    #[test]
    fn an_answer_means_what_its_status_says() {
        for done in [200, 202, 204, 299] {
            assert_eq!(answer(done, "9"), Ok(()));
        }
        assert!(matches!(answer(410, "9"), Err(ProcessError::GiveUp { .. })));
        for (status, text, seconds) in [
            (429, "120", Some(120)),
            (503, "Fri, 06 Nov 2026 08:49:37 GMT", Some(37)),
            (503, "Fri, 06 Nov 2020 08:49:37 GMT", None),
            (429, "soon", None),
            (500, "120", None),
            (302, "120", None),
            (404, "120", None),
        ] {
            let Err(ProcessError::Retry { after, .. }) = answer(status, text) else {
                panic!("{status} may pass")
            };
            assert_eq!(after, seconds.map(Duration::from_secs), "{status} {text}");
        }
    }
}
