//! How requests to the API were answered lately, for whoever looks at the dashboard: counts and times
//! of this process, in steps from a second to six hours, as far back as each is kept.
//!
//! Every request is counted into its second. When a second is over, it is added to the longer steps,
//! so that a request costs one short lock, however many steps there are.

use std::{
    collections::VecDeque,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use poem::http::StatusCode;

/// Times from 100 µs, each 1.4 times the one before: the last one is beyond any time limit.
const BUCKETS: usize = 40;
const FIRST_MICROS: f64 = 100.0;
const GROWTH: f64 = 1.4;

/// The length of a step and how many are kept: 5 minutes, 1 hour, 24 hours, 30 days.
pub(crate) const STEPS: [(u64, usize); 4] = [(1, 300), (60, 60), (900, 96), (21_600, 120)];

/// The requests of a step.
#[derive(Clone)]
pub(crate) struct Answered {
    /// Its first second, since 1970.
    pub(crate) from: u64,
    pub(crate) requests: u64,
    /// Those that came too late or met a state that forbids them, such as a product that is sold out
    /// (409): the business of a shop, and no error.
    pub(crate) conflicts: u64,
    /// Those that were refused for what they are (other 4xx).
    pub(crate) refused: u64,
    /// Those that the server failed to do (5xx).
    pub(crate) failed: u64,
    times: [u32; BUCKETS],
}

impl Answered {
    const fn beginning(from: u64) -> Self {
        Self {
            from,
            requests: 0,
            conflicts: 0,
            refused: 0,
            failed: 0,
            times: [0; BUCKETS],
        }
    }

    fn count(&mut self, status: StatusCode, took: Duration) {
        self.requests += 1;
        match status.as_u16() {
            409 => self.conflicts += 1,
            400..500 => self.refused += 1,
            500.. => self.failed += 1,
            _ => {}
        }
        self.times[bucket(took)] += 1;
    }

    fn add(&mut self, more: &Self) {
        self.requests += more.requests;
        self.conflicts += more.conflicts;
        self.refused += more.refused;
        self.failed += more.failed;
        for (all, more) in self.times.iter_mut().zip(more.times) {
            *all = all.saturating_add(more);
        }
    }

    /// The time within which this share of the requests was answered, as exactly as the buckets are;
    /// `None` without requests.
    pub(crate) fn within(&self, share: f64) -> Option<Duration> {
        let all: u64 = self.times.iter().map(|&count| u64::from(count)).sum();
        #[allow(clippy::cast_precision_loss)] // It is a share.
        let mut left = (all as f64 * share).max(f64::MIN_POSITIVE);
        for (bucket, &count) in self.times.iter().enumerate() {
            left -= f64::from(count);
            if left <= 0.0 {
                return Some(end_of(bucket));
            }
        }
        None
    }
}

fn bucket(took: Duration) -> usize {
    let times = took.as_secs_f64() * 1e6 / FIRST_MICROS;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Negative ones become 0.
    let bucket = (times.ln() / GROWTH.ln()).ceil() as usize;
    bucket.min(BUCKETS - 1)
}

fn end_of(bucket: usize) -> Duration {
    let bucket = i32::try_from(bucket).unwrap_or(i32::MAX);
    Duration::from_secs_f64(FIRST_MICROS / 1e6 * GROWTH.powi(bucket))
}

/// The steps of each length, the oldest first.
pub(crate) struct Recent([VecDeque<Answered>; STEPS.len()]);

impl Recent {
    const fn new() -> Self {
        Self([const { VecDeque::new() }; STEPS.len()])
    }

    /// Counts a request that was answered in the second `now`.
    fn count(&mut self, now: u64, status: StatusCode, took: Duration) {
        let seconds = &mut self.0[0];
        if seconds.back().is_none_or(|second| second.from < now) {
            self.begin(now);
        }
        // A clock that was set back counts into the second that it came to before.
        if let Some(second) = self.0[0].back_mut() {
            second.count(status, took);
        }
    }

    /// Adds the second that is over to the longer steps, and begins the next.
    fn begin(&mut self, now: u64) {
        let [seconds, longer @ ..] = &mut self.0;
        if let Some(over) = seconds.back() {
            for (steps, (length, most)) in longer.iter_mut().zip(&STEPS[1..]) {
                push(steps, over.from - over.from % length, *most).add(over);
            }
        }
        push(seconds, now, STEPS[0].1);
    }

    /// The steps of one length that are kept.
    fn steps(&self, length: u64) -> Vec<Answered> {
        let at = STEPS.iter().position(|(secs, _)| *secs == length);
        at.map_or_else(Vec::new, |at| self.0[at].iter().cloned().collect())
    }
}

/// The last of `steps`, which begins at `from`.
fn push(steps: &mut VecDeque<Answered>, from: u64, most: usize) -> &mut Answered {
    if steps.back().is_none_or(|last| last.from < from) {
        if steps.len() >= most {
            steps.pop_front();
        }
        steps.push_back(Answered::beginning(from));
    }
    let last = steps.len() - 1; // One was pushed, or is there.
    &mut steps[last]
}

/// Those of this process, as its metrics are.
static RECENT: LazyLock<Mutex<Recent>> = LazyLock::new(|| Mutex::new(Recent::new()));

/// Counts a request.
pub(crate) fn count(now: u64, status: StatusCode, took: Duration) {
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    recent.count(now, status, took);
}

/// The steps of one length that are kept, the oldest first; the last one may not be over.
pub(crate) fn steps(length: u64) -> Vec<Answered> {
    let recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    recent.steps(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_into_every_step() {
        let mut recent = Recent::new();
        let ms = Duration::from_millis;
        for second in 0..400 {
            recent.count(second, StatusCode::OK, ms(2));
            recent.count(second, StatusCode::CONFLICT, ms(200));
        }
        recent.count(390, StatusCode::BAD_GATEWAY, ms(1));
        recent.count(390, StatusCode::NOT_FOUND, ms(1));
        let seconds = recent.steps(1);
        assert_eq!((seconds.len(), seconds[0].from), (300, 100));
        let last = &seconds[299];
        let counts = (last.requests, last.conflicts, last.refused, last.failed);
        assert_eq!(counts, (4, 1, 1, 1), "a clock that went back counts on");
        recent.count(900, StatusCode::OK, ms(1));
        let minutes = recent.steps(60);
        assert_eq!((minutes.len(), minutes[0].requests), (7, 120));
        let all: u64 = recent.steps(21_600).iter().map(|step| step.requests).sum();
        assert_eq!(all, 802, "the last second is not over");
        assert_eq!(recent.steps(2).len(), 0);
    }

    #[test]
    fn shares_are_within_their_buckets() {
        let mut answered = Answered::beginning(0);
        assert_eq!(answered.within(0.5), None);
        for millis in [1, 1, 1, 1000] {
            answered.count(StatusCode::OK, Duration::from_millis(millis));
        }
        let (half, most) = (
            answered.within(0.5).unwrap(),
            answered.within(0.99).unwrap(),
        );
        assert!((0.001..0.0014).contains(&half.as_secs_f64()), "{half:?}");
        assert!((1.0..1.4).contains(&most.as_secs_f64()), "{most:?}");
        answered.count(StatusCode::OK, Duration::from_hours(1));
        answered.count(StatusCode::OK, Duration::ZERO);
        assert!(answered.within(1.0).unwrap() > Duration::from_secs(30));
        assert!(answered.within(0.01).unwrap() < Duration::from_millis(1));
    }
}
