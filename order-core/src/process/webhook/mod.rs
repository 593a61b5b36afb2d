//! A processor that tells somebody else, over HTTP, as Standard Webhooks has it
//! (<https://www.standardwebhooks.com>): `webhook-id` is the id of the task, the same for each
//! attempt, and `webhook-signature` proves who sent it.
//!
//! The receiver is somebody else's: it is not believed. It is not followed to another address,
//! it gets no more time than [`TIME_LIMIT`], little of what it says is read, and none of it is
//! kept. Nor is the network below: `address` says who is connected to.

mod address;
mod answer;
mod secret;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Uri,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::crypto::ring;
use serde::Serialize;
use tokio::time::timeout;
use url::Url;

pub use self::secret::WebhookSecret;
use self::{address::Guard, answer::verdict};
use super::{OrderProcessor, ProcessError, Task, TaskKind};
use crate::{
    clock::{Clock, SystemClock},
    domain::{InCurrency, Order},
    error::Error,
    trace,
};

/// The longest that a receiver may take, from the connection to the end of its answer.
const TIME_LIMIT: Duration = Duration::from_secs(15);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The part of an answer that is read, so that its connection can be used again.
const MAX_ANSWER_BYTES: usize = 16 << 10;

type HttpClient = Client<HttpsConnector<HttpConnector<Guard>>, Full<Bytes>>;

const AGENT: &str = concat!("orders/", env!("CARGO_PKG_VERSION"));

/// Sends `order.success` for each sale, `order.cancelled` where that is to be undone, and
/// `order.returned` where a part of it is: the lines say what came back so far.
pub struct WebhookProcessor {
    /// The address; without path, query and password when it is shown.
    url: Url,
    uri: Uri,
    secrets: Vec<WebhookSecret>,
    client: HttpClient,
    clock: Arc<dyn Clock>,
}

/// The receiver of the webhooks, and the secrets that sign them.
#[derive(Clone)]
#[non_exhaustive]
pub struct WebhookOptions {
    /// An `http` or `https` URL.
    pub url: String,
    /// At least one. Each signs: while one replaces another, receivers accept either.
    pub secrets: Vec<WebhookSecret>,
    /// True when addresses are allowed that only this machine or its network can reach.
    pub allow_private: bool,
}

impl WebhookOptions {
    /// Sends to `url`, signed by each of `secrets`; not to private addresses.
    #[must_use]
    pub fn new(url: impl Into<String>, secrets: Vec<WebhookSecret>) -> Self {
        Self {
            url: url.into(),
            secrets,
            allow_private: false,
        }
    }

    /// The same options, with private addresses allowed or not.
    #[must_use]
    pub const fn with_allow_private(mut self, allow_private: bool) -> Self {
        self.allow_private = allow_private;
        self
    }
}

/// Without what may be secret: path, query and password of the URL, and the keys.
impl fmt::Debug for WebhookOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url: Option<Url> = self.url.parse().ok();
        f.debug_struct("WebhookOptions")
            .field("origin", &url.map(|url| url.origin().ascii_serialization()))
            .field("secrets", &self.secrets)
            .field("allow_private", &self.allow_private)
            .finish()
    }
}

/// The message that is sent.
#[derive(Serialize)]
struct Message<'a> {
    r#type: &'static str,
    timestamp: DateTime<Utc>,
    data: InCurrency<&'a Order>,
}

impl<'a> Message<'a> {
    fn of(task: &'a Task, now: DateTime<Utc>) -> Self {
        let order = &task.order;
        let (r#type, at) = match task.kind {
            TaskKind::Process => ("order.success", order.sold_at()),
            TaskKind::Compensate if task.id().is_return() => ("order.returned", None),
            TaskKind::Compensate => ("order.cancelled", order.cancelled_at),
        };
        Self {
            r#type,
            timestamp: at.unwrap_or(now),
            data: order.into(),
        }
    }
}

impl WebhookProcessor {
    /// A processor that sends to where `options` say.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `processor` or `webhook_secrets`.
    pub fn new(options: WebhookOptions) -> Result<Self, Error> {
        let invalid = |reason: &'static str| Error::invalid("processor", reason);
        // What is wrong is told without the URL: it may hold a password.
        let url: Url = options.url.parse().map_err(|_| invalid("is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("must be an http or https URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("must name no user: the signature tells who sends"));
        }
        if options.secrets.is_empty() {
            let reason = "are missing: without one, nobody could tell who sent it";
            return Err(Error::invalid("webhook_secrets", reason));
        }
        let guard = Guard::new(options.allow_private);
        // An address in the URL is never looked up, and so has to be checked here.
        if !guard.allows_host(&url) {
            return Err(invalid("names a private address, which is not allowed"));
        }
        Ok(Self {
            uri: url.as_str().parse().map_err(|_| invalid("is not a URL"))?,
            url,
            secrets: options.secrets,
            client: client(guard).map_err(Error::backend)?,
            clock: Arc::new(SystemClock),
        })
    }

