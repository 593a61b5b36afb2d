//! One file a command.

pub(crate) mod bulk;
mod list;
pub(crate) mod order;
pub(crate) mod product;
pub(crate) mod verify;
pub(crate) mod worker;
