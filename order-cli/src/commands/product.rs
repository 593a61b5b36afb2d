//! `order-cli product`: manages products.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use order_core::{
    Error, OrderService,
    domain::{
        InCurrency, Money, Product as StoredProduct, ProductChange, ProductId, ProductRequest,
        SaleTerms, Sort, StockRequest, ValidationError,
    },
    store::ProductQuery,
};
use order_server::runtime::one_of;

use super::{
    confirm::confirm, in_currency, pages, product_export, product_import, time_args::Times,
};
use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("sku", "/sku"),
    ("name", "/name"),
    ("price", "/price"),
    ("currency", "/currency"),
    ("stock", "/stock"),
    ("version", "/version"),
];

const STOCK_COLUMNS: &[Column] = &[
    ("at", "/at"),
    ("kind", "/kind"),
    ("delta", "/delta"),
    ("changes", "/changes"),
    ("reason", "/reason"),
    ("order_id", "/order_id"),
    ("client", "/client"),
];

/// The terms on which a product is sold.
#[derive(Debug, Args)]
pub(crate) struct Terms {
    /// The most pieces that one customer may have
    #[arg(long, value_name = "PIECES")]
    limit_per_customer: Option<i64>,
    /// Time at which its sale begins, such as 2026-01-15T09:30:00Z
    #[arg(long, value_name = "TIME")]
    on_sale_from: Option<DateTime<Utc>>,
    /// Time at which its sale ends
    #[arg(long, value_name = "TIME")]
    on_sale_until: Option<DateTime<Utc>>,
}

impl Terms {
    const fn sale_terms(&self) -> SaleTerms {
        SaleTerms {
            limit_per_customer: self.limit_per_customer,
            on_sale_from: self.on_sale_from,
            on_sale_until: self.on_sale_until,
        }
    }

