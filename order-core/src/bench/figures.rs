//! From what was measured to what is reported.

use std::time::Duration;

use serde::Serialize;

/// One run of one contestant.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The orders that it served.
    pub orders: usize,
    /// The time that it took.
    pub elapsed: Duration,
    /// The time of each request or each transaction.
    pub latencies: Vec<Duration>,
}

impl Sample {
    /// Orders per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.orders as f64 / self.elapsed.as_secs_f64()
    }
}

/// The runs of one contestant.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// The number of runs.
    pub runs: usize,
    /// Orders per second: the median of the runs.
    pub orders_per_second: f64,
    /// The slowest run.
    pub min: f64,
    /// The fastest run.
    pub max: f64,
    /// Half of the requests (or transactions) took at most so many milliseconds.
    pub p50_ms: f64,
    /// All but a hundredth of them did.
    pub p99_ms: f64,
}

impl Figures {
    /// Sums up the runs of a contestant; latencies are of all its runs together.
    #[must_use]
    pub fn of(samples: &[Sample]) -> Self {
        let rates: Vec<f64> = samples.iter().map(Sample::rate).collect();
        let mut latencies: Vec<Duration> = samples
            .iter()
            .flat_map(|sample| sample.latencies.iter().copied())
            .collect();
        latencies.sort_unstable();
        Self {
            runs: samples.len(),
            orders_per_second: median(&rates),
            min: rates.iter().copied().fold(f64::INFINITY, f64::min),
            max: rates.iter().copied().fold(0.0, f64::max),
            p50_ms: percentile_ms(&latencies, 50),
            p99_ms: percentile_ms(&latencies, 99),
        }
    }
}

/// The one in the middle, or between the two in the middle.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (None, _) => f64::NAN,
        (Some(upper), 0) => f64::midpoint(sorted[middle - 1], *upper),
        (Some(middle), _) => *middle,
    }
}

/// The least of `sorted` that `percent` of them do not exceed (nearest rank).
fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted
        .get(rank - 1)
        .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert!((percentile_ms(&hundred, 50) - 50.0).abs() < 1e-9);
        assert!((percentile_ms(&hundred, 99) - 99.0).abs() < 1e-9);
        assert!((percentile_ms(&hundred[..1], 99) - 1.0).abs() < 1e-9);
    }
}
