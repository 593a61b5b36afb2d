//! `/metrics`, in the format of Prometheus, for callers with the scope `read`.

use std::time::Duration;

use order_core::OrderService;
use poem::{Endpoint, Request, Response, Result};

use crate::{
    auth::Scrape,
    metrics::{Metrics, collector},
};

/// The time limit for figures that the database and the queue are asked for. Prometheus itself
/// waits for 10 s.
const LIMIT: Duration = Duration::from_secs(1);
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers with all metrics.
pub(crate) struct MetricsPage {
    service: OrderService,
    metrics: &'static Metrics,
}

impl MetricsPage {
    pub(crate) fn new(service: OrderService) -> Self {
        Self {
            service,
            metrics: collector(),
        }
    }
}

impl Endpoint for MetricsPage {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        Scrape::of(&request)?;
        self.service.observe(LIMIT).await;
        Ok(Response::builder()
            .content_type(TEXT)
            .body(self.metrics.render()))
    }
}
