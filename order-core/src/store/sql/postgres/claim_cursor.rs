//! The beginning of the undecided orders.
//!
//! An order that is decided leaves a dead entry at the head of the index of pending orders,
//! until the database cleans up. A claim that began there would walk over all that was decided
//! since: after a million decisions, that takes longer than deciding. So each claim begins
//! where the one before ended.
//!
//! Orders that are pending behind that point all the same are found by a rescan, from the
//! very head: orders that another process stored late, or that another worker held and let go.
//! That happens when a claim comes back empty, at the next claim when one was not full, and
//! else every [`RESCAN_EVERY`]; it takes a bounded share of the time, which counts in all three cases
//! while claims leave orders out on their way. When there is more behind the
//! point than one claim takes, the point goes back to the end of that claim: the next claims go
//! on there, so that what came late is overtaken until the next rescan, and not again. What
//! this process itself stores or lets go moves the point back at once.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::sync::lock;

/// The time between two rescans while every claim is full.
const RESCAN_EVERY: Duration = Duration::from_millis(250);
/// Rescanning takes at most one part in so many of the time, while there is other work.
const SHARE: u32 = 20;

/// The point at which the next claim begins.
#[derive(Debug)]
pub(super) struct ClaimCursor {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Every order up to this one is claimed, as far as this process knows.
    after: Uuid,
    rescan_at: Instant,
    /// No earlier in any case.
    not_before: Instant,
    /// The claims that are under way, by their ticket, each with the least order that came
    /// since it began: its search may have missed that one.
    claims: Vec<(u64, Uuid)>,
    next_ticket: u64,
}

impl Default for ClaimCursor {
    fn default() -> Self {
        let state = State {
            after: Uuid::nil(),
            rescan_at: Instant::now(),
            not_before: Instant::now(),
            claims: Vec::new(),
            next_ticket: 0,
        };
        Self {
            state: Mutex::new(state),
        }
    }
}

impl ClaimCursor {
    /// Begins a claim: it looks for orders after [`Claim::after`].
    pub(super) fn begin(self: &Arc<Self>) -> Claim {
        let began = Instant::now();
        let mut state = self.state();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.claims.push((ticket, Uuid::max()));
        Claim {
            cursor: Arc::clone(self),
            ticket,
            began,
            after: if began >= state.rescan_at {
                Uuid::nil()
            } else {
                state.after
            },
            first: None,
            is_scanning: false,
            stops_short: false,
        }
    }

    /// Notes that an order is there to be claimed, new or again.
    pub(super) fn rewind(&self, id: Uuid) {
        self.state().rewind(id);
    }

    /// The id after which the next claim begins, unless it is a rescan.
    pub(super) fn after(&self) -> Uuid {
        self.state().after
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is never left half written.
        lock(&self.state)
    }
}

impl State {
    /// The next claim begins no later than at `id`, whatever the claims under way find.
    fn rewind(&mut self, id: Uuid) {
        self.after = self.after.min(just_before(id));
        for (_, least) in &mut self.claims {
            *least = id.min(*least);
        }
    }
}

/// The greatest id below `id`.
fn just_before(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_sub(1))
}

/// The least id above `id`.
fn just_after(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_add(1))
}

/// A claim under way. Dropped before it is committed, it gives its orders back.
#[derive(Debug)]
pub(super) struct Claim {
    cursor: Arc<ClaimCursor>,
    ticket: u64,
    began: Instant,
    after: Uuid,
    /// The first order that it holds.
    first: Option<Uuid>,
    /// It passes pending orders that it leaves out: a rescan takes longer the more there are.
    is_scanning: bool,
    /// It did not come to the end.
    stops_short: bool,
}

impl Claim {
    /// The id after which it looks for orders; nil in a rescan.
    pub(super) const fn after(&self) -> Uuid {
        self.after
    }

    /// Leaves orders out on its way.
    pub(super) const fn scans(&mut self) {
        self.is_scanning = true;
    }

    /// Leaves the rest of its way to the next claim.
    pub(super) const fn stops_short(&mut self) {
        self.stops_short = true;
    }

    /// Tells whether it may become a rescan: it began later than at the first order.
    pub(super) fn may_rescan(&self) -> bool {
        !self.after.is_nil()
            && !self.stops_short
            && Instant::now() >= self.cursor.state().not_before
    }

    /// Becomes a rescan.
    pub(super) fn rescan(&mut self) {
        self.began = Instant::now();
        self.after = Uuid::nil();
    }

