//! The fingerprint of a request that has an idempotency key.

use sha2::{Digest, Sha256};

use super::{HoldTime, OrderId, OrderMode, RequestedLine, StockAdjustment};

/// The SHA-256 of a request: tells whether a key comes again with the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of_order(
        mode: OrderMode,
        lines: &[RequestedLine],
        reference: Option<&str>,
        hold_time: Option<HoldTime>,
        customer: Option<&str>,
    ) -> Self {
        let way: &[u8] = match mode {
            OrderMode::Accept => b"accept",
            OrderMode::Purchase => b"purchase",
        };
        let mut hash = Sha256::new_with_prefix(way);
        // What orders of an older version do not have stands before the lines, under a word that
        // no id of a product begins with.
        if hold_time.is_some() || customer.is_some() {
            hash.update(b" also ");
            hash.update(hold_time.map_or(0, HoldTime::seconds).to_be_bytes());
            let customer = customer.unwrap_or_default();
            hash.update((customer.len() as u64).to_be_bytes());
            hash.update(customer);
        }
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

    pub(crate) fn of_return(id: OrderId, lines: &[RequestedLine]) -> Self {
        let mut hash = Sha256::new_with_prefix(b"return").chain_update(id.0);
        for line in lines {
            hash.update(line.product_id.0);
            hash.update(line.quantity.get().to_be_bytes());
        }
        Self(hash.finalize().into())
    }

    pub(crate) fn of_adjustment(adjustment: &StockAdjustment) -> Self {
        let hash = Sha256::new_with_prefix(b"adjust")
            .chain_update(adjustment.product_id.0)
            .chain_update(adjustment.delta.to_be_bytes())
            .chain_update(&adjustment.reason);
        Self(hash.finalize().into())
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{ProductId, Quantity};

    #[test]
    fn what_differs_in_anything_has_another_fingerprint() {
        let line = |product: u128, quantity| RequestedLine {
            product_id: ProductId(Uuid::from_u128(product)),
            quantity: Quantity::new(quantity).unwrap(),
        };
        let one_line = [line(1, 1)];
        let of = |mode, lines: &[RequestedLine], reference: Option<&str>| {
            Fingerprint::of_order(mode, lines, reference, None, None)
        };
        let accept = |lines: &[RequestedLine], reference: Option<&str>| {
            of(OrderMode::Accept, lines, reference)
        };
        let with = |seconds: i64, customer: Option<&str>| {
            let hold_time = HoldTime::new(seconds).ok();
            Fingerprint::of_order(OrderMode::Accept, &one_line, None, hold_time, customer)
        };
        let (one, two) = (line(1, 1), line(2, 1));
        let all = [
            accept(&[one], None),
            of(OrderMode::Purchase, &[one], None),
            accept(&[two], None),
            accept(&[line(1, 2)], None),
            accept(&[one, two], None),
            accept(&[two, one], None),
            accept(&[one], Some("")),
            accept(&[one], Some("a")),
            Fingerprint::of_cancel(OrderId(Uuid::from_u128(1))),
            Fingerprint::of_return(OrderId(Uuid::from_u128(1)), &[one]),
            Fingerprint::of_return(OrderId(Uuid::from_u128(1)), &[two]),
            Fingerprint::of_return(OrderId(Uuid::from_u128(1)), &[line(1, 2)]),
            Fingerprint::of_return(OrderId(Uuid::from_u128(2)), &[one]),
            with(1, None),
            with(2, None),
            with(0, Some("a")),
            with(0, Some("b")),
        ];
        for (at, fingerprint) in all.iter().enumerate() {
            assert!(!all[..at].contains(fingerprint), "{at}");
        }
        assert_eq!(accept(&[one], Some("a")), all[7]);
    }
}
