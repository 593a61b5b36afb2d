//! The groups of the operations.

use poem_openapi::Tags;

/// The groups of the operations.
#[derive(Tags)]
pub(super) enum Tag {
    /// What is for sale.
    Products,
    /// What was bought, at once or in the background.
    Orders,
    /// What operators look at and do.
    Operations,
    /// Whether the server is well.
    Health,
}
