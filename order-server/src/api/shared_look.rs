//! A look at something, shared by all who ask for it at the same time.

use tokio::{sync::Mutex, time::Instant};

/// The last look. However many ask, one looks at a time, and nobody is told what was found before
/// he asked.
pub(super) struct SharedLook<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for SharedLook<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> SharedLook<T> {
    /// What `look` finds, or a look of somebody else that began after this call.
    pub(super) async fn get(&self, look: impl AsyncFnOnce() -> T) -> T {
        let asked_at = Instant::now();
        let mut last = self.0.lock().await;
        match &*last {
            Some((began, found)) if *began >= asked_at => found.clone(),
            _ => {
                let began = Instant::now();
                let found = look().await;
                *last = Some((began, found.clone()));
                found
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };

    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_asks_meanwhile_shares_the_next_look() {
        let (shared, looks) = (SharedLook::default(), AtomicU32::new(0));
        let ask = async |after_ms| {
            sleep(Duration::from_millis(after_ms)).await;
            let look = async || {
                sleep(Duration::from_millis(100)).await;
                looks.fetch_add(1, Ordering::Relaxed) + 1
            };
            shared.get(look).await
        };
        let found = join_all((0..50).map(|number| ask(number + 1))).await;
        assert_eq!(found[0], 1);
        assert!(found[1..].iter().all(|found| *found == 2), "{found:?}");
        assert_eq!(ask(1).await, 3, "what was found before is not told");
    }
}
