//! The id of a claim: the entry of the stream, and how often it was delivered.

use uuid::Uuid;

use crate::{domain::OrderId, queue::Lease};

/// A claim is an entry and how often it was delivered; both go into the claim's id: 48 bits
/// of the entry's time in ms, 48 of its number within the ms, 32 of deliveries.
pub(super) fn lease(
    entry: &str,
    order: &str,
    attempts_before: u32,
    deliveries: u32,
) -> Option<Lease> {
    let (ms, number) = entry.split_once('-')?;
    let (ms, number): (u128, u128) = (ms.parse().ok()?, number.parse().ok()?);
    let claim_id = (ms << 80) | ((number & 0xffff_ffff_ffff) << 32) | u128::from(deliveries);
    Some(Lease {
        order_id: OrderId(Uuid::try_parse(order).ok()?),
        attempts: attempts_before + deliveries,
        claim_id: Uuid::from_u128(claim_id),
    })
}

/// The entry and the deliveries of a claim.
pub(super) fn entry_of(claim_id: Uuid) -> (String, u32) {
    let bits = claim_id.as_u128();
    let entry = format!("{}-{}", bits >> 80, (bits >> 32) & 0xffff_ffff_ffff);
    #[allow(clippy::cast_possible_truncation)] // The low 32 bits are what is wanted.
    let deliveries = bits as u32;
    (entry, deliveries)
}
