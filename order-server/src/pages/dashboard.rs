//! The dashboard: one page, in the binary, that talks to this server only.

use poem::{Route, get, http::HeaderValue};

use super::{
    asset::{Asset, asset},
    prefixed::prefixed,
};

/// The page may load its own scripts, styles and images, and send requests to this server.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const PAGE: &str = include_str!("../../assets/dashboard/index.html");
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! named {
    ($name:literal, $content_type:expr) => {
        (
            concat!("/dashboard/", $name),
            $content_type,
            include_str!(concat!("../../assets/dashboard/", $name)),
        )
    };
}

/// The files that the page loads: path, content type, text.
const ASSETS: [(&str, &str, &str); 19] = [
    named!("dashboard.css", "text/css; charset=utf-8"),
    named!("icon.svg", "image/svg+xml"),
    named!("access.js", SCRIPT),
    named!("act.js", SCRIPT),
    named!("client.js", SCRIPT),
    named!("dead.js", SCRIPT),
    named!("dialogs.js", SCRIPT),
    named!("fill.js", SCRIPT),
    named!("format.js", SCRIPT),
    named!("main.js", SCRIPT),
    named!("order.js", SCRIPT),
    named!("orders.js", SCRIPT),
    named!("overview.js", SCRIPT),
    named!("plot.js", SCRIPT),
    named!("plots.js", SCRIPT),
    named!("product.js", SCRIPT),
    named!("products.js", SCRIPT),
    named!("router.js", SCRIPT),
    named!("tasks.js", SCRIPT),
];

/// The page for a server that is published below `prefix`. Its scripts go by where they are.
fn page(prefix: &str) -> Asset {
    let page = PAGE.replace("href=\"/", &format!("href=\"{prefix}/"));
    let page = page.replace("src=\"/", &format!("src=\"{prefix}/"));
    Asset::new(HTML, page, Some(POLICY))
}

/// Adds the page and its files to `route`.
pub(crate) fn add(route: Route) -> Route {
    let route = route
        .at("/dashboard", get(prefixed(page)))
        .at("/dashboard/", get(prefixed(page)));
    ASSETS
        .into_iter()
        .fold(route, |route, (path, content_type, text)| {
            route.at(path, get(asset(content_type, text, Some(POLICY))))
        })
}
