//! `order-cli key`: who may call the server, and what for.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use order_core::{
    OrderService,
    domain::KeyId,
    keys::{ApiKey, KeyRequest, Scope},
};
use serde::Serialize;

use super::confirm::confirm;
use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("scopes", "/scopes"),
    ("created_at", "/created_at"),
    ("revoked_at", "/revoked_at"),
];
const CREATED: &[Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("scopes", "/scopes"),
    ("key", "/key"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Makes a key, and shows it once. The first one closes servers that ran without keys
    Create {
        /// Whose it is, or what for
        #[arg(long)]
        name: String,
        /// What it allows: read, orders, products or admin; may be given more than once
        #[arg(long = "scope", required = true)]
        scopes: Vec<Scope>,
    },
    /// Lists all keys, the revoked ones included, newest first
    List,
    /// Revokes a key for good; servers refuse it within five seconds
    Revoke {
        id: KeyId,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
}

/// A key with what its holder needs.
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
        Key::Create { name, scopes } => {
            let request = KeyRequest::new(name, scopes.into_iter().collect())?;
            let (record, secret) = service.create_key(request).await?;
            let key = secret.expose().to_owned();
            output.row(CREATED, Created { record, key })?;
            eprintln!("the key is shown this once: keep it");
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
