//! What the server bears from outside.

use std::num::NonZeroU32;

use clap::Args;

/// What the server bears from outside.
#[derive(Clone, Debug, Default, Args)]
pub struct Edge {
    /// Requests a second that each key may send, and where there is none, each address; 0 for
    /// any number. Each server process counts for itself
    #[arg(long, env, default_value_t = 0, value_name = "REQUESTS")]
    pub rate_limit: u32,

    /// How many of them may come at once; as many as in a second unless said otherwise
    #[arg(long, env, value_name = "REQUESTS")]
    pub rate_limit_burst: Option<NonZeroU32>,
}
