//! The version of an order, by which a caller says which state a change is meant for.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::{Order, RuleViolation};

/// A digest of everything of an order that changes. It is made of what the order is, and not counted
/// up, so that a sale writes nothing for it. Its text is 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderVersion(u64);

impl fmt::Display for OrderVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not that of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version has 16 hexadecimal digits")]
pub struct NotAVersion;

impl FromStr for OrderVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let version = u64::from_str_radix(text, 16).map(Self);
        let version = version.map_err(|_| NotAVersion)?;
        // There is one text for each.
        if version.to_string() == text {
            Ok(version)
        } else {
            Err(NotAVersion)
        }
    }
}

impl Order {
    /// Its version.
    #[must_use]
    pub fn version(&self) -> OrderVersion {
        let mut hash = Sha256::new_with_prefix(self.status.as_str());
        for time in [
            self.decided_at,
            self.held_until,
            self.confirmed_at,
            self.completed_at,
            self.cancelled_at,
        ] {
            let micros = time.map_or(i64::MIN, |at: DateTime<Utc>| at.timestamp_micros());
            hash.update(micros.to_be_bytes());
        }
        for line in &self.lines {
            hash.update(line.cancelled_quantity.to_be_bytes());
        }
        let digest = hash.finalize();
        let first = digest.iter().take(8);
        OrderVersion(first.fold(0, |version, byte| version << 8 | u64::from(*byte)))
    }

    /// Refuses an order that is at none of `expected`, unless there are none.
    ///
    /// # Errors
    /// [`RuleViolation::OrderChanged`].
    pub fn check_version(&self, expected: &[OrderVersion]) -> Result<(), RuleViolation> {
        if expected.is_empty() || expected.contains(&self.version()) {
            Ok(())
        } else {
            Err(RuleViolation::OrderChanged)
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Money, OrderId, OrderRequest, ProductId, Quantity};

    #[test]
    fn every_state_has_a_version_of_its_own() {
        let (at, quantity) = (DateTime::UNIX_EPOCH, Quantity::new(3).unwrap());
        let request = OrderRequest::one(ProductId(Uuid::nil()), quantity);
        let pending = request.into_new_order(OrderId(Uuid::nil()), at);
        let pending = pending.priced(|_| Money::from_minor_units(1)).unwrap();
        let sold = pending.clone().sold(at);
        let mut states = vec![
            pending.clone(),
            sold.clone(),
            pending
                .clone()
                .sold(at + chrono::TimeDelta::microseconds(1)),
            sold.clone().cancelled(at).unwrap(),
            pending.cancelled(at).unwrap(),
        ];
        for part in 1..3 {
            states.push(sold.clone().with_cancelled(|_| part));
        }
        for times in 0..4 {
            let mut order = sold.clone();
            let times = [
                &mut order.held_until,
                &mut order.confirmed_at,
                &mut order.completed_at,
                &mut order.cancelled_at,
            ]
            .into_iter()
            .nth(times);
            *times.unwrap() = Some(at);
            states.push(order);
        }
        for (place, state) in states.iter().enumerate() {
            let (before, version) = (&states[..place], state.version());
            assert!(before.iter().all(|s| s.version() != version), "{state:?}");
            assert_eq!(version.to_string().parse(), Ok(version));
            assert_eq!(state.check_version(&[]), Ok(()));
            assert_eq!(state.check_version(&[states[0].version(), version]), Ok(()));
        }
        let stale = states[1].check_version(&[states[0].version()]);
        assert_eq!(stale, Err(RuleViolation::OrderChanged));
    }

    #[test]
    fn a_version_has_one_text() {
        let version: OrderVersion = "00000000000000ff".parse().unwrap();
        assert_eq!(version, OrderVersion(255));
        for text in ["ff", "00000000000000FF", "+0000000000000ff", "", "1"] {
            assert_eq!(text.parse::<OrderVersion>(), Err(NotAVersion), "{text}");
        }
    }
}
