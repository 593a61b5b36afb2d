//! Checks of versions of orders: a change that is meant for another state is not made.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    fixture::Fixture,
    holds::{confirm, hold},
    races::at_once,
};
use crate::{
    domain::{
        HoldTime, IdempotencyKey, Order, OrderId, OrderReturn, OrderStatus, OrderVersion, Quantity,
        ReturnId, ReturnRequest,
    },
    error::Error,
    process::AttemptOutcome,
};

impl Fixture {
    async fn read(&self, id: OrderId) -> Order {
        self.store.order(id).await.unwrap().unwrap()
    }

    async fn cancel_at(
        &self,
        id: OrderId,
        versions: &[OrderVersion],
        key: Option<&str>,
    ) -> Result<Order, Error> {
        let key = key.map(|key| IdempotencyKey::new(Uuid::nil(), key).unwrap());
        let (at, key) = (self.at, key.as_ref());
        let cancelled = self.store.cancel_if(id, at, key, versions).await?;
        Ok(cancelled.unwrap().order)
    }

    /// A return of so many pieces of the first line of an order, as it was seen.
    fn return_at(&self, seen: &Order, pieces: i64) -> OrderReturn {
        let mut line = seen.requested_lines().remove(0);
        line.quantity = Quantity::new(pieces).unwrap();
        let request = ReturnRequest::new(vec![line]).unwrap();
        let request = request.expect_version(seen.version());
        request.into_return(ReturnId(self.ids.next(self.at)), seen.id, self.at)
    }
}

fn is_stale(result: &Result<Order, Error>) -> bool {
    matches!(result, Err(Error::OrderChanged))
}

pub(super) async fn an_order_is_cancelled_only_as_it_was_seen(fixture: &Fixture) {
    let product = fixture.product("p", 9).await.id;
    let bought = fixture.bought(&[(product, 5)]).await;
    let id = bought.id;
    assert_eq!(fixture.read(id).await.version(), bought.version());
    let part = fixture.give_back(id, &[(product, 1)]).await.unwrap();
    let stale = [bought.version()];
    assert_ne!(part.version(), bought.version());

    let refused = fixture.cancel_at(id, &stale, None).await;
    assert!(is_stale(&refused), "{refused:?}");
    let returned = fixture.return_at(&bought, 1);
    let refused = fixture.store.give_back(&returned).await;
    assert!(matches!(refused, Err(Error::OrderChanged)), "{refused:?}");
    assert_eq!(fixture.read(id).await, part);
    assert_eq!(fixture.stock(product).await, 5);

    // A request with a key that was carried out is not asked for a version again.
    let both = [bought.version(), part.version()];
    let cancelled = fixture.cancel_at(id, &both, Some("c")).await.unwrap();
    assert_eq!(cancelled.status, OrderStatus::Cancelled);
    let again = fixture.cancel_at(id, &both, Some("c")).await.unwrap();
    assert_eq!(again, cancelled);
    // One without is told that the order changed, although there is nothing left to do.
    assert!(is_stale(&fixture.cancel_at(id, &both, None).await));
    let same = fixture.cancel_at(id, &[cancelled.version()], None).await;
    assert_eq!(same.unwrap(), cancelled);
    assert_eq!(fixture.stock(product).await, 9);
    fixture.books_balance().await;
}

