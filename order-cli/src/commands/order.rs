//! `order-cli order`: what was bought.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use order_core::{
    Error, OrderService,
    domain::{
        IdempotencyKey, OrderId, OrderRequest, OrderStatus, ProductId, Quantity, RequestedLine,
    },
    store::OrderQuery,
};
use uuid::Uuid;

use super::{bulk, list, watch};
use crate::output::{Column, Output};

pub(super) const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("status", "/status"),
    ("total_price", "/total_price"),
    ("reference", "/reference"),
    ("failure", "/failure/code"),
    ("created_at", "/created_at"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Order {
    /// Orders in the background: stored now, decided by a worker
    Place(Buy),
    /// Buys at once: sold, or refused and nothing is stored
    Purchase(Buy),
    /// Places many orders
    Bulk(bulk::Bulk),
    /// Shows an order
    Get { id: OrderId },
    /// Lists orders, newest first
    List {
        /// Only orders in this state
        #[arg(long)]
        status: Option<OrderStatus>,
        /// Only orders with a line of this product
        #[arg(long)]
        product: Option<ProductId>,
        /// Only orders with exactly this reference
        #[arg(long)]
        reference: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Cancels an order: the stock it holds goes back
    Cancel { id: OrderId },
    /// Prints each state that an order comes to, as it comes, until the final one
    Watch { id: OrderId },
}

/// What to buy.
#[derive(Debug, Args)]
pub(crate) struct Buy {
    /// A product, and how many pieces of it; may be repeated
    #[arg(long = "line", required = true, value_name = "PRODUCT:QUANTITY", value_parser = line)]
    lines: Vec<RequestedLine>,
    /// A note of your own
    #[arg(long)]
    reference: Option<String>,
    /// Makes the command safe to repeat: the order is placed once for a key
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// The key of what is asked for here, past every server and its API keys.
pub(super) fn key_of(text: &str) -> Result<IdempotencyKey, Error> {
    Ok(IdempotencyKey::new(Uuid::nil(), text)?)
}

fn line(text: &str) -> Result<RequestedLine, Error> {
    let (product, quantity) = text
        .split_once(':')
        .ok_or_else(|| Error::invalid("line", "must be PRODUCT:QUANTITY"))?;
    Ok(RequestedLine {
        product_id: product.parse()?,
        quantity: quantity_of(quantity)?,
    })
}

pub(super) fn quantity_of(text: &str) -> Result<Quantity, Error> {
    let count = text
        .parse()
        .map_err(|_| Error::invalid("quantity", "must be a whole number from 1 to 1000000"))?;
    Ok(Quantity::new(count)?)
}

pub(crate) async fn run(
    command: Order,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let order = match command {
        Order::Place(buy) => service.accept(buy.try_into()?).await?,
        Order::Purchase(buy) => service.purchase(buy.try_into()?).await?,
        Order::Bulk(bulk) => return bulk::run(bulk, service, output).await,
        Order::Get { id } => found(service.order(id).await?, id)?,
        Order::List {
            status,
            product,
            reference,
            limit,
        } => {
            let orders = list::newest(limit, async |page| {
                let query = OrderQuery {
                    status,
                    product_id: product,
                    reference: reference.clone(),
                    page,
                };
                service.orders(&query).await
            })
            .await?;
            output.rows(COLUMNS, &orders)?;
            return Ok(ExitCode::SUCCESS);
        }
        Order::Cancel { id } => found(service.cancel(id).await?, id)?,
        Order::Watch { id } => {
            let order = found(service.order(id).await?, id)?;
            return watch::run(&order, service, output).await;
        }
    };
    output.row(COLUMNS, order)?;
    Ok(ExitCode::SUCCESS)
}

impl TryFrom<Buy> for OrderRequest {
    type Error = Error;

    fn try_from(buy: Buy) -> Result<Self, Error> {
        let request = Self::new(buy.lines, buy.reference)?;
        Ok(match buy.idempotency_key {
            Some(key) => request.with_key(key_of(&key)?),
            None => request,
        })
    }
}

fn found<T>(order: Option<T>, id: OrderId) -> Result<T, Error> {
    order.ok_or(Error::OrderNotFound(id))
}
