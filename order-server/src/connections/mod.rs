//! Connections, and the limits of each.
//!
//! The loop is our own, over hyper, because poem's has no time-out for headers, no limit to
//! the number of connections, and spins when it cannot accept. The cost of a connection is
//! bounded from its first byte on:
//!
//! - There are at most [`ConnectionLimits::max_connections`]; one more is refused and closed.
//! - Those from one address have a limit of their own, at which idle ones give way.
//! - The first request has to be there, head and all, within
//!   [`ConnectionLimits::header_timeout`], whatever it begins with. Later ones have as long as a
//!   connection may be idle.
//! - The head of a request has a largest size. The application limits bodies and requests as a
//!   whole.
//! - A peer that takes nothing of an answer for half a minute is given up, whether it does not read
//!   or opens no window.
//!
//! What is no request at all is answered with a problem, too.
//!
//! A machine that is out of descriptors or memory accepts nothing for a moment, and goes on.

mod accept;
mod activity;
mod addresses;
mod bare_answer;
mod connection;
mod delivery;
mod descriptors;
mod error_answers;
mod limits;
mod raw_problem;
mod serve;
pub mod tls;
mod tracked_body;

pub use descriptors::within_descriptor_limit;
pub use limits::{AddressLimit, ConnectionLimits};
pub use serve::serve;