pub(super) async fn a_hold_is_changed_only_as_it_was_seen(fixture: &Fixture) {
    let product = fixture.product("p", 9).await.id;
    let held = hold(fixture, &[(product, 2)], 60).await;
    let (store, id, at) = (&fixture.store, held.id, fixture.at);
    let longer = HoldTime::new(600).unwrap();
    let extended = store.extend_if(id, longer, &[held.version()]).await;
    let extended = extended.unwrap().unwrap();
    assert_eq!(fixture.read(id).await, extended);
    assert_ne!(extended.version(), held.version());

    let stale = [held.version()];
    let refused = store.extend_if(id, HoldTime::new(6_000).unwrap(), &stale);
    assert!(matches!(refused.await, Err(Error::OrderChanged)));
    let refused = store.confirm_if(id, at, &stale).await;
    assert!(matches!(refused, Err(Error::OrderChanged)), "{refused:?}");
    assert_eq!(fixture.read(id).await, extended);
    assert!(fixture.claim(9).await.is_empty());

    let both = [held.version(), extended.version()];
    let confirmed = store.confirm_if(id, at, &both).await.unwrap().unwrap();
    assert_eq!(confirmed.status, OrderStatus::Success);
    assert_eq!(fixture.read(id).await, confirmed);
    // Who repeats it is told that the order changed, although there is nothing left to do.
    let again = store.confirm_if(id, at, &both).await;
    assert!(matches!(again, Err(Error::OrderChanged)), "{again:?}");
    let now = [confirmed.version()];
    let same = store.confirm_if(id, at, &now).await.unwrap();
    assert_eq!(same, Some(confirmed));
    let late = store.extend_if(id, longer, &now).await;
    assert!(matches!(late, Err(Error::OrderState { .. })), "{late:?}");
    assert_eq!(fixture.claim(9).await.len(), 1);

    let nowhere = OrderId(fixture.ids.next(at));
    assert_eq!(store.confirm_if(nowhere, at, &now).await.unwrap(), None);
    assert_eq!(store.extend_if(nowhere, longer, &now).await.unwrap(), None);
    fixture.books_balance().await;
}

/// Of those who saw the same hold and confirm or extend it, one does.
pub(super) async fn one_of_those_who_saw_the_same_hold_changes_it(fixture: &Fixture) {
    let product = fixture.product("p", 9).await.id;
    let held = hold(fixture, &[(product, 2)], 60).await;
    let changed = at_once(|number| {
        let (store, id, at) = (Arc::clone(&fixture.store), held.id, fixture.at);
        let (seen, longer) = ([held.version()], HoldTime::new(600).unwrap());
        async move {
            if number % 2 == 0 {
                store.confirm_if(id, at, &seen).await
            } else {
                store.extend_if(id, longer, &seen).await
            }
        }
    })
    .await;
    let made = changed.iter().filter(|changed| changed.is_ok()).count();
    assert_eq!(made, 1, "{changed:?}");
    let is_stale = |refused: &Error| matches!(refused, Error::OrderChanged);
    let mut refused = changed.iter().filter_map(|changed| changed.as_ref().err());
    assert!(refused.all(is_stale), "{changed:?}");
    fixture.books_balance().await;
}

/// What is answered after a change has the version of what is read, in each state.
pub(super) async fn each_state_has_the_version_that_is_read(fixture: &Fixture) {
    let product = fixture.product("p", 99).await.id;
    let held = hold(fixture, &[(product, 3)], 60).await;
    let mut seen = vec![held.clone()];
    seen.push(fixture.give_back(held.id, &[(product, 1)]).await.unwrap());
    assert_eq!(seen[1], fixture.read(held.id).await);
    seen.push(confirm(fixture, held.id).await.unwrap().unwrap());
    assert_eq!(seen[2], fixture.read(held.id).await);
    let claimed = fixture.claim(1).await.remove(0);
    fixture.end(&claimed, AttemptOutcome::Done).await;
    seen.push(fixture.read(held.id).await);
    seen.push(
        fixture
            .cancel_at(held.id, &[seen[3].version()], None)
            .await
            .unwrap(),
    );
    for (place, state) in seen.iter().enumerate() {
        let before = &seen[..place];
        assert!(before.iter().all(|s| s.version() != state.version()));
    }
    let stale = fixture.cancel_at(held.id, &[seen[2].version()], None).await;
    assert!(is_stale(&stale), "{stale:?}");
}

/// Of those who saw the same order and give back a piece of it, one does.
pub(super) async fn one_of_those_who_saw_the_same_changes_it(fixture: &Fixture) {
    let product = fixture.product("p", 99).await.id;
    let bought = fixture.bought(&[(product, 50)]).await;
    let given = at_once(|_| {
        let returned = fixture.return_at(&bought, 1);
        let store = Arc::clone(&fixture.store);
        async move { store.give_back(&returned).await }
    })
    .await;
    let made = given.iter().filter(|given| given.is_ok()).count();
    assert_eq!(made, 1, "{given:?}");
    assert_eq!(fixture.stock(product).await, 50);
    fixture.books_balance().await;
}
