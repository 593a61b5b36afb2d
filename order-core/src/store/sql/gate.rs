//! Admission of reads, as sales have one of their own: reads leave connections for what is sold, and
//! searches, which take longest, leave some for other reads. Who would wait for a turn too long is
//! refused, and can go elsewhere or come back.
//!
//! Keys and heartbeats pass no gate: they have connections apart.

use std::time::Duration;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::error::Error;

/// The time that a read waits for its turn: as long as others wait for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time that a search waits for its turn.
const PATIENCE_TO_SEARCH: Duration = Duration::from_millis(500);

/// A bound on what goes on at once.
#[derive(Debug)]
pub(super) struct Gate {
    turns: Semaphore,
    patience: Duration,
}

impl Gate {
    fn new(most: u32, patience: Duration) -> Self {
        Self {
            turns: Semaphore::new(usize::try_from(most.max(1)).unwrap_or(1)),
            patience,
        }
    }

    /// A turn, for as long as the value lives.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when there is none in time; nothing was done.
    pub(super) async fn enter(&self) -> Result<SemaphorePermit<'_>, Error> {
        match timeout(self.patience, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(Error::Overloaded),
        }
    }
}

/// The gates of a database.
#[derive(Debug)]
pub(crate) struct Gates {
    /// All reads that somebody asks for.
    pub(super) reads: Gate,
    /// Those of them that search.
    pub(super) searches: Gate,
}

impl Gates {
    /// Lets this many reads go on at once, and half as many searches.
    pub(super) fn new(reads: u32) -> Self {
        Self {
            reads: Gate::new(reads, PATIENCE),
            searches: Gate::new(reads / 2, PATIENCE_TO_SEARCH),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_refused_and_a_turn_comes_back() {
        let gates = Gates::new(5);
        let first = gates.searches.enter().await.unwrap();
        let _second = gates.searches.enter().await.unwrap();
        let start = Instant::now();
        let refused = gates.searches.enter().await;
        assert!(matches!(refused, Err(Error::Overloaded)));
        assert_eq!(start.elapsed(), PATIENCE_TO_SEARCH);
        assert!(gates.reads.enter().await.is_ok(), "others read");
        drop(first);
        assert!(gates.searches.enter().await.is_ok());
    }

    #[tokio::test]
    async fn the_smallest_gates_let_one_pass() {
        for reads in 0..2 {
            let gates = Gates::new(reads);
            assert!(gates.reads.enter().await.is_ok());
            assert!(gates.searches.enter().await.is_ok());
        }
    }
}
