//! The key itself, and its hash.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRng, rngs::SysRng};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::Error;

/// The beginning of every key, so that one that got lost is recognized, also by scanners.
const PREFIX: &str = "ok_";
const RANDOM_BYTES: usize = 32;
/// Four characters for three bytes.
const LENGTH: usize = PREFIX.len() + (RANDOM_BYTES * 4).div_ceil(3);

/// A key as its holder has it: `ok_` and 32 random bytes in base64url. Never shown by `Debug`.
pub struct Secret(String);

impl Secret {
    /// A new key, from the randomness of the operating system.
    ///
    /// # Errors
    /// [`Error::Backend`] when the operating system has none.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = [0; RANDOM_BYTES];
        SysRng.try_fill_bytes(&mut bytes).map_err(Error::backend)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The text of the key, to give to its holder.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::digest(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// The SHA-256 of a key. A plain hash is enough, without salt and without stretching: those
/// slow down guessing of what people make up, and nobody guesses 32 random bytes.
#[derive(Clone, Copy, Eq)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of a text that somebody shows as a key; `None` for one that cannot be a key.
    #[must_use]
    pub fn of(shown: &str) -> Option<Self> {
        (shown.len() == LENGTH && shown.starts_with(PREFIX)).then(|| Self::digest(shown))
    }

    fn digest(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// From the database.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// For the database.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

/// In constant time, so that the time of an answer does not tell how much of a hash was right.
impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_are_known_by_their_hash() {
        let (one, two) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.expose().len(), LENGTH);
        assert_eq!(KeyHash::of(one.expose()), Some(one.hash()));
        assert_ne!(one.hash(), two.hash());
        for other in ["", "ok_", "Bearer", &one.expose()[1..], &"x".repeat(LENGTH)] {
            assert_eq!(KeyHash::of(other), None, "{other}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let secret = Secret::generate().unwrap();
        let shown = format!("{secret:?} {:?}", secret.hash());
        assert_eq!(shown, "Secret(redacted) KeyHash(redacted)");
    }
}
