//! What a store of keys must do.

use chrono::TimeDelta;

use super::Bench;
use crate::{
    domain::KeyId,
    keys::{Access, HashedKey, KeyRequest, Secret},
};

fn new_key(bench: &Bench, name: &str, scopes: &str) -> HashedKey {
    let secret = Secret::generate().unwrap();
    let request = KeyRequest::new(name, scopes.parse().unwrap()).unwrap();
    request.stamp(KeyId(bench.ids.next(bench.at)), &secret, bench.at)
}

pub(super) async fn a_key_is_kept_without_its_secret(bench: &Bench) {
    assert_eq!(bench.store.access().await.unwrap(), Access::Open);
    let first = new_key(bench, "Lager \"Süd\" '--", "read orders products admin");
    bench.store.create_key(&first).await.unwrap();
    // The same again, as after a commit that was in doubt.
    bench.store.create_key(&first).await.unwrap();
    let second = new_key(bench, &"灯".repeat(255), "read");
    bench.store.create_key(&second).await.unwrap();
    let keys = bench.store.keys().await.unwrap();
    assert_eq!(keys, [second.key.clone(), first.key.clone()]);
    let access = bench.store.access().await.unwrap();
    assert_eq!(access, Access::Keys(vec![first, second]));
}

pub(super) async fn revoking_is_for_good_and_opens_nothing(bench: &Bench) {
    let (lost, kept) = (
        new_key(bench, "lost", "admin"),
        new_key(bench, "kept", "read"),
    );
    for key in [&lost, &kept] {
        bench.store.create_key(key).await.unwrap();
    }
    let revoke = async |id, after| {
        let at = bench.at + TimeDelta::seconds(after);
        bench.store.revoke_key(id, at).await.unwrap()
    };
    for after in [1, 2] {
        let revoked = revoke(lost.key.id, after).await.unwrap();
        assert_eq!(
            revoked.revoked_at,
            Some(bench.at + TimeDelta::seconds(1)),
            "the first time counts"
        );
    }
    let unknown = KeyId(bench.ids.next(bench.at));
    assert_eq!(revoke(unknown, 3).await, None);
    let access = bench.store.access().await.unwrap();
    assert_eq!(access, Access::Keys(vec![kept.clone()]));
    revoke(kept.key.id, 4).await.unwrap();
    let access = bench.store.access().await.unwrap();
    assert_eq!(access, Access::Keys(vec![]), "closed, and nobody gets in");
    // A revoked key that is stored again stays revoked.
    bench.store.create_key(&lost).await.unwrap();
    let access = bench.store.access().await.unwrap();
    assert_eq!(access, Access::Keys(vec![]));
    assert_eq!(bench.store.keys().await.unwrap().len(), 2);
}
