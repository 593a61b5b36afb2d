//! Supervision: parts go on when something in them panics.
//!
//! A panic is a bug, and ends the task that it happens in: were that the one that runs the groups,
//! or a loop of the worker, that function of the process would be gone until somebody restarts it.
//! So each panic is caught where there is something honest to say about it, logged and counted,
//! and the loop goes on.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use crate::{error::Error, metrics};

/// The pause of a part that panicked before it begins again; twice as long each time that it
/// panics soon again, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A part that has run for so long begins anew with [`FIRST_PAUSE`].
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// The code panicked: what it had begun may be done, or not.
#[derive(Debug, thiserror::Error)]
#[error("{part} panicked: {message}")]
pub struct Panicked {
    part: &'static str,
    message: String,
}

impl Panicked {
    /// Logs and counts a panic of `part`.
    fn record(part: &'static str, panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let message = text.unwrap_or("without a message").to_owned();
        metrics::panicked(part);
        tracing::error!(part, message, "panicked: please report it");
        Self { part, message }
    }
}

impl From<Panicked> for Error {
    /// The work may be done or not: nobody knows.
    fn from(panic: Panicked) -> Self {
        Self::OutcomeUnknown {
            source: Arc::new(panic),
        }
    }
}

/// Runs `work` to its end or to a panic. Panics are logged, and counted as `orders_panics_total`:
/// `part` names the series, so that there should be few.
///
/// The memory that it was about to change must be whole between any two statements, or not be
/// looked at again.
///
/// # Errors
/// It panicked.
pub async fn catch<T>(part: &'static str, work: impl Future<Output = T>) -> Result<T, Panicked> {
    let ended = AssertUnwindSafe(work).catch_unwind().await;
    ended.map_err(|panic| Panicked::record(part, panic.as_ref()))
}

/// Runs `part` until it ends by itself: when it panics, as [`catch`] tells, begins it again after
/// a pause.
pub async fn supervise<F: Future>(part: &'static str, mut begin: impl FnMut() -> F) -> F::Output {
    let mut pause = FIRST_PAUSE;
    loop {
        let begun = Instant::now();
        if let Ok(output) = catch(part, async { begin().await }).await {
            return output;
        }
        if begun.elapsed() >= STEADY_AFTER {
            pause = FIRST_PAUSE;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_panics_is_begun_again_after_pauses_that_grow() {
        let mut begun = Vec::new();
        let started = Instant::now();
        let ended = supervise("test", || {
            begun.push(started.elapsed().as_millis());
            let times = begun.len();
            async move {
                // After a long while, a panic is the first again.
                if times == 8 {
                    sleep(Duration::from_secs(60)).await;
                }
                assert!(times >= 9, "this one panics: the test wants it to");
                times
            }
        });
        assert_eq!(ended.await, 9);
        let pauses: Vec<u128> = begun.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1_000, 1_000, 60_050]);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_with_its_message() {
        let caught = catch("test", async { panic!("number {}", 7) }).await;
        let error = caught.map(|(): ()| ()).unwrap_err();
        assert_eq!(error.to_string(), "test panicked: number 7");
    }
}
