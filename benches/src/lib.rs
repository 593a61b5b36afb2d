//! Measurements of the order system, each a target of `cargo bench -p orders-benches`.
