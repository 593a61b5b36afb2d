//! The service that an application embeds: products and orders over a store, with time and
//! ids put in, and concurrent requests grouped.

mod admission;
mod audit;
mod backend_sampler;
mod builder;
mod confirmations;
mod dead_letters;
mod detached;
mod follow;
mod group_commit;
mod history;
mod import;
mod inner;
mod keys;
mod observe;
mod operate;
mod order_service;
mod orders;
mod products;
mod request_queue;
mod response;
mod run_group;
mod set_aside;
mod shop_stats;
mod stats;
mod storable;

pub use self::{
    builder::Builder,
    dead_letters::DeadEntry,
    import::{ImportOptions, ImportOutcome, ImportRow, Imported},
    operate::TopicStats,
    order_service::OrderService,
    shop_stats::{Stats, WINDOW, WaitFigures},
};
