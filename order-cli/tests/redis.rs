//! Commands that change products while Redis does not answer.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shell;

use std::time::Duration;

use order_core::{
    RedisClient,
    cache::{Entry, ProductCache, RedisCache},
    domain::ProductId,
    store,
    testing::RedisServer,
};

/// A command, and a worker that drains, end after they told the cache what they changed.
#[tokio::test(flavor = "multi_thread")]
async fn who_ends_tells_the_cache_what_changed() {
    let (dir, redis) = (tempfile::tempdir().unwrap(), RedisServer::start());
    let id = shell::product(dir.path(), "9");
    shell::row(
        dir.path(),
        &["order", "place", "--line", &format!("{id}:1")],
    );
    let product = ProductId(id.parse().unwrap());
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    let client = RedisClient::new(&redis.url(), Duration::from_secs(5)).unwrap();
    let cache = RedisCache::new(client, Duration::from_secs(300));
    let changes: [&[&str]; 2] = [
        &["product", "update", &id, "--price", "3"],
        &["worker", "run", "--drain", "--processor", "off"],
    ];
    for arguments in changes {
        // A server has it in its cache.
        let store = store::connect(&url).await.unwrap();
        let mark = cache.mark();
        let read = store.product(product).await.unwrap().unwrap();
        let before = Entry::Active(read);
        cache
            .put(std::slice::from_ref(&before), mark)
            .await
            .unwrap();
        assert_eq!(cache.get(product).await.unwrap().as_ref(), Some(&before));
        redis.freeze();
        let mut command = shell::command(dir.path(), arguments);
        let command = command.env("REDIS_URL", redis.url());
        let mut running = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        redis.thaw();
        assert!(running.wait().unwrap().success(), "{arguments:?}");
        assert_ne!(
            cache.get(product).await.unwrap(),
            Some(before),
            "{arguments:?}"
        );
        let after = store.product(product).await.unwrap();
        assert!(after.unwrap().version > 1, "{arguments:?}");
    }
}
