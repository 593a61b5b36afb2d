//! Who is let in to wait for a turn.
//!
//! When more comes than the database can do, whoever is let in waits for all before: a queue
//! that is bounded by its length alone is as long as the database is slow, and then everybody
//! waits in it, for nothing when they give up. So the bound is a time. From how long turns
//! took lately and how many are ahead follows when a newcomer would have its turn; too late,
//! and it is told so at once, when it can still go elsewhere or come back.
//!
//! Two turns are let in whatever they take: one that is under way and one that fills. Without
//! them, a database that is slow for everybody would be left idle.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

use crate::error::Error;

/// How often the log is told, while it lasts.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A bound on the turns that wait.
#[derive(Debug)]
pub(super) struct Gate {
    limits: Limits,
    /// How many have their turn together.
    per_turn: usize,
    state: Mutex<State>,
}

/// What a gate bears.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many may be inside.
    pub(super) max_waiting: usize,
    /// How long the way to the end of the turn may look.
    pub(super) max_wait: Duration,
}

impl Limits {
    /// As many places as a channel can have.
    pub(super) fn channel(self) -> usize {
        self.max_waiting.clamp(1, Semaphore::MAX_PERMITS)
    }
}

#[derive(Debug)]
struct State {
    inside: usize,
    /// How long turns took lately, each from the end of the one before it.
    turn: Duration,
    /// The end of the last turn, or when somebody came after all had gone.
    last: Instant,
    /// When the log was last told that somebody is refused.
    told: Option<Instant>,
}

/// The place of one that was let in, until it is dropped or set aside.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Gate>,
    is_aside: bool,
}

impl Gate {
    pub(super) fn new(limits: Limits, per_turn: usize) -> Arc<Self> {
        Arc::new(Self {
            limits,
            per_turn,
            state: Mutex::new(State {
                inside: 0,
                turn: Duration::ZERO,
                last: Instant::now(),
                told: None,
            }),
        })
    }

    /// Lets one in, or says at once that it would wait too long.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Place, Error> {
        let (mut state, now) = (self.state(), Instant::now());
        if state.inside >= self.limits.max_waiting.max(1) || self.is_late(&state, now) {
            state.tell(now);
            return Err(Error::Overloaded);
        }
        state.enter(now);
        drop(state);
        Ok(Place {
            gate: Arc::clone(self),
            is_aside: false,
        })
    }

    /// Tells that a turn ended.
    pub(super) fn turn_ended(&self) {
        let (mut state, now) = (self.state(), Instant::now());
        let took = now - state.last;
        // The mean of about the last eight.
        state.turn = (state.turn * 7 + took) / 8;
        state.last = now;
    }

    fn is_late(&self, state: &State, now: Instant) -> bool {
        let turns_ahead = state.inside / self.per_turn;
        if turns_ahead < 2 {
            return false;
        }
        let turns = u32::try_from(turns_ahead + 1).unwrap_or(u32::MAX);
        let stalled = (now - state.last).saturating_sub(state.turn);
        state.turn.saturating_mul(turns).saturating_add(stalled) > self.limits.max_wait
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, now: Instant) {
        if self.inside == 0 {
            self.last = now;
        }
        self.inside += 1;
    }

    /// Says that somebody is refused, and not each time.
    fn tell(&mut self, now: Instant) {
        if self.told.is_none_or(|told| now - told >= TELL_EVERY) {
            self.told = Some(now);
            let (waiting, turn_ms) = (self.inside, self.turn.as_secs_f64() * 1e3);
            tracing::warn!(
                waiting,
                turn_ms,
                "more comes than can be done: some are refused"
            );
        }
    }
}

impl Place {
    /// Tells that the turn of this one, which it had alone, ended.
    pub(super) fn turn_ended(self) {
        self.gate.turn_ended();
    }

    /// This one waits for something else than its turn: it is ahead of nobody for that long.
    pub(super) fn set_aside(&mut self) {
        if !self.is_aside {
            self.gate.state().inside -= 1;
            self.is_aside = true;
        }
    }

    /// This one, which was set aside, waits for its turn again.
    pub(super) fn is_back(&mut self) {
        if self.is_aside {
            self.gate.state().enter(Instant::now());
            self.is_aside = false;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_aside {
            self.gate.state().inside -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::time::advance;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn gate(per_turn: usize) -> Arc<Gate> {
        let limits = Limits {
            max_waiting: 10_000,
            max_wait: 500 * MS,
        };
        Gate::new(limits, per_turn)
    }

    /// Lets in as many as it takes.
    fn crowd(gate: &Arc<Gate>) -> VecDeque<Place> {
        std::iter::from_fn(|| gate.enter().ok()).collect()
    }

    async fn serve(gate: &Gate, crowd: &mut VecDeque<Place>, turn: Duration, served: usize) {
        advance(turn).await;
        gate.turn_ended();
        crowd.drain(..served.min(crowd.len()));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_who_is_let_in_waits_longer_than_allowed() {
        let gate = gate(1);
        // Some turns tell how long they take.
        for _ in 0..50 {
            let mut one = VecDeque::from([gate.enter().unwrap()]);
            serve(&gate, &mut one, 10 * MS, 1).await;
        }
        let mut inside = crowd(&gate);
        assert!((45..=50).contains(&inside.len()), "{}", inside.len());
        // While they are served, as many more get in, and no more.
        for _ in 0..20 {
            serve(&gate, &mut inside, 10 * MS, 1).await;
            let more = crowd(&gate);
            assert_eq!(more.len(), 1);
            inside.extend(more);
        }
        // It goes on as soon as the crowd has gone.
        inside.clear();
        assert!(gate.enter().is_ok());
    }

    /// A flash sale: thousands at once, of whom nobody knows how fast they go.
    #[tokio::test(start_paused = true)]
    async fn a_crowd_that_shares_few_turns_is_let_in() {
        let gate = gate(1_000);
        for _ in 0..10 {
            let mut alone = VecDeque::from([gate.enter().unwrap()]);
            serve(&gate, &mut alone, MS, 1).await;
        }
        assert_eq!(crowd(&gate).len(), 10_000, "as many as may wait at all");
    }

    #[tokio::test(start_paused = true)]
    async fn two_turns_are_let_in_however_slow_they_are() {
        let gate = gate(100);
        for _ in 0..20 {
            let mut alone = VecDeque::from([gate.enter().unwrap()]);
            serve(&gate, &mut alone, 2_000 * MS, 1).await;
        }
        assert_eq!(crowd(&gate).len(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn while_nothing_moves_nobody_more_is_let_in() {
        let gate = gate(1);
        let inside: Vec<_> = (0..5).map(|_| gate.enter().unwrap()).collect();
        advance(501 * MS).await;
        assert!(matches!(gate.enter(), Err(Error::Overloaded)));
        drop(inside);
        assert!(gate.enter().is_ok());
    }
}
