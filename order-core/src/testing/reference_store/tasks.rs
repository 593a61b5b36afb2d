//! The tasks and the workers of the reference store.

use std::{cmp::Reverse, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::{queue_entry::QueueEntry, state::State, store::ReferenceStore};
use crate::{
    audit::AuditChange,
    domain::{OrderId, OrderStatus},
    error::Error,
    heartbeat::{Heartbeat, KnownWorker, RETENTION, WorkerStore},
    process::{
        Attempt, AttemptOutcome, AttemptResult, Claim, Claimed, TaskHistory, TaskKind, TaskQuery,
        TaskState, TaskStatus, TaskStore,
    },
    queue::{Lease, QueueStats, Topic},
};

impl State {
    fn keep(&mut self, id: OrderId, attempt: Attempt) {
        let kept = self.attempts.entry((id, attempt.attempt));
        kept.or_insert(attempt);
    }

    fn keep_lapsed(&mut self, id: OrderId) {
        let entry = &self.entries[&(Topic::Process, id)];
        if let Some((_, worker_id, started_at)) = entry.claim {
            let attempt = Attempt {
                attempt: entry.runs,
                started_at,
                ended_at: entry.visible_at,
                error: "the lease ran out".to_owned(),
                worker_id,
            };
            self.keep(id, attempt);
        }
    }

    fn end(&mut self, ended: &AttemptResult, at: DateTime<Utc>) -> bool {
        let (id, now, mut completed) = (ended.lease.order_id, self.now(), false);
        if ended.outcome == AttemptOutcome::Done && !ended.kind.compensates() {
            let order = self.orders.get_mut(&id);
            if let Some(order) = order.filter(|order| order.status == OrderStatus::Success) {
                order.status = OrderStatus::Completed;
                order.completed_at = Some(at);
                completed = true;
            }
        }
        if let Some(error) = ended.error() {
            let attempt = Attempt {
                attempt: ended.run,
                started_at: now - ended.took,
                ended_at: now,
                error: error.to_owned(),
                worker_id: Some(ended.worker_id),
            };
            self.keep(id, attempt);
        }
        let entry = self.entries.get_mut(&(Topic::Process, id));
        let Some(entry) = entry.filter(|entry| entry.is_held_by(ended.lease.claim_id)) else {
            return completed;
        };
        entry.claim = None;
        if entry.compensates != ended.kind.compensates() {
            entry.visible_at = now;
            return completed;
        }
        match &ended.outcome {
            AttemptOutcome::Done if entry.returned => {
                *entry = QueueEntry {
                    runs: entry.runs,
                    compensates: true,
                    ..QueueEntry::due(now)
                };
            }
            AttemptOutcome::Done => drop(self.entries.remove(&(Topic::Process, id))),
            AttemptOutcome::Retry(delay, _) => entry.visible_at = now + span(*delay),
            AttemptOutcome::Dead(reason) => entry.dead = Some((now, reason.clone())),
            AttemptOutcome::Exhausted(reason) => {
                entry.attempts -= 1;
                entry.dead = Some((now, reason.clone()));
            }
            AttemptOutcome::NotBegun => {
                entry.attempts -= 1;
                entry.runs -= 1;
                entry.visible_at = now;
            }
        }
        completed
    }

    /// The task of an order, which may be claimed once it has been due for `delay`.
    fn task(&self, id: OrderId, delay: TimeDelta) -> Option<TaskStatus> {
        let now = self.now();
        let entry = self.entries.get(&(Topic::Process, id))?;
        let state = match (&entry.dead, &entry.claim) {
            (Some(_), _) => TaskState::Dead,
            _ if entry.visible_at + delay <= now => TaskState::Waiting,
            (None, Some(_)) if entry.visible_at > now => TaskState::InFlight,
            (None, None) if entry.runs == 0 => TaskState::Scheduled,
            (None, _) => TaskState::Retrying,
        };
        let at = match (state, &entry.dead) {
            (_, Some((at, _))) => *at,
            (TaskState::InFlight, _) => entry.visible_at,
            _ => entry.visible_at + delay,
        };
        Some(TaskStatus {
            order_id: id,
            kind: TaskKind::of(entry.compensates),
            state,
            attempts: entry.attempts,
            at,
            reason: entry.dead.as_ref().map(|(_, reason)| reason.clone()),
        })
    }

    /// All tasks, as [`task`](Self::task) has them.
    fn tasks(&self, delay: TimeDelta) -> Vec<TaskStatus> {
        let of_topic = self
            .entries
            .keys()
            .filter(|(topic, _)| *topic == Topic::Process);
        of_topic
            .filter_map(|(_, id)| self.task(*id, delay))
            .collect()
    }

    fn history(&self, id: OrderId) -> Vec<Attempt> {
        let attempts = self.attempts.iter().filter(|((of, _), _)| *of == id);
        attempts.map(|(_, attempt)| attempt.clone()).collect()
    }
}

/// A length of time that can be added to any of ours.
fn span(length: Duration) -> TimeDelta {
    const LONGEST: TimeDelta = TimeDelta::days(36_525);
    TimeDelta::from_std(length).map_or(LONGEST, |length| length.min(LONGEST))
}

#[async_trait]
impl TaskStore for ReferenceStore {
    async fn claim_tasks(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        let mut state = self.state.lock().unwrap();
        let mut claimed = Vec::new();
        let now = state.now();
        let due = state.due(Topic::Process, now - span(claim.delay));
        for id in due.into_iter().take(claim.max) {
            state.keep_lapsed(id);
            let order = state.orders.get(&id).cloned();
            let entry = state.entries.get_mut(&(Topic::Process, id)).unwrap();
            entry.attempts += 1;
            entry.runs += 1;
            entry.visible_at = now + span(claim.lease);
            entry.claim = Some((claim.id, Some(claim.worker_id), now));
            claimed.push(Claimed {
                lease: Lease {
                    order_id: id,
                    attempts: entry.attempts,
                    claim_id: claim.id,
                },
                kind: TaskKind::of(entry.compensates),
                run: entry.runs,
                order,
            });
        }
        claimed.sort_by_key(|claimed| claimed.lease.order_id);
        Ok(claimed)
    }

    async fn end_tasks(&self, ended: &[AttemptResult], at: DateTime<Utc>) -> Result<u64, Error> {
        let mut state = self.state.lock().unwrap();
        let completed = ended.iter().filter(|ended| state.end(ended, at));
        Ok(completed.count() as u64)
    }

    async fn put_task(&self, id: OrderId) -> Result<Option<TaskStatus>, Error> {
        let mut state = self.state.lock().unwrap();
        let now = state.now();
        let Some(status) = state.orders.get(&id).map(|order| order.status) else {
            return Ok(None);
        };
        let tried = state.history(id).last().map_or(0, |last| last.attempt);
        match status {
            OrderStatus::Success | OrderStatus::Completed => {
                let entry = state.entries.entry((Topic::Process, id));
                entry.or_insert_with(|| QueueEntry {
                    runs: tried,
                    ..QueueEntry::due(now)
                });
            }
            OrderStatus::Cancelled if state.entries.contains_key(&(Topic::Process, id)) => {}
            _ => return Err(Error::OrderState { status }),
        }
        let entry = state.entries.get_mut(&(Topic::Process, id)).unwrap();
        if entry.dead.take().is_some() {
            entry.attempts = 0;
        }
        if entry.claim.is_none() {
            entry.visible_at = entry.visible_at.min(now);
        }
        state.record(AuditChange::task_put(id));
        Ok(state.task(id, TimeDelta::zero()))
    }

    async fn task_stats(&self, delay: Duration) -> Result<QueueStats, Error> {
        let state = self.state.lock().unwrap();
        let mut stats = QueueStats {
            paused: state.paused.contains(&Topic::Process),
            ..QueueStats::default()
        };
        for task in state.tasks(span(delay)) {
            match task.state {
                TaskState::Waiting => stats.waiting += 1,
                TaskState::Scheduled => stats.scheduled += 1,
                TaskState::InFlight => stats.in_flight += 1,
                TaskState::Retrying => stats.delayed += 1,
                TaskState::Dead => stats.dead += 1,
            }
            if task.state == TaskState::Waiting {
                let age = (state.now() - task.at).as_seconds_f64();
                stats.oldest_age_seconds = stats.oldest_age_seconds.max(age);
            }
        }
        Ok(stats)
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskStatus>, Error> {
        let state = self.state.lock().unwrap();
        let mut tasks = state.tasks(span(query.delay));
        tasks.retain(|task| task.state == query.state);
        if query.state == TaskState::Dead {
            tasks.sort_by_key(|task| (Reverse(task.at), task.order_id));
        } else {
            tasks.sort_by_key(|task| (task.at, task.order_id));
        }
        tasks.truncate(query.limit);
        Ok(tasks)
    }

    async fn task_history(&self, id: OrderId) -> Result<Option<TaskHistory>, Error> {
        let state = self.state.lock().unwrap();
        let found = state.orders.contains_key(&id);
        Ok(found.then(|| TaskHistory {
            attempts: state.history(id),
            task: state.task(id, TimeDelta::zero()),
        }))
    }
}

#[async_trait]
impl WorkerStore for ReferenceStore {
    async fn heartbeat(&self, beat: &Heartbeat) -> Result<Vec<Topic>, Error> {
        let mut state = self.state.lock().unwrap();
        let now = state.now();
        state
            .workers
            .retain(|id, known| *id == beat.id || known.heartbeat_at >= now - RETENTION);
        let started_at = state.workers.get(&beat.id).map(|known| known.started_at);
        let known = KnownWorker {
            heartbeat: beat.clone(),
            started_at: started_at.unwrap_or(now),
            heartbeat_at: now,
            stopped_at: beat.has_stopped.then_some(now),
            silent_for: Duration::ZERO,
        };
        state.workers.insert(beat.id, known);
        Ok(state.paused.iter().copied().collect())
    }

    async fn workers(&self) -> Result<Vec<KnownWorker>, Error> {
        let state = self.state.lock().unwrap();
        let known = state.workers.values().rev().cloned().map(|mut known| {
            known.silent_for = (state.now() - known.heartbeat_at).to_std().unwrap();
            known
        });
        Ok(known.collect())
    }
}
