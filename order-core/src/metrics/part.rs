//! The parts of this crate whose panics are counted, as the label `part` names them.

pub(crate) const GROUP: &str = "group";
pub(crate) const CHANGE: &str = "change";
pub(crate) const OFFER: &str = "offer";
pub(crate) const DECIDE: &str = "decide";
pub(crate) const TASKS: &str = "tasks";
pub(crate) const SWEEP: &str = "sweep";
pub(crate) const HEARTBEAT: &str = "heartbeat";
pub(crate) const CACHE: &str = "cache";
pub(crate) const WATCH: &str = "watch";
pub(crate) const COMPACTION: &str = "housekeeping";
pub(crate) const EXPIRY: &str = "expiry";
pub(crate) const PRIMARY: &str = "primary";

/// All parts, which are the series of the metric.
pub(super) const ALL: [&str; 12] = [
    GROUP, CHANGE, OFFER, DECIDE, TASKS, SWEEP, HEARTBEAT, CACHE, WATCH, COMPACTION, EXPIRY,
    PRIMARY,
];
