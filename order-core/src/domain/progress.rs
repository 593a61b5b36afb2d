//! The progress of an order: the states on its way.

use chrono::{DateTime, Utc};

use super::{Order, OrderId, OrderStatus};

/// A state, and when the order came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The state.
    pub status: OrderStatus,
    /// The time at which the order came to it.
    pub updated_at: DateTime<Utc>,
}

/// The state of an order, and the times of those before.
///
/// An order comes to a state at most once, and each leaves its time: whoever looks now and
/// then still learns of every state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The order.
    pub id: OrderId,
    /// Its state.
    pub status: OrderStatus,
    /// The time at which it was accepted.
    pub created_at: DateTime<Utc>,
    /// The time at which it was decided.
    pub decided_at: Option<DateTime<Utc>>,
    /// The time at which its hold ends or ended; none when it was never held.
    pub held_until: Option<DateTime<Utc>>,
    /// The time at which it was confirmed, when it was held.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// The time at which its post-sale task was done.
    pub completed_at: Option<DateTime<Utc>>,
    /// The time at which it was cancelled.
    pub cancelled_at: Option<DateTime<Utc>>,
}

impl Progress {
    /// Every state that the order came to, oldest first. No time is before the one ahead of
    /// it, though servers' clocks may differ.
    #[must_use]
    pub fn stages(&self) -> Vec<Stage> {
        let decided = match (self.status, self.held_until) {
            (OrderStatus::Failed, _) => OrderStatus::Failed,
            (_, Some(_)) => OrderStatus::Held,
            (_, None) => OrderStatus::Success,
        };
        let mut updated_at = self.created_at;
        [
            (OrderStatus::Pending, Some(self.created_at)),
            (decided, self.decided_at),
            (OrderStatus::Success, self.confirmed_at),
            (OrderStatus::Expired, self.expired_at()),
            (OrderStatus::Completed, self.completed_at),
            (OrderStatus::Cancelled, self.cancelled_at),
        ]
        .into_iter()
        .filter_map(|(status, at)| {
            updated_at = updated_at.max(at?);
            Some(Stage { status, updated_at })
        })
        .collect()
    }

    /// The time at which it expired: that of its hold, whenever somebody came to see it.
    fn expired_at(&self) -> Option<DateTime<Utc>> {
        self.held_until
            .filter(|_| self.status == OrderStatus::Expired)
    }

    /// The state that the order is in.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let latest = [
            self.decided_at,
            self.confirmed_at,
            self.expired_at(),
            self.completed_at,
            self.cancelled_at,
        ];
        Stage {
            status: self.status,
            updated_at: latest.into_iter().flatten().fold(self.created_at, Ord::max),
        }
    }

    /// The states that the order came to after `known`; none when it was never in that.
    #[must_use]
    pub fn since(&self, known: OrderStatus) -> Vec<Stage> {
        let stages = self.stages().into_iter();
        stages
            .skip_while(|stage| stage.status != known)
            .skip(1)
            .collect()
    }
}

impl From<&Order> for Progress {
    fn from(order: &Order) -> Self {
        Self {
            id: order.id,
            status: order.status,
            created_at: order.created_at,
            decided_at: order.decided_at,
            held_until: order.held_until,
            confirmed_at: order.confirmed_at,
            completed_at: order.completed_at,
            cancelled_at: order.cancelled_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + secs, 0).unwrap()
    }

    fn progress(
        status: OrderStatus,
        [decided, completed, cancelled]: [Option<i64>; 3],
    ) -> Progress {
        Progress {
            id: OrderId(Uuid::nil()),
            status,
            created_at: at(0),
            decided_at: decided.map(at),
            held_until: None,
            confirmed_at: None,
            completed_at: completed.map(at),
            cancelled_at: cancelled.map(at),
        }
    }

    #[test]
    fn each_state_on_the_way_is_told_once_and_in_order() {
        use OrderStatus::{Cancelled, Completed, Failed, Pending, Success};
        for (order, way) in [
            (progress(Pending, [None; 3]), &[(Pending, 0)][..]),
            (
                progress(Failed, [Some(1), None, None]),
                &[(Pending, 0), (Failed, 1)],
            ),
            (
                progress(Completed, [Some(1), Some(2), None]),
                &[(Pending, 0), (Success, 1), (Completed, 2)],
            ),
            (
                progress(Cancelled, [None, None, Some(3)]),
                &[(Pending, 0), (Cancelled, 3)],
            ),
            // Cancelled by a server whose clock is behind.
            (
                progress(Cancelled, [Some(5), None, Some(3)]),
                &[(Pending, 0), (Success, 5), (Cancelled, 5)],
            ),
        ] {
            let way: Vec<Stage> = way
                .iter()
                .map(|(status, secs)| Stage {
                    status: *status,
                    updated_at: at(*secs),
                })
                .collect();
            assert_eq!(order.stages(), way);
            assert_eq!(Some(&order.stage()), way.last());
            for (at, stage) in way.iter().enumerate() {
                assert_eq!(order.since(stage.status), way[at + 1..]);
            }
        }
        assert_eq!(progress(Failed, [Some(1), None, None]).since(Success), []);
    }

    #[test]
    fn a_hold_is_a_state_of_its_own() {
        use OrderStatus::{Cancelled, Completed, Expired, Held, Pending, Success};
        let held = |status, confirmed: Option<i64>, ends| Progress {
            held_until: Some(at(60)),
            confirmed_at: confirmed.map(at),
            ..progress(status, ends)
        };
        for (order, way) in [
            (held(Held, None, [Some(1), None, None]), vec![Pending, Held]),
            (
                held(Expired, None, [Some(1), None, None]),
                vec![Pending, Held, Expired],
            ),
            (
                held(Cancelled, None, [Some(1), None, Some(2)]),
                vec![Pending, Held, Cancelled],
            ),
            (
                held(Completed, Some(2), [Some(1), Some(3), None]),
                vec![Pending, Held, Success, Completed],
            ),
        ] {
            let stages: Vec<_> = order.stages().iter().map(|stage| stage.status).collect();
            assert_eq!(stages, way);
            assert_eq!(Some(&order.stage()), order.stages().last());
        }
        let expired = held(Expired, None, [Some(1), None, None]);
        assert_eq!(expired.stage().updated_at, at(60));
    }
}
