//! The conventions of HTTP that operations and middleware share: JSON bodies, problems, how
//! long a client is ready to wait, and when a body has to be there.

pub(crate) mod deadline;
pub(crate) mod json;
pub(crate) mod prefer;
pub(crate) mod problem;
