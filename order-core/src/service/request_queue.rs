//! The queue in front of the next group.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{
    admission::{AdmissionControl, Limits},
    response::Response,
    run_group::GROUP_ORDERS,
};
use crate::error::Error;

/// Requests that wait for the next group, each with the response that its caller waits for.
pub(super) struct RequestQueue<R, T> {
    admission: Arc<AdmissionControl>,
    waiting: mpsc::Sender<(R, Response<T>)>,
}

/// What the task receives that runs the groups.
pub(super) type Arrivals<R, T> = mpsc::Receiver<(R, Response<T>)>;

impl<R, T> RequestQueue<R, T> {
    /// An empty one, with what its groups are told to, and where the requests arrive: that ends with
    /// the last queue.
    pub(super) fn new(limits: Limits) -> (Self, Arc<AdmissionControl>, Arrivals<R, T>) {
        let admission = AdmissionControl::new(limits, GROUP_ORDERS);
        let (waiting, arrivals) = mpsc::channel(limits.channel());
        let queue = Self {
            admission: Arc::clone(&admission),
            waiting,
        };
        (queue, admission, arrivals)
    }

    /// The number of requests that wait for the next group.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.max_capacity() - self.waiting.capacity()
    }

    /// Submits a request to the next group, and waits until that is committed.
    pub(super) async fn submit(&self, request: R) -> Result<T, Error> {
        let (response, result) = Response::new(self.admission.admit()?);
        self.waiting
            .try_send((request, response))
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => Error::Overloaded,
                mpsc::error::TrySendError::Closed(_) => Error::Stopping,
            })?;
        result.await.unwrap_or(Err(Error::Stopping))
    }
}

impl<R, T> Clone for RequestQueue<R, T> {
    fn clone(&self) -> Self {
        Self {
            admission: Arc::clone(&self.admission),
            waiting: self.waiting.clone(),
        }
    }
}
