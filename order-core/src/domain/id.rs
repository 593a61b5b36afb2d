//! Identifiers: UUIDv7 (RFC 9562 §5.7), so that rows made together lie together
//! in an index and the order of ids is the order of making.

use std::{fmt, str::FromStr, sync::Mutex};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::{ContextV7, Timestamp, Uuid};

use super::ValidationError;

use crate::sync::lock;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ValidationError;

            fn from_str(text: &str) -> Result<Self, ValidationError> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| ValidationError::new($field, "is not a UUID"))
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}

id!(
    /// Names a product.
    ProductId,
    "product_id"
);
id!(
    /// Names an order. Orders are decided in the order of their ids.
    OrderId,
    "order_id"
);
id!(
    /// Names a stock adjustment, so that one whose commit was in doubt is never made twice.
    AdjustmentId,
    "adjustment_id"
);
id!(
    /// Names a return, so that one whose commit was in doubt is never carried out twice.
    ReturnId,
    "return_id"
);
id!(
    /// Names an entry of the history of a product's stock.
    StockEntryId,
    "stock_entry_id"
);
id!(
    /// Names a key of the API.
    KeyId,
    "key_id"
);
id!(
    /// Names a client: who calls, by any of its keys.
    ClientId,
    "client"
);
id!(
    /// Names an entry of the audit log.
    AuditId,
    "audit_id"
);

/// Makes ids that grow: within one generator each is greater than the one before,
/// also within a millisecond and when the clock steps back.
#[derive(Debug)]
pub struct IdGenerator {
    context: Mutex<ContextV7>,
}

impl Default for IdGenerator {
    fn default() -> Self {
        Self {
            context: Mutex::new(ContextV7::new()),
        }
    }
}

impl IdGenerator {
    /// The next id, stamped with `at`. Times before 1970 count as 1970.
    pub fn next(&self, at: DateTime<Utc>) -> Uuid {
        let seconds = u64::try_from(at.timestamp()).unwrap_or(0);
        // A panic while the lock was held cannot leave the counter half changed:
        // it is one cell, written once.
        let context = lock(&self.context);
        Uuid::new_v7(Timestamp::from_unix(
            &*context,
            seconds,
            at.timestamp_subsec_nanos(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_within_one_instant_and_when_the_clock_steps_back() {
        let ids = IdGenerator::default();
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default();
        let mut last = ids.next(at);
        for i in 0..10_000 {
            let back = chrono::TimeDelta::milliseconds(i % 3);
            let next = ids.next(at - back);
            assert!(next > last, "{next} follows {last}");
            last = next;
        }
    }
}
