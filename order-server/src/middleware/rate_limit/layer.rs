//! Counts each request before it is served, and refuses those that come too fast.

use std::{num::NonZeroU32, sync::Arc};

use governor::clock::MonotonicClock;
use poem::{Endpoint, Middleware, Request, Response, Result};

use super::{buckets::Subject, limiter::Limiter};

/// Limits the rate of each caller.
pub(crate) struct RateLimit {
    limiter: Option<Arc<Limiter>>,
}

impl RateLimit {
    /// So many requests a second, 0 for any number, and so many of them at once.
    pub(crate) fn new(per_second: u32, burst: Option<NonZeroU32>) -> Self {
        let limiter = NonZeroU32::new(per_second).map(|per_second| {
            let burst = burst.unwrap_or(per_second);
            Arc::new(Limiter::new(per_second, burst, MonotonicClock))
        });
        Self { limiter }
    }
}

impl<E: Endpoint> Middleware<E> for RateLimit {
    type Output = RateLimitEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        RateLimitEndpoint {
            inner,
            limiter: self.limiter.clone(),
        }
    }
}

pub(crate) struct RateLimitEndpoint<E> {
    inner: E,
    limiter: Option<Arc<Limiter>>,
}

impl<E: Endpoint> Endpoint for RateLimitEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let Some(limiter) = self.limiter.as_ref().filter(|_| is_counted(&request)) else {
            return Ok(self.inner.get_response(request).await);
        };
        match limiter.count(&Subject::of(&request)) {
            Ok(left) => {
                let mut response = self.inner.get_response(request).await;
                limiter.describe(&mut response, left);
                Ok(response)
            }
            Err(wait) => Ok(limiter.refuse(wait)),
        }
    }
}

/// Tells whether a request counts. Health checks do not: a load balancer would take a refusal for
/// a failure of the server.
fn is_counted(request: &Request) -> bool {
    let path = request.uri().path();
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    !path.starts_with("/health")
}
