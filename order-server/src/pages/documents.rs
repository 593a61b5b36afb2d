//! The description of the API, and the pages that show it to people. Everything the pages
//! need is in them, and a policy keeps them from anything else.

use base64::{Engine, engine::general_purpose::STANDARD};
use poem::{Route, get, http::HeaderValue};
use poem_openapi::{OpenApi, OpenApiService, Webhook};
use sha2::{Digest, Sha256};

use super::{asset::Asset, prefixed::prefixed};

const VIEWPORT: &str =
    r#"<head><meta name="viewport" content="width=device-width, initial-scale=1">"#;

/// The page would load this from elsewhere, and does as well without.
const FONTS: &str = r#"<link href="https://fonts.googleapis.com/css?family=Montserrat:300,400,700|Roboto:300,400,700" rel="stylesheet">"#;
const LOGO: &str = "https://cdn.redoc.ly/redoc/logo-mini.svg";
const NO_IMAGE: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E";

/// Adds the description of `api`, Swagger UI and `ReDoc` to `route`.
pub(crate) fn add<T: OpenApi, W: Webhook>(
    route: Route,
    api: &OpenApiService<T, W>,
    description: String,
) -> Route {
    // The pages of the framework hold the description that it derived by itself.
    let derived = api.spec();
    let docs = api.swagger_ui_html().replace(&derived, &description);
    let redoc = api.redoc_html().replace(&derived, &description);
    let redoc = redoc.replace(FONTS, "").replace(LOGO, NO_IMAGE);
    let description =
        move |prefix: &str| Asset::new("application/json", published(&description, prefix), None);
    route
        .at("/openapi.json", get(prefixed(description)))
        .at(
            "/docs",
            get(prefixed(move |prefix| page(published(&docs, prefix)))),
        )
        .at(
            "/redoc",
            get(prefixed(move |prefix| page(published(&redoc, prefix)))),
        )
}

/// A description, or a page that holds it, of a server that is published below `prefix`.
fn published(text: &str, prefix: &str) -> String {
    if prefix.is_empty() {
        return text.to_owned();
    }
    // Written with spaces or without.
    let text = text.replacen(r#""url": "/""#, &format!(r#""url": "{prefix}""#), 1);
    text.replacen(r#""url":"/""#, &format!(r#""url":"{prefix}""#), 1)
}

/// A page with the policy that fits it, and the width of the screen that shows it.
fn page(html: String) -> Asset {
    let html = if html.contains("name=\"viewport\"") {
        html
    } else {
        html.replacen("<head>", VIEWPORT, 1)
    };
    let policy = policy(&html);
    Asset::new("text/html; charset=utf-8", html, Some(policy))
}

/// The policy of a page: it may run the scripts that are in it, which are named by their hashes,
/// style itself, show images that are in it, send requests to this server, and run workers from
/// scripts that it made itself (`ReDoc` searches so). Nothing comes from elsewhere, in no frame.
fn policy(html: &str) -> HeaderValue {
    let hash = |script| format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(script)));
    let scripts: String = scripts(html).map(hash).collect();
    let policy = format!(
        "default-src 'none'; script-src{scripts}; style-src 'unsafe-inline'; img-src data:; \
         font-src data:; connect-src 'self'; worker-src blob:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// The scripts that are in a page. Text that looks like a tag within one is a part of it.
fn scripts(mut html: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (_, tag) = html.split_once("<script")?;
        let (_, script) = tag.split_once('>')?;
        let (script, rest) = script.split_once("</script>")?;
        html = rest;
        Some(script)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_runs_its_own_scripts_and_no_others() {
        let html = "<script charset=\"UTF-8\">alert('Hello, world.');</script>\n\
                    <script>'<script>'</script><script></script>";
        let policy = policy(html);
        let policy = policy.to_str().unwrap();
        // The example of the specification (Content Security Policy Level 3, 8.3), of a tag
        // in quotes, and of nothing.
        let known = "script-src 'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=' \
                     'sha256-SnAbZ8JigX54AIMPjPXTCLJwGuDhKA5Y58c2+nngtAA=' \
                     'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; ";
        assert!(policy.contains(known), "{policy}");
    }
}
