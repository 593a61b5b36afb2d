//! The dashboard: one page, in the binary, that talks to this server only. Each file has an ETag
//! made of its hash, so that a browser that has it is not sent it again.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use poem::{
    Endpoint, Request, Response, Route,
    endpoint::make_sync,
    get,
    http::{HeaderValue, StatusCode, header},
};
use sha2::{Digest, Sha256};

/// The page may load its own scripts, styles and images, and send requests to this server.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const PAGE: &str = include_str!("../../assets/dashboard/index.html");
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! asset {
    ($name:literal, $content_type:expr) => {
        (
            concat!("/dashboard/", $name),
            $content_type,
            include_str!(concat!("../../assets/dashboard/", $name)),
        )
    };
}

/// The files that the page loads: path, content type, text.
const ASSETS: [(&str, &str, &str); 8] = [
    asset!("dashboard.css", "text/css; charset=utf-8"),
    asset!("icon.svg", "image/svg+xml"),
    asset!("main.js", SCRIPT),
    asset!("client.js", SCRIPT),
    asset!("format.js", SCRIPT),
    asset!("plot.js", SCRIPT),
    asset!("tables.js", SCRIPT),
    asset!("timeline.js", SCRIPT),
];

/// Adds the page and its files to `route`.
pub(crate) fn add(route: Route) -> Route {
    let route = route
        .at("/dashboard", get(file(HTML, PAGE)))
        .at("/dashboard/", get(file(HTML, PAGE)));
    ASSETS
        .into_iter()
        .fold(route, |route, (path, content_type, text)| {
            route.at(path, get(file(content_type, text)))
        })
}

fn file(content_type: &'static str, text: &'static str) -> impl Endpoint {
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(text)));
    make_sync(move |request| {
        let response = Response::builder()
            .header(header::ETAG, &tag)
            .header(header::CONTENT_SECURITY_POLICY, POLICY);
        if has(&request, &tag) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        response
            .content_type(content_type)
            .body(Bytes::from_static(text.as_bytes()))
    })
}

/// Tells whether the client has the file (`If-None-Match`, by weak comparison).
fn has(request: &Request, tag: &str) -> bool {
    let known = request.header(header::IF_NONE_MATCH).unwrap_or_default();
    let mut known = known.split(',').map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
