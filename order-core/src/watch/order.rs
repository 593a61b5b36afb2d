//! Following orders. What a watch gets is the progress of its order, which tells all of its way
//! ([`Progress::stages`]): no state is lost between two polls.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::watch;

use super::watcher::{Subject, Watcher};
use crate::{
    domain::{OrderId, OrderStatus, Progress, Stage},
    error::Error,
    store::OrderStore,
};

/// The orders of a store.
pub(crate) struct Orders(pub(crate) Arc<dyn OrderStore>);

#[async_trait]
impl Subject for Orders {
    type Id = OrderId;
    type State = Progress;

    const TICK: Duration = Duration::from_millis(100);
    const GAP: Duration = Duration::from_millis(20);

    async fn look(&self, ids: &[OrderId]) -> Result<Vec<(OrderId, Progress)>, Error> {
        let found = self.0.progress(ids).await?;
        Ok(found.into_iter().map(|order| (order.id, order)).collect())
    }
}

/// Watches an order, from now on until the watch is dropped.
pub(crate) fn watch_order(watcher: &Watcher<Orders>, id: OrderId) -> Result<Watch, Error> {
    let known = watcher.subscribe(id)?;
    Ok(Watch { known })
}

/// An order that is being watched, until this is dropped.
#[derive(Debug)]
pub struct Watch {
    known: watch::Receiver<Option<Progress>>,
}

impl Watch {
    /// Waits until the order is decided or cancelled. An order that does not exist never is.
    ///
    /// # Errors
    /// [`Error::Stopping`].
    pub async fn decided(&mut self) -> Result<Progress, Error> {
        self.until(|order| order.status != OrderStatus::Pending)
            .await
    }

    /// Waits for states that the order comes to after `known`; gives all of them, oldest first.
    ///
    /// # Errors
    /// [`Error::Stopping`].
    pub async fn since(&mut self, known: OrderStatus) -> Result<(Progress, Vec<Stage>), Error> {
        let order = self.until(|order| !order.since(known).is_empty()).await?;
        Ok((order, order.since(known)))
    }

    async fn until(
        &mut self,
        is_enough: impl Fn(&Progress) -> bool + Send + Sync,
    ) -> Result<Progress, Error> {
        let known = self
            .known
            .wait_for(|known| known.as_ref().is_some_and(&is_enough))
            .await;
        known.ok().and_then(|known| *known).ok_or(Error::Stopping)
    }
}