    async fn send(&self, task: &Task) -> Result<(), ProcessError> {
        let (id, now) = (task.id().to_string(), self.clock.now());
        let body = serde_json::to_vec(&Message::of(task, now))
            .map_err(|error| ProcessError::give_up(error.to_string()))?;
        let signatures: Vec<String> = self
            .secrets
            .iter()
            .map(|secret| secret.sign(&id, now.timestamp(), &body))
            .collect();
        let mut request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header("webhook-id", id)
            .header("webhook-timestamp", now.timestamp())
            .header("webhook-signature", signatures.join(" "));
        if let Some(parent) = trace::current() {
            request = request.header("traceparent", parent.to_string());
        }
        let request = request
            .body(Full::from(body))
            .map_err(|error| ProcessError::give_up(error.to_string()))?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| ProcessError::retry(reason_of(&error)))?;
        trace::answered(answer.status().as_u16());
        let result = verdict(answer.status(), answer.headers(), now);
        read_some(answer.into_body()).await;
        result
    }

    async fn send_in_time(&self, task: &Task) -> Result<(), ProcessError> {
        timeout(TIME_LIMIT, self.send(task))
            .await
            .unwrap_or_else(|_| Err(ProcessError::retry("no answer in time")))
    }
}

#[async_trait]
impl OrderProcessor for WebhookProcessor {
    fn calls_elsewhere(&self) -> bool {
        true
    }

    async fn process(&self, task: &Task) -> Result<(), ProcessError> {
        self.send_in_time(task).await
    }

    async fn compensate(&self, task: &Task) -> Result<(), ProcessError> {
        self.send_in_time(task).await
    }
}

/// Without what may be secret: path, query and password of the URL, and the keys.
impl fmt::Debug for WebhookProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookProcessor")
            .field("origin", &self.url.origin().ascii_serialization())
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}

/// A client that goes where `guard` lets it and nowhere else: it follows no redirect and knows
/// of no proxy.
fn client(guard: Guard) -> Result<HttpClient, rustls::Error> {
    let mut tcp = HttpConnector::new_with_resolver(guard);
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_LIMIT));
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(ring::default_provider())?
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// Reads what is left of a short answer: a connection whose answer is read can be used again.
async fn read_some(mut answer: Incoming) {
    let mut left = MAX_ANSWER_BYTES;
    while let Some(Ok(frame)) = answer.frame().await {
        let read = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(read) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// The reason of a failure: the innermost cause says the most.
fn reason_of(error: &ClientError) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    let what = if error.is_connect() {
        "cannot connect"
    } else {
        "the request failed"
    };
    format!("{what}: {innermost}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> WebhookOptions {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        WebhookOptions::new(url, vec![secret])
    }

    #[test]
    fn a_url_that_names_a_private_address_is_refused_however_it_is_written() {
        for url in [
            "http://127.0.0.1/hook",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0/",
            "http://169.254.169.254/latest/meta-data",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "https://100.64.0.1/",
            "https://user:secret@example.com/",
            "ftp://example.com/",
            "nonsense",
        ] {
            let refused = WebhookProcessor::new(options(url));
            assert!(refused.is_err(), "{url}: {refused:?}");
        }
        assert!(WebhookProcessor::new(options("https://93.184.215.14/")).is_ok());
        let private = options("http://127.0.0.1/hook").with_allow_private(true);
        assert!(WebhookProcessor::new(private).is_ok());
        let mut unsigned = options("https://example.com/");
        unsigned.secrets.clear();
        let refused = WebhookProcessor::new(unsigned).unwrap_err();
        assert!(refused.to_string().contains("webhook_secrets"), "{refused}");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let url = "https://example.com/s3cr3t?key=s3cr3t";
        let shown = format!("{:?}", WebhookProcessor::new(options(url)).unwrap());
        assert!(shown.contains("https://example.com"), "{shown}");
        assert!(
            !shown.contains("s3cr3t") && !shown.contains("MfKQ"),
            "{shown}"
        );
    }
}
