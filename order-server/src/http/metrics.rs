//! `/metrics`: what Prometheus reads, for who may read.

use std::time::Duration;

use order_core::OrderService;
use poem::{Endpoint, Request, Response, Result};

use crate::{
    auth::Inspect,
    metrics::{Metrics, collector},
};

/// How long to wait for what has to be asked for. Prometheus itself waits for 10 s.
const LIMIT: Duration = Duration::from_secs(1);
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers with all metrics.
pub(super) struct MetricsPage {
    service: OrderService,
    metrics: &'static Metrics,
}

impl MetricsPage {
    pub(super) fn new(service: OrderService) -> Self {
        Self {
            service,
            metrics: collector(),
        }
    }
}

impl Endpoint for MetricsPage {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        Inspect::of(&request)?;
        self.service.observe(LIMIT).await;
        Ok(Response::builder()
            .content_type(TEXT)
            .body(self.metrics.render()))
    }
}
