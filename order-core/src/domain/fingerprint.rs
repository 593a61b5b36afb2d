//! The fingerprint of a request that has an idempotency key.

use sha2::{Digest, Sha256};

use super::{HoldTime, NewOrder, OrderId, OrderMode, StockAdjustment};

/// The SHA-256 of a request: tells whether a key comes again with the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of_order(mode: OrderMode, order: &NewOrder) -> Self {
        let way: &[u8] = match mode {
            OrderMode::Accept => b"accept",
            OrderMode::Purchase => b"purchase",
        };
        let mut hash = Sha256::new_with_prefix(way);
        // What orders of an older version do not have stands before the lines, under a word that
        // no id of a product begins with.
        if order.hold_time.is_some() || order.customer.is_some() {
            hash.update(b" also ");
            hash.update(order.hold_time.map_or(0, HoldTime::seconds).to_be_bytes());
            let customer = order.customer.as_deref().unwrap_or_default();
            hash.update((customer.len() as u64).to_be_bytes());
            hash.update(customer);
        }
        for line in &order.lines {
            hash.update(line.product_id.0);
            hash.update(line.quantity.get().to_be_bytes());
        }
        // Lines come in 24 bytes each, and a reference begins with one that tells.
        if let Some(reference) = &order.reference {
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
    use crate::domain::{OrderRequest, ProductId, Quantity, RequestedLine};

    #[test]
    fn what_differs_in_anything_has_another_fingerprint() {
        let line = |product: u128, quantity| RequestedLine {
            product_id: ProductId(Uuid::from_u128(product)),
            quantity: Quantity::new(quantity).unwrap(),
        };
        let new = |lines: &[RequestedLine], reference: Option<&str>| {
            let request = OrderRequest::new(lines.to_vec(), reference.map(str::to_owned));
            request.unwrap()
        };
        let of = |mode, request: OrderRequest| {
            let order = request.into_new_order(OrderId(Uuid::nil()), chrono::DateTime::UNIX_EPOCH);
            Fingerprint::of_order(mode, &order)
        };
        let accept = |lines: &[RequestedLine], reference: Option<&str>| {
            of(OrderMode::Accept, new(lines, reference))
        };
        let held = |seconds| new(&[line(1, 1)], None).held_for(HoldTime::new(seconds).ok());
        let by = |customer: &str| {
            let request = new(&[line(1, 1)], None);
            request.for_customer(Some(customer.to_owned())).unwrap()
        };
        let (one, two) = (line(1, 1), line(2, 1));
        let all = [
            accept(&[one], None),
            of(OrderMode::Purchase, new(&[one], None)),
            accept(&[two], None),
            accept(&[line(1, 2)], None),
            accept(&[one, two], None),
            accept(&[two, one], None),
            accept(&[one], Some("")),
            accept(&[one], Some("a")),
            Fingerprint::of_cancel(OrderId(Uuid::from_u128(1))),
            of(OrderMode::Accept, held(1)),
            of(OrderMode::Accept, held(2)),
            of(OrderMode::Accept, by("a")),
            of(OrderMode::Accept, by("b")),
        ];
        for (at, fingerprint) in all.iter().enumerate() {
            assert!(!all[..at].contains(fingerprint), "{at}");
        }
        assert_eq!(accept(&[one], Some("a")), all[7]);
    }
}
