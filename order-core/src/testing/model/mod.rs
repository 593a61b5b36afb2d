//! The model test: random histories, played step by step on a store and on the
//! [`ReferenceStore`](super::ReferenceStore), which must give the same answers and be left in the
//! same state after each step.

mod answers;
mod play;
mod run;
mod steps;

pub use run::behaves_like_the_reference_store;
