//! Who makes a change.

use std::sync::Arc;

use crate::domain::KeyId;

/// Who makes a change, as far as it is known. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// The name of the client, up to 255 characters.
    pub client: Option<Arc<str>>,
    /// The API key that it showed.
    pub key: Option<KeyId>,
}

tokio::task_local! {
    static AUTHOR: Author;
}

/// Does `work` in the name of `author`: the changes that it makes enter the audit log as theirs.
pub async fn by<T>(author: Author, work: impl Future<Output = T>) -> T {
    AUTHOR.scope(author, work).await
}

/// The author of what is done now.
pub(crate) fn author() -> Author {
    AUTHOR.try_with(Clone::clone).unwrap_or_default()
}
