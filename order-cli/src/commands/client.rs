//! `order-cli client`: who calls the server.

use std::process::ExitCode;

use clap::Subcommand;
use order_core::{
    OrderService,
    keys::{ApiKey, Client as Record},
};
use serde::Serialize;

use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("created_at", "/created_at"),
];
const LISTED: &[Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("keys", "/keys"),
    ("last_used_at", "/last_used_at"),
    ("created_at", "/created_at"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Client {
    /// Make a client, for which keys can be made
    Create {
        /// Who it is; no other client has this name
        #[arg(long)]
        name: String,
    },
    /// List all clients, newest first, with the number of their keys that are not revoked
    List,
}

/// A client, and what its keys say.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    client: Record,
    keys: usize,
    last_used_at: Option<String>,
}

impl Listed {
    fn new(client: Record, keys: &[ApiKey]) -> Self {
        let own = || keys.iter().filter(|key| key.client_id == client.id);
        Self {
            keys: own().filter(|key| key.revoked_at.is_none()).count(),
            last_used_at: own()
                .filter_map(|key| key.last_used_at)
                .max()
                .map(|at| at.to_rfc3339()),
            client,
        }
    }
}

pub(crate) async fn run(
    command: Client,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    match command {
        Client::Create { name } => output.row(COLUMNS, service.create_client(&name).await?)?,
        Client::List => {
            let keys = service.keys().await?;
            let clients = service.clients().await?.into_iter();
            let clients: Vec<_> = clients.map(|client| Listed::new(client, &keys)).collect();
            output.rows(LISTED, &clients)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
