//! Keys by which a client makes a request again without having it done twice.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{OrderId, RequestedLine, StockAdjustment};
use crate::error::Error;

/// What a client calls one request, however often it sends it. The first that is carried out
/// leaves its key behind, in the same transaction; who comes with that key later gets what
/// the first one got.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey {
    pub(crate) scope: Uuid,
    pub(crate) key: String,
}

impl IdempotencyKey {
    /// The most characters of a key.
    pub const MAX_LENGTH: usize = 255;

    /// Keys of different scopes never meet: a scope is whoever chose the key, nil for nobody
    /// in particular.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `idempotency_key`: not 1..=255 visible ASCII characters.
    pub fn new(scope: Uuid, key: impl Into<String>) -> Result<Self, Error> {
        let key = key.into();
        let fits = (1..=Self::MAX_LENGTH).contains(&key.len());
        if fits && key.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self { scope, key })
        } else {
            let reason = "must be 1 to 255 visible ASCII characters";
            Err(Error::invalid("idempotency_key", reason))
        }
    }
}

/// What was answered, and whether it was an earlier request with the same key that did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayable<T> {
    /// What the request made or changed.
    pub value: T,
    /// Whether nothing was done now.
    pub replayed: bool,
}

impl<T> Replayable<T> {
    /// Done now.
    pub(crate) const fn first(value: T) -> Self {
        Self {
            value,
            replayed: false,
        }
    }

    /// Done before.
    pub(crate) const fn again(value: T) -> Self {
        Self {
            value,
            replayed: true,
        }
    }

    /// The same of what `change` makes of the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Replayable<U> {
        Replayable {
            value: change(self.value),
            replayed: self.replayed,
        }
    }
}

/// SHA-256 of what a request asks for: tells whether a key comes again with the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

/// How an order is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placing {
    /// To be decided later.
    Accept,
    /// Decided at once.
    Purchase,
}

impl Fingerprint {
    pub(crate) fn of_order(
        placing: Placing,
        lines: &[RequestedLine],
        reference: Option<&str>,
    ) -> Self {
        let way: &[u8] = match placing {
            Placing::Accept => b"accept",
            Placing::Purchase => b"purchase",
        };
        let mut hash = Sha256::new_with_prefix(way);
        for line in lines {
            hash.update(line.product_id.0);
            hash.update(line.quantity.get().to_be_bytes());
        }
        // Lines come in 24 bytes each, and a reference begins with one that tells.
        if let Some(reference) = reference {
            hash.update([1]);
            hash.update(reference);
        }
        Self(hash.finalize().into())
    }

    pub(crate) fn of_cancel(id: OrderId) -> Self {
        let hash = Sha256::new_with_prefix(b"cancel").chain_update(id.0);
        Self(hash.finalize().into())
    }

    pub(crate) fn of_adjustment(adjustment: &StockAdjustment) -> Self {
        let hash = Sha256::new_with_prefix(b"adjust")
            .chain_update(adjustment.product_id.0)
            .chain_update(adjustment.delta.to_be_bytes())
            .chain_update(&adjustment.reason);
        Self(hash.finalize().into())
    }

    pub(crate) fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ProductId, Quantity};

    #[test]
    fn a_key_is_visible_ascii() {
        for good in [
            "a",
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
            &"x".repeat(255),
        ] {
            assert!(IdempotencyKey::new(Uuid::nil(), good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\n", "schlüssel", &"x".repeat(256)] {
            let error = IdempotencyKey::new(Uuid::nil(), bad).unwrap_err();
            assert!(
                matches!(&error, Error::Invalid { field, .. } if field == "idempotency_key"),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_differs_in_anything_has_another_fingerprint() {
        let line = |product: u128, quantity| RequestedLine {
            product_id: ProductId(Uuid::from_u128(product)),
            quantity: Quantity::new(quantity).unwrap(),
        };
        let accept = |lines: &[RequestedLine], reference: Option<&str>| {
            Fingerprint::of_order(Placing::Accept, lines, reference)
        };
        let (one, two) = (line(1, 1), line(2, 1));
        let all = [
            accept(&[one], None),
            Fingerprint::of_order(Placing::Purchase, &[one], None),
            accept(&[two], None),
            accept(&[line(1, 2)], None),
            accept(&[one, two], None),
            accept(&[two, one], None),
            accept(&[one], Some("")),
            accept(&[one], Some("a")),
            Fingerprint::of_cancel(OrderId(Uuid::from_u128(1))),
        ];
        for (at, fingerprint) in all.iter().enumerate() {
            assert!(!all[..at].contains(fingerprint), "{at}");
        }
        assert_eq!(accept(&[one], Some("a")), all[7]);
    }
}
