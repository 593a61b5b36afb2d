//! One file a command.

pub(crate) mod bench;
pub(crate) mod bulk;
pub(crate) mod health;
mod list;
pub(crate) mod order;
pub(crate) mod product;
pub(crate) mod queue;
pub(crate) mod verify;
pub(crate) mod worker;
