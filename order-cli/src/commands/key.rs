//! `order-cli key`: the API keys of the server.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use order_core::{
    OrderService,
    domain::KeyId,
    keys::{ApiKey, KeyRequest, Scope},
};
use order_server::runtime::one_of;
use serde::Serialize;

use super::confirm::confirm;
use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("client", "/client"),
    ("scopes", "/scopes"),
    ("created_at", "/created_at"),
    ("expires_at", "/expires_at"),
    ("last_used_at", "/last_used_at"),
    ("revoked_at", "/revoked_at"),
];
const CREATED: &[Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("client", "/client"),
    ("scopes", "/scopes"),
    ("expires_at", "/expires_at"),
    ("key", "/key"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Create an API key and print it once. The first key ends open access to servers that ran
    /// without keys
    Create {
        /// Whose key it is, or what it is for
        #[arg(long)]
        name: String,
        /// Name of the client that it belongs to, who is there already; unless given, the client with
        /// the name of the key, who is made if need be
        #[arg(long, value_name = "NAME")]
        client: Option<String>,
        /// What the key allows; may be repeated
        #[arg(long = "scope", required = true, value_parser = one_of::<Scope>(Scope::ALL.map(Scope::as_str)))]
        scopes: Vec<Scope>,
        /// Time at which the key ends, such as 2030-01-31T00:00:00Z; unless given, it does not end
        #[arg(long, value_name = "TIME")]
        expires: Option<DateTime<Utc>>,
    },
    /// List all keys, revoked ones included, newest first
    List,
    /// Revoke a key for good; servers refuse it within five seconds
    Revoke {
        /// Id of the key
        id: KeyId,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

/// A new key with its secret.
#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    record: ApiKey,
    key: String,
}

pub(crate) async fn run(
    command: Key,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    match command {
        Key::Create {
            name,
            client,
            scopes,
            expires,
        } => {
            let request = KeyRequest::new(name, scopes.into_iter().collect())?;
            let request = request.for_client(client).until(expires);
            let (record, secret) = service.create_key(request).await?;
            let key = secret.expose().to_owned();
            output.row(CREATED, Created { record, key })?;
            tell!("keep the key: it is not shown again");
        }
        Key::List => output.rows(COLUMNS, &service.keys().await?)?,
        Key::Revoke { id, yes } => {
            let keys = service.keys().await?;
            let Some(key) = keys.iter().find(|key| key.id == id) else {
                bail!("key {id} not found");
            };
            confirm(&format!("revoke {} ({id})?", key.name), yes)?;
            let revoked = service.revoke_key(id).await?.context("key not found")?;
            output.row(COLUMNS, revoked)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
