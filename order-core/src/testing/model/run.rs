//! Running random histories.

use std::{future::Future, sync::Arc};

use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::runtime::Runtime;

use super::{play::Play, steps::steps};
use crate::{store::Store, testing::conformance::Time};

/// Plays `cases` random histories, each on a new empty store that `fresh` makes, with its time.
///
/// # Panics
/// When the store and the reference store differ: with the shortest history found that makes them.
pub fn behaves_like_the_reference_store<F, Fut>(runtime: &Runtime, cases: u32, fresh: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn Store>, Arc<dyn Time>)>,
{
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&steps(), |steps| {
        runtime
            .block_on(async {
                let (store, time) = fresh().await;
                Play::new(store, time).all(&steps).await
            })
            .map_err(TestCaseError::fail)
    });
    if let Err(difference) = result {
        panic!("{difference}");
    }
}
