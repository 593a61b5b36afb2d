//! The middleware in its order.

use std::{collections::HashSet, sync::Arc};

use poem::{Endpoint, EndpointExt, Response, Route, http::HeaderValue, middleware::CatchPanic};

use super::{
    api_routes::ApiRoutes, behind_proxy::BehindProxy, cors::Cors, error_responses::ErrorResponses,
    head_size::HeadSize, identify::Identify, known_query::KnownQuery, origin_check::OriginCheck,
    rate_limit::RateLimit, request_id::RequestId, request_metrics::RequestMetrics,
    request_timeout::RequestTimeout, security_headers::SecurityHeaders,
};
use crate::{
    auth::KeyCache,
    config::{HttpLimits, Origin, PublicUrl},
    http::problem::Problem,
};

/// Puts all middleware before `routes`. A request passes it from the last line to the first: it
/// gets its id and is measured, its caller is identified, its origin and rate are checked, and
/// only then is anything done for it.
pub(crate) fn layered(
    routes: Route,
    api_routes: ApiRoutes,
    keys: Arc<KeyCache>,
    limits: &HttpLimits,
) -> impl Endpoint<Output = Response> + use<> {
    let api_routes = Arc::new(api_routes);
    let origins: HashSet<HeaderValue> = limits.cors_origins.iter().map(Origin::header).collect();
    let (mut own_origins, mut hosts) = (origins.clone(), limits.allowed_hosts.clone());
    own_origins.extend(limits.public_url.iter().map(PublicUrl::origin));
    hosts.extend(limits.public_url.iter().map(PublicUrl::host));
    let origins = Arc::new(origins);
    routes
        .with(CatchPanic::new().with_handler(|_| Problem::internal()))
        .with(ErrorResponses::new(Arc::clone(&api_routes)))
        .with(KnownQuery::new(Arc::clone(&api_routes)))
        .with(RequestTimeout::new(
            limits.request_timeout(),
            Arc::clone(&api_routes),
        ))
        .with(HeadSize)
        .with(RateLimit::new(limits.rate_limit, limits.rate_limit_burst))
        .with(OriginCheck::new(Arc::new(own_origins), hosts))
        .with(Identify::new(keys))
        .with(Cors::new(origins))
        .with(SecurityHeaders)
        .with(RequestMetrics::new(Arc::clone(&api_routes)))
        .with(RequestId::new(api_routes))
        .with(BehindProxy::new(
            limits.trusted_proxies.clone(),
            limits.public_url.clone(),
        ))
}
