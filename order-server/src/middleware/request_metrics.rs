//! Counts and times every request by its route.
//!
//! A route is the pattern that a path matched, never the path itself: whatever clients ask for,
//! there are as many series as routes. A method that HTTP does not define is `OTHER`.

use std::{collections::HashMap, sync::Arc};

use ::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use arc_swap::ArcSwap;
use order_core::clock::{Clock, SystemClock};
use poem::{
    Endpoint, Middleware, PathPattern, Request, Response, Result,
    http::{Method, StatusCode},
};
use tokio::time::Instant;

use super::api_routes::ApiRoutes;
use crate::{
    metrics::{HTTP_IN_FLIGHT, HTTP_REQUESTS, HTTP_SECONDS},
    recent,
};

const OTHER: &str = "OTHER";
/// What the paths of the API begin with.
const API: &str = "/api/";

/// Measures requests.
pub(super) struct RequestMetrics {
    api_routes: Arc<ApiRoutes>,
    series: Arc<SeriesTable>,
    in_flight: Gauge,
}

impl RequestMetrics {
    pub(super) fn new(api_routes: Arc<ApiRoutes>) -> Self {
        Self {
            api_routes,
            series: Arc::default(),
            in_flight: gauge!(HTTP_IN_FLIGHT),
        }
    }
}

impl<E: Endpoint<Output = Response>> Middleware<E> for RequestMetrics {
    type Output = RequestMetricsEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        RequestMetricsEndpoint {
            inner,
            api_routes: Arc::clone(&self.api_routes),
            series: Arc::clone(&self.series),
            in_flight: self.in_flight.clone(),
        }
    }
}

pub(super) struct RequestMetricsEndpoint<E> {
    inner: E,
    api_routes: Arc<ApiRoutes>,
    series: Arc<SeriesTable>,
    in_flight: Gauge,
}

impl<E: Endpoint<Output = Response>> Endpoint for RequestMetricsEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let (uri, method) = (request.uri().clone(), method_name(request.method()));
        let start = Instant::now();
        let in_flight = InFlight::new(&self.in_flight);
        let response = self.inner.get_response(request).await;
        drop(in_flight);
        let matched = response.data::<PathPattern>().map(|pattern| &*pattern.0);
        let route = || self.api_routes.route(uri.path(), matched);
        // A request that was answered before it came to its route has only its path.
        let key = matched.unwrap_or_else(route);
        let series = self.series.of(key, method, response.status(), route);
        let took = start.elapsed();
        series.requests.increment(1);
        series.seconds.record(took);
        if uri.path().starts_with(API) {
            recent::count(
                SystemClock.now().timestamp().unsigned_abs(),
                response.status(),
                took,
            );
        }
        Ok(response)
    }
}

/// A request in flight, until it is dropped: also one that nobody waits for any more.
struct InFlight<'a>(&'a Gauge);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// The name of a method, or `OTHER` for one that HTTP does not define.
pub(super) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}

/// The counter and the timer of one kind of request.
#[derive(Clone)]
struct Series {
    requests: Counter,
    seconds: Histogram,
}

type OfRoute = Vec<(&'static str, StatusCode, Series)>;

/// The series by the name that the router has for a route: looking one up costs a hash and no
/// lock, where the collector would put its labels together each time. There are few, and new ones
/// are rare.
#[derive(Default)]
struct SeriesTable {
    by_key: ArcSwap<HashMap<String, OfRoute>>,
}

impl SeriesTable {
    /// The series of `key`; a new one calls `route` for its label.
    fn of<'a>(
        &self,
        key: &str,
        method: &'static str,
        status: StatusCode,
        route: impl Fn() -> &'a str,
    ) -> Series {
        let known = self.by_key.load();
        let of_route = known.get(key).map_or(&[] as &[_], Vec::as_slice);
        let is_it = |(m, s, _): &&(&str, StatusCode, Series)| (*m, *s) == (method, status);
        match of_route.iter().find(is_it) {
            Some((_, _, series)) => series.clone(),
            None => {
                let series = begin(route(), method, status);
                self.insert(key, (method, status, series.clone()));
                series
            }
        }
    }

    /// Adds a series. Two requests that begin the same one get the same series of the collector,
    /// so that it does no harm when both are kept.
    fn insert(&self, key: &str, series: (&'static str, StatusCode, Series)) {
        self.by_key.rcu(|known| {
            let mut more = HashMap::clone(known);
            more.entry(key.to_owned()).or_default().push(series.clone());
            more
        });
    }
}

fn begin(route: &str, method: &'static str, status: StatusCode) -> Series {
    let route = route.to_owned();
    let (status, of_route) = (status.as_str().to_owned(), route.clone());
    Series {
        requests: counter!(HTTP_REQUESTS, "route" => of_route, "method" => method,
            "status" => status),
        seconds: histogram!(HTTP_SECONDS, "route" => route, "method" => method),
    }
}
