//! Checks of API keys.

use chrono::{DurationRound, TimeDelta};

use super::fixture::Fixture;
use crate::{
    clock::{Clock, SystemClock},
    domain::{ClientId, KeyId},
    keys::{Access, Client, HashedKey, KeyRequest, Secret},
};

/// The client with this name, who is made if need be.
pub(super) async fn client(fixture: &Fixture, name: &str) -> Client {
    let id = ClientId(fixture.ids.next(fixture.at));
    let client = Client::new(id, name, fixture.at).unwrap();
    fixture.keys().create_client(&client).await.unwrap()
}

/// A key to store, of the client with its name.
async fn new_key(fixture: &Fixture, name: &str, scopes: &str) -> HashedKey {
    let request = KeyRequest::new(name, scopes.parse().unwrap()).unwrap();
    hashed(fixture, request, &client(fixture, name).await)
}

fn hashed(fixture: &Fixture, request: KeyRequest, client: &Client) -> HashedKey {
    let secret = Secret::generate().unwrap();
    let id = KeyId(fixture.ids.next(fixture.at));
    request.into_hashed_key(id, client, &secret, fixture.at)
}

pub(super) async fn a_client_has_one_name_and_many_keys(fixture: &Fixture) {
    let till = client(fixture, "till").await;
    let web = client(fixture, "Wéb '--").await;
    assert_eq!(client(fixture, "till").await, till, "the name is taken");
    let clients = fixture.keys().clients().await.unwrap();
    assert_eq!(clients, [web, till.clone()]);
    for name in ["one", "two"] {
        let request = KeyRequest::new(name, "orders".parse().unwrap()).unwrap();
        let key = hashed(fixture, request, &till);
        fixture.keys().create_key(&key).await.unwrap();
        let revoked = fixture.keys().revoke_key(key.key.id, fixture.at).await;
        assert_eq!(revoked.unwrap().unwrap().client, "till");
    }
    for key in fixture.keys().keys().await.unwrap() {
        assert_eq!((key.client_id, key.client.as_str()), (till.id, "till"));
    }
}

pub(super) async fn a_key_expires_by_the_clock_of_the_store(fixture: &Fixture) {
    let till = client(fixture, "till").await;
    let at = SystemClock.now() + TimeDelta::seconds(100);
    let at = at.duration_trunc(TimeDelta::microseconds(1)).unwrap();
    let request = KeyRequest::new("k", "read metrics operate".parse().unwrap()).unwrap();
    let key = hashed(fixture, request.until(Some(at)), &till);
    fixture.keys().create_key(&key).await.unwrap();
    let access = async || fixture.keys().access().await.unwrap();
    assert_eq!(access().await, Access::Keys(vec![key.clone()]));
    fixture.wait(120).await;
    let Access::Keys(keys) = access().await else {
        panic!("a key that expired opens nothing");
    };
    assert!(matches!(&keys[..], [expired] if expired.is_expired && expired.key.id == key.key.id));
}

pub(super) async fn the_use_of_a_key_is_noted_once_a_minute(fixture: &Fixture) {
    let (used, unused) = (
        new_key(fixture, "used", "read").await,
        new_key(fixture, "unused", "read").await,
    );
    for key in [&used, &unused] {
        fixture.keys().create_key(key).await.unwrap();
    }
    let note = async || {
        fixture.keys().note_use(&[used.key.id]).await.unwrap();
        let keys = fixture.keys().keys().await.unwrap();
        assert_eq!(keys[0], unused.key);
        keys[1].last_used_at.unwrap()
    };
    let first = note().await;
    assert_eq!(note().await, first, "a minute is not over");
    fixture.wait(70).await;
    assert!(note().await > first);
}

pub(super) async fn a_key_is_kept_without_its_secret(fixture: &Fixture) {
    assert_eq!(fixture.keys().access().await.unwrap(), Access::Open);
    let first = new_key(fixture, "Lager \"Süd\" '--", "read orders products admin").await;
    fixture.keys().create_key(&first).await.unwrap();
    // The same again, as after a commit that was in doubt.
    fixture.keys().create_key(&first).await.unwrap();
    let second = new_key(fixture, &"灯".repeat(255), "read").await;
    fixture.keys().create_key(&second).await.unwrap();
    let keys = fixture.keys().keys().await.unwrap();
    assert_eq!(keys, [second.key.clone(), first.key.clone()]);
    let access = fixture.keys().access().await.unwrap();
    assert_eq!(access, Access::Keys(vec![first, second]));
}

pub(super) async fn revoking_is_for_good_and_opens_nothing(fixture: &Fixture) {
    let (lost, kept) = (
        new_key(fixture, "lost", "admin").await,
        new_key(fixture, "kept", "read").await,
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
