//! Counts the requests of each caller, and writes the count into the answer.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::StateInformationMiddleware,
};
use poem::{
    IntoResponse, Response,
    http::{HeaderName, HeaderValue, StatusCode, header},
};

use super::buckets::{Buckets, Subject};
use crate::http::problem::Problem;

/// The fields of draft-ietf-httpapi-ratelimit-headers-10. `q` requests may come at once, and
/// `w` seconds later as many again; `r` are left, and `t` seconds later there is one more.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Counts requests, and refuses those that come too fast.
pub(super) struct Limiter<C: Clock = MonotonicClock> {
    rate: RateLimiter<Subject, Buckets, C, StateInformationMiddleware>,
    policy: HeaderValue,
}

impl<C: Clock> Limiter<C> {
    pub(super) fn new(per_second: NonZeroU32, burst: NonZeroU32, clock: C) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        let window_secs = burst.get().div_ceil(per_second.get());
        Self {
            rate: RateLimiter::new(quota, Buckets::new(), clock),
            policy: value(format!("\"default\";q={burst};w={window_secs}")),
        }
    }

    /// Counts a request. Returns the number of requests that are left, or the time to wait.
    pub(super) fn count(&self, subject: &Subject) -> Result<u32, Duration> {
        match self.rate.check_key(subject) {
            Ok(state) => Ok(state.remaining_burst_capacity()),
            Err(not_until) => Err(not_until.wait_time_from(self.rate.clock().now())),
        }
    }

    pub(super) fn describe(&self, response: &mut Response, left: u32) {
        let headers = response.headers_mut();
        headers.insert(POLICY, self.policy.clone());
        // There is at least one request a second, and `t` has no fractions.
        headers.insert(LIMIT, value(format!("\"default\";r={left};t=1")));
    }

    pub(super) fn refuse(&self, wait: Duration) -> Response {
        let wait_secs = wait.as_secs_f64().ceil().max(1.0);
        let mut response = Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            format!("more requests than allowed; try again in {wait_secs} s"),
        )
        .into_response();
        let retry_after = value(wait_secs.to_string());
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, retry_after);
        self.describe(&mut response, 0);
        response
    }
}

/// A header value of our own making, which has no odd characters.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;
    use crate::http::account::Account;

    const SECOND: Duration = Duration::from_secs(1);

    fn limiter(per_second: u32, burst: u32) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let count = |n| NonZeroU32::new(n).unwrap();
        let limiter = Limiter::new(count(per_second), count(burst), clock.clone());
        (limiter, clock)
    }

    fn address(text: &str) -> Subject {
        Subject::Other(Account::of_address(text.parse().unwrap()))
    }

    #[test]
    fn a_burst_is_allowed_and_refills_at_the_rate() {
        let (limiter, clock) = limiter(2, 5);
        let one = address("192.0.2.1");
        for left in [4, 3, 2, 1, 0] {
            assert_eq!(limiter.count(&one), Ok(left));
        }
        assert_eq!(limiter.count(&one), Err(SECOND / 2));
        assert_eq!(
            limiter.count(&address("192.0.2.2")),
            Ok(4),
            "each for itself"
        );
        clock.advance(SECOND);
        assert_eq!(limiter.count(&one), Ok(1));
        assert_eq!(limiter.count(&one), Ok(0));
        assert_eq!(limiter.count(&one), Err(SECOND / 2));
        clock.advance(SECOND * 60);
        assert_eq!(limiter.count(&one), Ok(4), "no more than a burst is saved");
    }

    #[test]
    fn the_policy_says_when_a_burst_is_there_again() {
        for (per_second, burst, policy) in [
            (2, 5, "\"default\";q=5;w=3"),
            (10, 10, "\"default\";q=10;w=1"),
            (100, 1, "\"default\";q=1;w=1"),
        ] {
            assert_eq!(limiter(per_second, burst).0.policy, policy);
        }
    }
}
