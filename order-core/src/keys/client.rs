//! Who calls.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    domain::{ClientId, bounded},
    error::Error,
};

pub(super) const MAX_NAME_LENGTH: usize = 255;

/// Who calls, by any of its keys. Its orders and its idempotency keys belong to it, so that it may
/// change its key between two tries of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Its name, which no other client has.
    pub name: String,
    /// The time at which it was made.
    pub created_at: DateTime<Utc>,
}

impl Client {
    /// A client with a name of 1 to 255 characters.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `client`.
    pub fn new(
        id: ClientId,
        name: impl Into<String>,
        created_at: DateTime<Utc>,
    ) -> Result<Self, Error> {
        Ok(Self {
            id,
            name: bounded("client", name.into(), 1, MAX_NAME_LENGTH)?,
            created_at,
        })
    }
}
