//! Checks of API keys.

use chrono::TimeDelta;

use super::fixture::Fixture;
use crate::{
    domain::KeyId,
    keys::{Access, HashedKey, KeyRequest, Secret},
};

fn new_key(fixture: &Fixture, name: &str, scopes: &str) -> HashedKey {
    let secret = Secret::generate().unwrap();
    let request = KeyRequest::new(name, scopes.parse().unwrap()).unwrap();
    request.into_hashed_key(KeyId(fixture.ids.next(fixture.at)), &secret, fixture.at)
}

pub(super) async fn a_key_is_kept_without_its_secret(fixture: &Fixture) {
    assert_eq!(fixture.keys().access().await.unwrap(), Access::Open);
    let first = new_key(fixture, "Lager \"Süd\" '--", "read orders products admin");
    fixture.keys().create_key(&first).await.unwrap();
    // The same again, as after a commit that was in doubt.
    fixture.keys().create_key(&first).await.unwrap();
    let second = new_key(fixture, &"灯".repeat(255), "read");
    fixture.keys().create_key(&second).await.unwrap();
    let keys = fixture.keys().keys().await.unwrap();
    assert_eq!(keys, [second.key.clone(), first.key.clone()]);
    let access = fixture.keys().access().await.unwrap();
    assert_eq!(access, Access::Keys(vec![first, second]));
}

pub(super) async fn revoking_is_for_good_and_opens_nothing(fixture: &Fixture) {
    let (lost, kept) = (
        new_key(fixture, "lost", "admin"),
        new_key(fixture, "kept", "read"),
    );
    for key in [&lost, &kept] {
        fixture.keys().create_key(key).await.unwrap();
    }
    let revoke = async |id, after| {
        let at = fixture.at + TimeDelta::seconds(after);
        fixture.keys().revoke_key(id, at).await.unwrap()
    };
    for after in [1, 2] {
        let revoked = revoke(lost.key.id, after).await.unwrap();
        assert_eq!(
            revoked.revoked_at,
            Some(fixture.at + TimeDelta::seconds(1)),
            "the first time counts"
        );
    }
    let unknown = KeyId(fixture.ids.next(fixture.at));
    assert_eq!(revoke(unknown, 3).await, None);
    let access = fixture.keys().access().await.unwrap();
    assert_eq!(access, Access::Keys(vec![kept.clone()]));
    revoke(kept.key.id, 4).await.unwrap();
    let access = fixture.keys().access().await.unwrap();
    assert_eq!(access, Access::Keys(vec![]), "closed, and nobody gets in");
    // A revoked key that is stored again stays revoked.
    fixture.keys().create_key(&lost).await.unwrap();
    let access = fixture.keys().access().await.unwrap();
    assert_eq!(access, Access::Keys(vec![]));
    assert_eq!(fixture.keys().keys().await.unwrap().len(), 2);
}
