//! Values that the commands on orders parse.

use order_core::{
    Error,
    domain::{HoldTime, IdempotencyKey, Quantity},
};
use uuid::Uuid;

/// An idempotency key of the command line, whose keys never meet those of API keys.
pub(super) fn idempotency_key(text: &str) -> Result<IdempotencyKey, Error> {
    Ok(IdempotencyKey::new(Uuid::nil(), text)?)
}

/// A number of pieces.
pub(super) fn quantity(text: &str) -> Result<Quantity, Error> {
    let count = text
        .parse()
        .map_err(|_| Error::invalid("quantity", "must be a whole number from 1 to 1000000"))?;
    Ok(Quantity::new(count)?)
}

/// The length of a hold, in seconds.
pub(super) fn hold_time(text: &str) -> Result<HoldTime, Error> {
    let seconds = text
        .parse()
        .map_err(|_| Error::invalid("hold_seconds", "must be a whole number of seconds"))?;
    Ok(HoldTime::new(seconds)?)
}
