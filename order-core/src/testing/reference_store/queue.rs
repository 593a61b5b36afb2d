//! The queue of the reference store: a map.

use std::{
    cmp::Reverse,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{queue_entry::QueueEntry, state::State};
use crate::{
    audit::{Action, AuditChange},
    domain::{IdGenerator, OrderId},
    error::Error,
    queue::{DeadFilter, DeadLetter, DeadQuery, DeadSummary, Lease, OrderQueue, QueueStats, Topic},
};

impl State {
    /// The entries that are due, those that wait longest first.
    pub(super) fn due(&self, topic: Topic, now: DateTime<Utc>) -> Vec<OrderId> {
        if self.paused.contains(&topic) {
            return Vec::new();
        }
        let mut due: Vec<_> = self
            .entries
            .iter()
            .filter(|((of, _), e)| *of == topic && e.dead.is_none() && e.visible_at <= now)
            .map(|((_, id), entry)| (entry.visible_at, *id))
            .collect();
        due.sort();
        due.into_iter().map(|(_, id)| id).collect()
    }
}

/// The reference store as a queue with leases.
pub(super) struct ReferenceQueue {
    state: Arc<Mutex<State>>,
    ids: IdGenerator,
}

impl ReferenceQueue {
    pub(super) fn new(state: Arc<Mutex<State>>) -> Self {
        Self {
            state,
            ids: IdGenerator::default(),
        }
    }

    fn dead_letters(&self, topic: Topic) -> Vec<DeadLetter> {
        let state = self.state.lock().unwrap();
        let entries = state.entries.iter().filter(|((of, _), _)| *of == topic);
        let dead = entries.filter_map(|((_, id), entry)| {
            let (dead_at, reason) = entry.dead.clone()?;
            Some(DeadLetter {
                order_id: *id,
                reason,
                attempts: entry.attempts,
                dead_at,
            })
        });
        let mut dead: Vec<DeadLetter> = dead.collect();
        dead.sort_by_key(|letter| (Reverse(letter.dead_at), letter.order_id));
        dead
    }

    fn consume(
        &self,
        topic: Topic,
        leases: &[Lease],
        each: impl Fn(&mut State, OrderId),
    ) -> Result<usize, Error> {
        let mut state = self.state.lock().unwrap();
        let mut consumed = 0;
        for lease in leases {
            let entry = state.entries.get(&(topic, lease.order_id));
            if entry.is_some_and(|entry| entry.is_held_by(lease.claim_id)) {
                each(&mut state, lease.order_id);
                consumed += 1;
            }
        }
        Ok(consumed)
    }
}

#[async_trait]
impl OrderQueue for ReferenceQueue {
    async fn push(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let mut state = self.state.lock().unwrap();
        let (now, before) = (state.now(), state.entries.len());
        for id in orders {
            let entry = state.entries.entry((topic, *id));
            entry.or_insert_with(|| QueueEntry::due(now));
        }
        Ok(state.entries.len() - before)
    }

    async fn claim(
        &self,
        topic: Topic,
        max: usize,
        lease: Duration,
        _: Duration,
    ) -> Result<Vec<Lease>, Error> {
        let mut state = self.state.lock().unwrap();
        let now = state.now();
        let claim_id = self.ids.next(now);
        let mut leases = Vec::new();
        for id in state.due(topic, now).into_iter().take(max) {
            let entry = state.entries.get_mut(&(topic, id)).unwrap();
            entry.attempts += 1;
            entry.runs += 1;
            entry.visible_at = now + lease;
            entry.claim = Some((claim_id, None, now));
            leases.push(Lease {
                order_id: id,
                attempts: entry.attempts,
                claim_id,
            });
        }
        leases.sort_by_key(|lease| lease.order_id);
        Ok(leases)
    }

    async fn ack(&self, topic: Topic, leases: Vec<Lease>) -> Result<usize, Error> {
        self.consume(topic, &leases, |state, id| {
            state.entries.remove(&(topic, id));
        })
    }

    async fn retry(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        delay: Duration,
    ) -> Result<usize, Error> {
        self.consume(topic, &leases, |state, id| {
            let at = state.now() + delay;
            let entry = state.entries.get_mut(&(topic, id)).unwrap();
            entry.visible_at = at;
            entry.claim = None;
        })
    }

    async fn dead_letter(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        reason: &str,
    ) -> Result<usize, Error> {
        self.consume(topic, &leases, |state, id| {
            let now = state.now();
            let entry = state.entries.get_mut(&(topic, id)).unwrap();
            entry.dead = Some((now, reason.to_owned()));
            entry.claim = None;
        })
    }

    async fn dead(&self, topic: Topic, query: &DeadQuery) -> Result<Vec<DeadLetter>, Error> {
        let after = query.after.map(|(at, order)| (Reverse(at), order));
        let letters = self.dead_letters(topic).into_iter().filter(|letter| {
            let is_after = after < Some((Reverse(letter.dead_at), letter.order_id));
            is_after && query.filter.matches(letter)
        });
        Ok(letters.take(query.limit).collect())
    }

    async fn dead_summary(
        &self,
        topic: Topic,
        filter: &DeadFilter,
        groups: usize,
    ) -> Result<DeadSummary, Error> {
        let letters = self.dead_letters(topic).into_iter();
        Ok(DeadSummary::of(
            letters.filter(|letter| filter.matches(letter)),
            groups,
        ))
    }

    async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let mut state = self.state.lock().unwrap();
        let now = state.now();
        let mut redriven = 0;
        for id in orders {
            let entry = state.entries.get_mut(&(topic, *id));
            if let Some(entry) = entry.filter(|entry| entry.dead.is_some()) {
                entry.dead = None;
                entry.attempts = 0;
                entry.visible_at = now;
                redriven += 1;
                state.record(AuditChange::redriven(topic, *id));
            }
        }
        Ok(redriven)
    }

    async fn pause(&self, topic: Topic) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap();
        if state.paused.insert(topic) {
            state.record(AuditChange::topic(Action::TopicPause, topic));
        }
        Ok(())
    }

    async fn resume(&self, topic: Topic) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap();
        if state.paused.remove(&topic) {
            state.record(AuditChange::topic(Action::TopicResume, topic));
        }
        Ok(())
    }

    async fn stats(&self, topic: Topic) -> Result<QueueStats, Error> {
        let state = self.state.lock().unwrap();
        let now = state.now();
        let mut stats = QueueStats {
            paused: state.paused.contains(&topic),
            ..QueueStats::default()
        };
        let entries = state.entries.iter().filter(|((of, _), _)| *of == topic);
        for (_, entry) in entries {
            if entry.dead.is_some() {
                stats.dead += 1;
            } else if entry.visible_at <= now {
                stats.waiting += 1;
                let age = (now - entry.visible_at).as_seconds_f64();
                stats.oldest_age_seconds = stats.oldest_age_seconds.max(age);
            } else if entry.claim.is_some() {
                stats.in_flight += 1;
            } else if entry.runs == 0 {
                stats.scheduled += 1;
            } else {
                stats.delayed += 1;
            }
        }
        Ok(stats)
    }
}
