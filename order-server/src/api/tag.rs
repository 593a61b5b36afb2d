//! The groups of the operations.

use poem_openapi::Tags;

/// The groups of the operations.
#[derive(Tags)]
pub(super) enum Tag {
    /// Products and their stock.
    Products,
    /// Orders, placed in the background or bought at once.
    Orders,
    /// The queue, workers and figures, for operators.
    Operations,
    /// The health of the server.
    Health,
}
