//! The keys of a topic, and ids as Redis keeps them.

use crate::{domain::OrderId, queue::Topic};

/// The consumer group of every topic.
pub(super) const GROUP: &str = "workers";
/// The keys of a topic, each with the type of its value.
pub(super) const KEYS: [(&str, &str); 8] = [
    ("stream", "stream"),
    ("known", "hash"),
    ("delayed", "zset"),
    ("dead", "zset"),
    ("reasons", "hash"),
    ("paused", "string"),
    ("malformed", "list"),
    ("sweeper", "string"),
];

pub(super) fn key(topic: Topic, name: &str) -> String {
    format!("{{orders}}:{}:{name}", topic.as_str())
}

pub(super) fn hex(order: OrderId) -> String {
    order.0.simple().to_string()
}
