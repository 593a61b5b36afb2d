//! Measurements of the ways to sell against each other, on a database of one's own (feature
//! `bench`).
//!
//! A [`Bench`] is a shop on an empty database that nobody else uses. It measures one
//! [`Contestant`] at a time; whoever compares lets the contestants take turns, several times,
//! and compares medians: a machine that slows down slows all of them down.

mod contestant;
mod countdown;
mod figures;
mod limit;
mod runner;
mod sandbox;
mod shape;

pub use self::{
    contestant::{Case, Contestant, SINGLE_TASKS},
    figures::{Figures, Sample, median},
    limit::{Limit, row_lock_statements},
    runner::Bench,
    sandbox::Sandbox,
    shape::Shape,
};
