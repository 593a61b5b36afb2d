//! Keys by which a client makes a request again without having it done twice.

use std::time::Duration;

use uuid::Uuid;

use super::ValidationError;

/// The name that a client gives to one request, however often it sends it. The first that is
/// carried out leaves its key behind, in the same transaction; later requests with that key get the
/// answer that the first one got.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey {
    pub(crate) scope: Uuid,
    pub(crate) key: String,
}

impl IdempotencyKey {
    /// The most characters of a key.
    pub const MAX_LENGTH: usize = 255;

    /// The retention of keys: for so long after its request, at least, a key is kept. It goes only with
    /// what its request made, when that is archived.
    pub const KEPT_FOR: Duration = Duration::from_hours(30 * 24);

    /// Keys of different scopes never meet: the scope names the client that chose the key, nil for
    /// nobody in particular.
    ///
    /// # Errors
    /// [`ValidationError`] that names `idempotency_key`: not 1..=255 visible ASCII characters.
    pub fn new(scope: Uuid, key: impl Into<String>) -> Result<Self, ValidationError> {
        let key = key.into();
        let fits = (1..=Self::MAX_LENGTH).contains(&key.len());
        if fits && key.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self { scope, key })
        } else {
            let reason = "must be 1 to 255 visible ASCII characters";
            Err(ValidationError::new("idempotency_key", reason))
        }
    }
}

/// An answer that may be that of an earlier request with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayable<T> {
    /// The thing that the request made or changed.
    pub value: T,
    /// True when an earlier request did it, and nothing was done now.
    pub replayed: bool,
}

impl<T> Replayable<T> {
    /// Done now.
    pub const fn first(value: T) -> Self {
        Self {
            value,
            replayed: false,
        }
    }

    /// Done before.
    pub const fn again(value: T) -> Self {
        Self {
            value,
            replayed: true,
        }
    }

    /// The same answer with the value that `change` makes of this one.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Replayable<U> {
        Replayable {
            value: change(self.value),
            replayed: self.replayed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                matches!(&error, ValidationError { field, .. } if field == "idempotency_key"),
                "{bad}"
            );
        }
    }
}
