//! A file that is in the binary: as it is and compressed, with tags made of its hash, so that a
//! browser that has it is not sent it again.

use std::{
    io::{self, Write},
    sync::OnceLock,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use poem::{
    Endpoint, Request, Response,
    endpoint::make_sync,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use sha2::{Digest, Sha256};

use crate::http::entity_tag::EntityTags;

/// A file, whose bytes all requests share: a copy for each would be megabytes.
pub(super) struct Asset {
    content_type: &'static str,
    body: Bytes,
    policy: Option<HeaderValue>,
    hash: String,
    /// Made for the first who asks: most processes are never asked.
    compressed: OnceLock<Option<Bytes>>,
}

/// Answers with the file `body`.
pub(super) fn asset(
    content_type: &'static str,
    body: impl Into<Bytes>,
    policy: Option<HeaderValue>,
) -> impl Endpoint {
    let asset = Asset::new(content_type, body, policy);
    make_sync(move |request: Request| asset.answer(request.headers()))
}

impl Asset {
    pub(super) fn new(
        content_type: &'static str,
        body: impl Into<Bytes>,
        policy: Option<HeaderValue>,
    ) -> Self {
        let body: Bytes = body.into();
        Self {
            content_type,
            hash: URL_SAFE_NO_PAD.encode(Sha256::digest(&body)),
            body,
            policy,
            compressed: OnceLock::new(),
        }
    }

    /// The answer to a request with these headers.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Response {
        let compressed = takes_gzip(asked)
            .then(|| {
                self.compressed
                    .get_or_init(|| gzip(&self.body).ok())
                    .clone()
            })
            .flatten();
        // Two representations have two tags (RFC 9110 §8.8.3).
        let suffix = if compressed.is_some() { "-gzip" } else { "" };
        let tag = format!("\"{}{suffix}\"", self.hash);
        let mut response = Response::builder()
            .header(header::ETAG, &tag)
            .header(header::VARY, "accept-encoding");
        if let Some(policy) = &self.policy {
            response = response.header(header::CONTENT_SECURITY_POLICY, policy.clone());
        }
        if has(asked, &tag) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        response = response.content_type(self.content_type);
        match compressed {
            Some(bytes) => response
                .header(header::CONTENT_ENCODING, "gzip")
                .body(bytes),
            None => response.body(self.body.clone()),
        }
    }
}

fn gzip(body: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body)?;
    encoder.finish().map(Bytes::from)
}

/// Tells whether the client has the file (`If-None-Match`). A header that cannot be read is no reason
/// to refuse a page.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let known = EntityTags::of(headers, &header::IF_NONE_MATCH);
    matches!(known, Ok(Some(known)) if known.include(tag))
}

/// Tells whether `Accept-Encoding` names gzip, and not to refuse it.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut encodings = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    encodings.any(|encoding| {
        let mut parts = encoding.split(';').map(str::trim);
        let is_gzip = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let is_refused = parts.any(|part| {
            let quality = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            quality.is_some_and(|quality| quality.parse() == Ok(0.0))
        });
        is_gzip && !is_refused
    })
}
