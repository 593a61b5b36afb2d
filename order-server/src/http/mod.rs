//! The conventions of HTTP that operations and middleware share: JSON bodies, problems, how
//! long a client is ready to wait, and when a body has to be there.

pub(crate) mod account;
pub(crate) mod body_budget;
pub(crate) mod deadline;
pub(crate) mod entity_tag;
pub(crate) mod exact;
pub(crate) mod header_parameter;
pub(crate) mod json;
pub(crate) mod network;
pub(crate) mod object;
pub(crate) mod optional_json;
mod parse;
pub(crate) mod prefer;
pub(crate) mod problem;
pub(crate) mod public_path;
