//! Rights that end.

use tokio_util::sync::CancellationToken;

/// The time for which a right lasts, shared by all who have it.
#[derive(Clone, Debug, Default)]
pub struct UntilEnd(CancellationToken);

impl UntilEnd {
    pub(super) fn end(&self) {
        self.0.cancel();
    }

    pub(super) async fn ended(&self) {
        self.0.cancelled().await;
    }
}
