//! The scripts, each of which is one atomic move.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($name:ident: $file:literal),+ $(,)?) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!($file)));)+
    };
}

scripts! {
    PUSH: "push.lua",
    CLAIM: "claim.lua",
    CONSUME: "consume.lua",
    REDRIVE: "redrive.lua",
    STATS: "stats.lua",
    SWEEP: "sweep.lua",
}
