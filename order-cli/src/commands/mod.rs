//! One file a command.

pub(crate) mod bench;
pub(crate) mod bulk;
pub(crate) mod completions;
mod confirm;
pub(crate) mod export;
pub(crate) mod health;
pub(crate) mod import;
pub(crate) mod key;
mod list;
pub(crate) mod order;
pub(crate) mod product;
pub(crate) mod queue;
mod rows;
pub(crate) mod verify;
pub(crate) mod watch;
pub(crate) mod worker;
