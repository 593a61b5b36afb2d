//! `order-cli audit`: who changed what.

use std::{process::ExitCode, sync::Arc};

use chrono::{DateTime, Utc};
use clap::Args;
use order_core::{
    OrderService,
    audit::{AuditQuery, Author},
};

use super::pages;
use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[
    ("at", "/at"),
    ("client", "/client"),
    ("action", "/action"),
    ("subject", "/subject"),
    ("before", "/before"),
    ("after", "/after"),
];
/// The longest name of a user that is kept, in characters.
const MAX_USER_CHARS: usize = 200;

/// List who changed products, stock, keys, pauses and dead letters, who cancelled and who exported,
/// newest first
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Only entries of this action, such as product.update
    #[arg(long)]
    action: Option<String>,
    /// Only entries of this subject, such as the id of a product
    #[arg(long)]
    subject: Option<String>,
    /// Only entries made at this time or later, such as 2026-11-27T08:00:00Z
    #[arg(long)]
    since: Option<DateTime<Utc>>,
    /// Only entries made before this time
    #[arg(long)]
    until: Option<DateTime<Utc>>,
    /// Maximum number of entries to print
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

pub(crate) async fn run(
    audit: Audit,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let entries = pages::first(audit.limit, None, async |page| {
        let query = AuditQuery {
            action: audit.action.clone(),
            subject: audit.subject.clone(),
            since: audit.since,
            until: audit.until,
            page,
        };
        service.audit_entries(&query).await
    })
    .await?;
    output.rows(COLUMNS, &entries)?;
    Ok(ExitCode::SUCCESS)
}

/// Who uses the command line, as far as the environment says.
pub(crate) fn author() -> Author {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| {
        let user = std::env::var(name).ok()?;
        (!user.is_empty()).then_some(user)
    });
    let client = match user {
        Some(user) => {
            let user: String = user.chars().take(MAX_USER_CHARS).collect();
            format!("order-cli:{user}")
        }
        None => "order-cli".to_owned(),
    };
    Author {
        client: Some(Arc::from(client)),
        key: None,
    }
}