    /// Notes what was found, and whether that was as much as was asked for.
    pub(super) fn found(&mut self, first: Option<Uuid>, last: Uuid, full: bool) {
        let now = Instant::now();
        self.first = first;
        let mut state = self.cursor.state();
        let missed = state
            .claims
            .iter()
            .find(|(ticket, _)| *ticket == self.ticket);
        let missed = missed.map_or(Uuid::max(), |(_, least)| *least);
        let end = last.min(just_before(missed));
        if self.after.is_nil() && full && end < state.after {
            // There may be more between here and the point.
            state.rewind(just_after(end));
        }
        state.after = state.after.max(end);
        if self.after.is_nil() {
            let pause = (now - self.began) * SHARE;
            state.rescan_at = now + RESCAN_EVERY.max(pause);
            state.not_before = if self.is_scanning { now + pause } else { now };
        }
        if !full {
            state.rescan_at = now.max(state.not_before);
        }
    }

    /// The orders are decided.
    pub(super) fn committed(mut self) {
        self.first = None;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.cursor.state();
        state.claims.retain(|(ticket, _)| *ticket != self.ticket);
        drop(state);
        if let Some(first) = self.first {
            self.cursor.rewind(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// After a first claim of 1 to 10, all of them full.
    fn after_ten() -> Arc<ClaimCursor> {
        let cursor = Arc::new(ClaimCursor::default());
        let mut claim = cursor.begin();
        assert!(claim.after().is_nil());
        claim.found(Some(id(1)), id(10), true);
        claim.committed();
        cursor
    }

    #[test]
    fn a_claim_begins_where_the_one_before_ended() {
        assert_eq!(after_ten().begin().after(), id(10));
    }

    #[test]
    fn what_a_claim_let_go_is_claimed_again() {
        let cursor = after_ten();
        let mut claim = cursor.begin();
        claim.found(Some(id(11)), id(20), true);
        assert_eq!(cursor.begin().after(), id(20));
        drop(claim);
        assert_eq!(cursor.begin().after(), id(10));
    }

    #[test]
    fn what_comes_behind_the_cursor_moves_it_back() {
        let cursor = after_ten();
        cursor.rewind(id(5));
        assert_eq!(cursor.begin().after(), id(4));
    }

    #[test]
    fn what_comes_during_a_claim_is_not_passed_over() {
        let cursor = after_ten();
        let mut claim = cursor.begin();
        cursor.rewind(id(15));
        claim.found(Some(id(11)), id(20), true);
        claim.committed();
        assert_eq!(cursor.begin().after(), id(14));
    }

    /// A cursor at 10 whose next claim is a rescan.
    fn about_to_rescan() -> Arc<ClaimCursor> {
        let cursor = after_ten();
        cursor.state().rescan_at = Instant::now();
        cursor
    }

    #[test]
    fn a_rescan_that_finds_more_than_it_takes_moves_the_cursor_back() {
        let cursor = about_to_rescan();
        let mut claim = cursor.begin();
        assert!(claim.after().is_nil());
        claim.found(Some(id(2)), id(5), true);
        claim.committed();
        assert_eq!(cursor.begin().after(), id(5));
    }

    #[test]
    fn a_rescan_that_reaches_the_cursor_does_not_move_it_back() {
        for (last, full) in [(12, true), (10, true), (5, false)] {
            let cursor = about_to_rescan();
            let mut claim = cursor.begin();
            claim.found(Some(id(2)), id(last), full);
            claim.committed();
            assert_eq!(cursor.after(), id(last.max(10)));
        }
    }

    #[test]
    fn claims_under_way_do_not_pass_over_what_a_rescan_left() {
        let cursor = about_to_rescan();
        let mut rescan = cursor.begin();
        cursor.state().rescan_at += RESCAN_EVERY;
        let mut ahead = cursor.begin();
        assert_eq!(ahead.after(), id(10));
        rescan.found(Some(id(2)), id(5), true);
        ahead.found(Some(id(11)), id(20), true);
        assert_eq!(cursor.after(), id(5));
    }

    #[test]
    fn a_claim_that_is_not_full_makes_the_next_rescan() {
        let cursor = after_ten();
        let mut claim = cursor.begin();
        claim.found(Some(id(11)), id(12), false);
        claim.committed();
        assert!(cursor.begin().after().is_nil());
    }
}
