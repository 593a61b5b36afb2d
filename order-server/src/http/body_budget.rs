//! The memory of all bodies that are on their way, in the whole process.
//!
//! A body is paid for before it is read, and until its request is done with. Large bodies have a
//! budget of their own, so that they keep out nobody who sends a small one.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use poem::{Request, http::StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// The largest body that counts as small.
const MAX_SMALL_BYTES: usize = 1 << 20;
/// The budget of small bodies, and that of large ones.
const BUDGET_BYTES: usize = 1 << 26;

static SMALL: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(BUDGET_BYTES)));
static LARGE: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(BUDGET_BYTES)));

/// What the body of a request has taken of the budget: an extension of the request, whose end gives
/// it back.
#[derive(Clone, Default)]
pub(crate) struct Reservation(Arc<Mutex<Vec<OwnedSemaphorePermit>>>);

/// Takes `bytes` more for the body of a request whose body may have up to `limit` bytes.
pub(super) fn reserve(request: &Request, limit: usize, bytes: usize) -> Result<(), Problem> {
    let Some(reservation) = request.extensions().get::<Reservation>() else {
        return Ok(());
    };
    let budget = if limit > MAX_SMALL_BYTES {
        &LARGE
    } else {
        &SMALL
    };
    let spent = |_| {
        let detail = "too many bodies are on their way; try again soon";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
    };
    // No limit of a body is near this bound.
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    let permit = Arc::clone(budget).try_acquire_many_owned(bytes);
    let mut reserved = reservation.0.lock().unwrap_or_else(PoisonError::into_inner);
    reserved.push(permit.map_err(spent)?);
    Ok(())
}