    /// Changes what is given, and removes what is to go.
    fn change(
        &self,
        mut change: ProductChange,
        no_limit: bool,
        no_window: bool,
    ) -> Result<ProductChange, ValidationError> {
        if self.limit_per_customer.is_some() || no_limit {
            change = change.limit_per_customer(self.limit_per_customer)?;
        }
        if self.on_sale_from.is_some() || no_window {
            change = change.on_sale_from(self.on_sale_from);
        }
        if self.on_sale_until.is_some() || no_window {
            change = change.on_sale_until(self.on_sale_until);
        }
        Ok(change)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Product {
    /// Create a product
    Create {
        /// Name of the product, 1 to 255 characters
        #[arg(long)]
        name: String,
        /// Price, with no more decimals than the currency has, such as 999.99
        #[arg(long)]
        price: String,
        /// Pieces in stock
        #[arg(long)]
        stock: i64,
        /// Your own code for the product, unique among products that are not archived
        #[arg(long)]
        sku: Option<String>,
        #[command(flatten)]
        terms: Terms,
    },
    /// Show a product
    Get {
        /// Id of the product
        #[arg(required_unless_present = "sku")]
        id: Option<ProductId>,
        /// Your own code for the product, instead of its id
        #[arg(long, conflicts_with = "id")]
        sku: Option<String>,
    },
    /// List products
    List {
        /// Only products whose name contains this text, in any case
        #[arg(long)]
        search: Option<String>,
        #[command(flatten)]
        created: Times,
        /// Order of the list
        #[arg(long, default_value_t, value_parser = one_of::<Sort>(Sort::ALL.map(Sort::as_str)))]
        sort: Sort,
        /// Maximum number of products to print
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Go on after the product with this id, the last one of the page before
        #[arg(long, value_name = "ID")]
        after: Option<ProductId>,
    },
    /// Change some fields of a product
    Update {
        /// Id of the product
        id: ProductId,
        /// New name
        #[arg(long)]
        name: Option<String>,
        /// New price
        #[arg(long)]
        price: Option<String>,
        /// New number of pieces in stock
        #[arg(long)]
        stock: Option<i64>,
        /// New sku
        #[arg(long, conflicts_with = "no_sku")]
        sku: Option<String>,
        /// Remove the sku
        #[arg(long)]
        no_sku: bool,
        #[command(flatten)]
        terms: Terms,
        /// Remove the limit per customer
        #[arg(long, conflicts_with = "limit_per_customer")]
        no_limit_per_customer: bool,
        /// Remove the times at which its sale begins and ends, unless others are given
        #[arg(long)]
        no_sale_window: bool,
    },
    /// Add pieces to the stock of a product, or take some away
    Adjust {
        /// Id of the product
        id: ProductId,
        /// Pieces to add; a negative number takes them away
        #[arg(allow_negative_numbers = true)]
        delta: i64,
        /// Why the stock changes
        #[arg(long)]
        reason: Option<String>,
    },
    /// List what changed the stock of a product, newest first
    Stock {
        /// Id of the product
        id: ProductId,
        /// Maximum number of changes to print
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Sum the changes of each kind in each minute
        #[arg(long)]
        by_minute: bool,
    },
    Import(product_import::Import),
    Export(product_export::Export),
    /// Archive a product; its orders stay
    Delete {
        /// Id of the product
        id: ProductId,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

impl Product {
    /// Checks the price among the arguments, if there is one.
    pub(crate) fn check_price(&self) -> Result<(), ValidationError> {
        let price = match self {
            Self::Create { price, .. } => Some(price),
            Self::Update { price, .. } => price.as_ref(),
            _ => None,
        };
        price.map_or(Ok(()), |price| Money::price(price).map(drop))
    }
}

pub(crate) async fn run(
    command: Product,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let changed = match command {
        Product::Create {
            name,
            price,
            stock,
            sku,
            terms,
        } => {
            let request = ProductRequest::new(name, Money::price(&price)?, stock, sku)?;
            let request = request.on_terms(terms.sale_terms())?;
            service.create_product(request).await?
        }
        Product::Get { id: Some(id), .. } => found(service.product(id).await?, id)?,
        Product::Get { sku, .. } => with_sku(service, &sku.unwrap_or_default()).await?,
        Product::List {
            search,
            created,
            sort,
            limit,
            after,
        } => {
            let query = ProductQuery {
                search,
                created: created.range(),
                sort,
                ..ProductQuery::default()
            };
            return list(&query, limit, after, service, output).await;
        }
        Product::Update {
            id,
            name,
            price,
            stock,
            sku,
            no_sku,
            terms,
            no_limit_per_customer,
            no_sale_window,
        } => {
            let change = change(name, price, stock, (no_sku || sku.is_some()).then_some(sku))?;
            let change = terms.change(change, no_limit_per_customer, no_sale_window)?;
            ensure!(
                !change.is_empty(),
                "nothing to change: give --name, --price, --stock, --sku or terms of the sale"
            );
            found(service.update_product(id, &change).await?, id)?
        }
        Product::Adjust { id, delta, reason } => {
            let request = StockRequest::new(delta, reason)?;
            found(service.adjust_stock(id, request).await?, id)?
        }
        Product::Stock {
            id,
            limit,
            by_minute,
        } => return stock(id, limit, by_minute, service, output).await,
        Product::Import(import) => return product_import::run(import, service, output).await,
        Product::Export(export) => return product_export::run(export, service, output).await,
        Product::Delete { id, yes } => return delete(id, yes, service).await,
    };
    output.row(COLUMNS, InCurrency::from(changed))?;
    Ok(ExitCode::SUCCESS)
}

async fn delete(id: ProductId, yes: bool, service: &OrderService) -> anyhow::Result<ExitCode> {
    let product = found(service.product(id).await?, id)?;
    confirm(&format!("archive {} ({id})?", product.name), yes)?;
    ensure!(
        service.archive_product(id).await?,
        Error::ProductNotFound(id)
    );
    Ok(ExitCode::SUCCESS)
}

async fn with_sku(service: &OrderService, sku: &str) -> anyhow::Result<StoredProduct> {
    let product = service.product_with_sku(sku).await?;
    product.with_context(|| format!("no product has the sku {sku}"))
}

async fn list(
    query: &ProductQuery,
    limit: u32,
    after: Option<ProductId>,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let products = pages::first(limit, after, async |page| {
        let query = ProductQuery {
            page,
            ..query.clone()
        };
        service.products(&query).await
    });
    output.rows(COLUMNS, &in_currency(products.await?))?;
    Ok(ExitCode::SUCCESS)
}

async fn stock(
    id: ProductId,
    limit: u32,
    by_minute: bool,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let history = pages::first(limit, None, async |page| {
        let history = if by_minute {
            service.stock_history_by_minute(id, &page).await?
        } else {
            service.stock_history(id, &page).await?
        };
        history.ok_or(Error::ProductNotFound(id))
    });
    output.rows(STOCK_COLUMNS, &history.await?)?;
    Ok(ExitCode::SUCCESS)
}

fn change(
    name: Option<String>,
    price: Option<String>,
    stock: Option<i64>,
    sku: Option<Option<String>>,
) -> anyhow::Result<ProductChange> {
    let mut change = ProductChange::default();
    if let Some(name) = name {
        change = change.name(name)?;
    }
    if let Some(price) = price {
        change = change.price(Money::price(&price)?)?;
    }
    if let Some(stock) = stock {
        change = change.stock(stock)?;
    }
    if let Some(sku) = sku {
        change = change.sku(sku)?;
    }
    Ok(change)
}

fn found<T>(product: Option<T>, id: ProductId) -> Result<T, Error> {
    product.ok_or(Error::ProductNotFound(id))
}
