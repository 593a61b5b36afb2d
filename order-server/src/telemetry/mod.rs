//! The log, traces, and the signals that end a process.

mod log;
mod signals;
mod traces;

pub use log::{LogFormat, init};
pub use signals::stop_signal;
pub(crate) use traces::is_on as is_traced;
