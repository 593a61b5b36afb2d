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
use reqwest::{Client, Response, Url, header::CONTENT_TYPE, redirect::Policy};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde::Serialize;

pub use self::secret::WebhookSecret;
use self::{
    address::{Guard, Refused},
    answer::verdict,
};
use super::{OrderProcessor, ProcessError, Task, TaskKind};
use crate::{
    clock::{Clock, SystemClock},
    domain::Order,
    error::Error,
};

/// How long a receiver may take, from the connection to the end of its answer.
const TIME_LIMIT: Duration = Duration::from_secs(15);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How much of an answer is read, so that its connection can be used again.
const MAX_ANSWER_BYTES: usize = 16 << 10;

/// Sends `order.success` for each sale, and `order.cancelled` where that is to be undone.
pub struct WebhookProcessor {
    url: Url,
    secrets: Vec<WebhookSecret>,
    client: Client,
    clock: Arc<dyn Clock>,
}

/// Where to, signed with what, and whether it may be on a private network.
#[derive(Clone)]
pub struct WebhookOptions {
    /// An `http` or `https` URL.
    pub url: String,
    /// At least one. Each signs: while one replaces another, receivers accept either.
    pub secrets: Vec<WebhookSecret>,
    /// Whether addresses that only this machine or its network can reach are allowed.
    pub allow_private: bool,
}

/// What is sent.
#[derive(Serialize)]
struct Message<'a> {
    r#type: &'static str,
    timestamp: DateTime<Utc>,
    data: &'a Order,
}

impl<'a> Message<'a> {
    fn of(task: &'a Task) -> Self {
        let order = &task.order;
        let (r#type, at) = match task.kind {
            TaskKind::Process => ("order.success", order.decided_at),
            TaskKind::Compensate => ("order.cancelled", order.cancelled_at),
        };
        Self {
            r#type,
            timestamp: at.unwrap_or(order.created_at),
            data: order,
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
            url,
            secrets: options.secrets,
            client: client(guard).map_err(Error::backend)?,
            clock: Arc::new(SystemClock),
        })
    }

    async fn send(&self, task: &Task) -> Result<(), ProcessError> {
        let body = serde_json::to_vec(&Message::of(task))
            .map_err(|error| ProcessError::give_up(error.to_string()))?;
        let (id, now) = (task.id().to_string(), self.clock.now());
        let signatures: Vec<String> = self
            .secrets
            .iter()
            .map(|secret| secret.sign(&id, now.timestamp(), &body))
            .collect();
        let sent = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", now.timestamp())
            .header("webhook-signature", signatures.join(" "))
            .body(body)
            .send()
            .await;
        let answer = sent.map_err(|error| ProcessError::retry(told(&error)))?;
        let result = verdict(answer.status(), answer.headers(), now);
        read_some(answer).await;
        result
    }
}

#[async_trait]
impl OrderProcessor for WebhookProcessor {
    async fn process(&self, task: &Task) -> Result<(), ProcessError> {
        self.send(task).await
    }

    async fn compensate(&self, task: &Task) -> Result<(), ProcessError> {
        self.send(task).await
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

/// A client that goes where `guard` lets it and nowhere else: not where an answer sends it,
/// nor where a proxy of the environment would.
fn client(guard: Guard) -> Result<Client, reqwest::Error> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth());
    let builder = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(guard))
        .connect_timeout(CONNECT_LIMIT)
        .timeout(TIME_LIMIT)
        .user_agent(concat!("orders/", env!("CARGO_PKG_VERSION")));
    match tls {
        Ok(tls) => builder.tls_backend_preconfigured(tls).build(),
        // The provider has the safe versions; should it not, there is no TLS to speak.
        Err(_) => builder.build(),
    }
}

/// Reads what is left of a short answer: a connection whose answer is read can be used again.
async fn read_some(mut answer: Response) {
    let mut left = MAX_ANSWER_BYTES;
    while let Ok(Some(chunk)) = answer.chunk().await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// What went wrong, with its causes, and without the URL.
fn told(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        "cannot connect".to_owned()
    } else {
        "the request failed".to_owned()
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // The innermost cause says the most.
        if error.source().is_none() || error.is::<Refused>() {
            text = format!("{text}: {error}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> WebhookOptions {
        WebhookOptions {
            url: url.to_owned(),
            secrets: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()],
            allow_private: false,
        }
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
            "ftp://example.com/",
            "nonsense",
        ] {
            let refused = WebhookProcessor::new(options(url));
            assert!(refused.is_err(), "{url}: {refused:?}");
        }
        assert!(WebhookProcessor::new(options("https://93.184.215.14/")).is_ok());
        let private = WebhookOptions {
            allow_private: true,
            ..options("http://127.0.0.1/hook")
        };
        assert!(WebhookProcessor::new(private).is_ok());
        let mut unsigned = options("https://example.com/");
        unsigned.secrets.clear();
        let refused = WebhookProcessor::new(unsigned).unwrap_err();
        assert!(refused.to_string().contains("webhook_secrets"), "{refused}");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let url = "https://user:s3cr3t@example.com/s3cr3t?key=s3cr3t";
        let shown = format!("{:?}", WebhookProcessor::new(options(url)).unwrap());
        assert!(shown.contains("https://example.com"), "{shown}");
        assert!(
            !shown.contains("s3cr3t") && !shown.contains("MfKQ"),
            "{shown}"
        );
    }
}
