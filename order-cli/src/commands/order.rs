//! `order-cli order`: places, shows and changes orders.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use order_core::{
    Error, OrderService,
    domain::{
        ClientId, HoldTime, InCurrency, Order as StoredOrder, OrderId, OrderRequest, OrderStatus,
        ProductId, RequestedLine, ReturnRequest, Sort,
    },
    store::OrderQuery,
};
use order_server::runtime::one_of;

use super::{
    in_currency,
    order_args::{hold_time, idempotency_key, quantity},
    order_bulk,
    order_details::{self, ATTEMPTS, TASK},
    order_watch, pages,
    time_args::Times,
};
use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("status", "/status"),
    ("total_price", "/total_price"),
    ("currency", "/currency"),
    ("reference", "/reference"),
    ("customer", "/customer"),
    ("client", "/client"),
    ("failure", "/failure/code"),
    ("held_until", "/held_until"),
    ("created_at", "/created_at"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Order {
    /// Place an order in the background: it is stored now and decided by a worker
    Place(Buy),
    /// Buy at once: the order is sold, or refused and not stored
    Purchase(Buy),
    /// Place many orders in the background
    Bulk(order_bulk::Bulk),
    /// Show an order
    Get {
        /// Id of the order
        id: OrderId,
    },
    /// List orders
    List {
        /// Only orders in this state
        #[arg(long, value_parser = one_of::<OrderStatus>(OrderStatus::ALL.map(OrderStatus::as_str)))]
        status: Option<OrderStatus>,
        /// Only orders with a line of this product
        #[arg(long)]
        product: Option<ProductId>,
        /// Only orders with exactly this reference
        #[arg(long)]
        reference: Option<String>,
        /// Only orders for exactly this customer
        #[arg(long)]
        customer: Option<String>,
        /// Only orders that the client with this id placed
        #[arg(long)]
        client: Option<ClientId>,
        #[command(flatten)]
        created: Times,
        /// Order of the list
        #[arg(long, default_value_t, value_parser = one_of::<Sort>(Sort::ALL.map(Sort::as_str)))]
        sort: Sort,
        /// Maximum number of orders to print
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Go on after the order with this id, the last one of the page before
        #[arg(long, value_name = "ID")]
        after: Option<OrderId>,
    },
    /// Confirm a held order: it is sold
    Confirm {
        /// Id of the order
        id: OrderId,
    },
    /// Hold a held order for longer
    Extend {
        /// Id of the order
        id: OrderId,
        /// Seconds for which to hold it, from now; in all, a hold takes up to a day
        #[arg(long = "hold", value_name = "SECONDS", value_parser = hold_time)]
        hold: HoldTime,
    },
    /// Cancel an order, or a part of it, and return its stock
    Cancel {
        /// Id of the order
        id: OrderId,
        /// Product and number of pieces that come back, instead of all that are left; may be repeated
        #[arg(long = "line", value_name = "PRODUCT:QUANTITY", value_parser = line)]
        lines: Vec<RequestedLine>,
        /// Key that makes the command safe to repeat: the pieces come back once for a key
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Process a sold order now: its task need not wait any longer, and a dead letter is redriven
    Process {
        /// Id of the order
        id: OrderId,
    },
    /// List the failed attempts of an order's task, the oldest first
    Attempts {
        /// Id of the order
        id: OrderId,
    },
    /// Print each state of an order as it is reached, until the final one
    Watch {
        /// Id of the order
        id: OrderId,
    },
}

/// The order to place.
#[derive(Debug, Args)]
pub(crate) struct Buy {
    /// Product and number of pieces; may be repeated
    #[arg(long = "line", required = true, value_name = "PRODUCT:QUANTITY", value_parser = line)]
    lines: Vec<RequestedLine>,
    /// Your own note
    #[arg(long)]
    reference: Option<String>,
    /// Your own id of who buys
    #[arg(long)]
    customer: Option<String>,
    /// Seconds for which the order is held until it is confirmed; without it, it is sold at once
    #[arg(long, value_name = "SECONDS", value_parser = hold_time)]
    hold: Option<HoldTime>,
    /// Key that makes the command safe to repeat: one order is placed for a key
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

fn line(text: &str) -> Result<RequestedLine, Error> {
    let (product, pieces) = text
        .split_once(':')
        .ok_or_else(|| Error::invalid("line", "must be PRODUCT:QUANTITY"))?;
    Ok(RequestedLine {
        product_id: product.parse()?,
        quantity: quantity(pieces)?,
    })
}

async fn cancel(
    service: &OrderService,
    id: OrderId,
    lines: Vec<RequestedLine>,
    key: Option<String>,
) -> Result<Option<StoredOrder>, Error> {
    let key = key.as_deref().map(idempotency_key).transpose()?;
    let cancelled = if lines.is_empty() {
        service.cancel_or_replay(id, key).await?
    } else {
        let request = ReturnRequest::new(lines)?;
        let request = match key {
            Some(key) => request.with_key(key),
            None => request,
        };
        service.give_back(id, request).await?
    };
    Ok(cancelled.map(|cancelled| cancelled.value))
}

pub(crate) async fn run(
    command: Order,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let order = match command {
        Order::Place(buy) => service.accept(buy.try_into()?).await?,
        Order::Purchase(buy) => service.purchase(buy.try_into()?).await?,
        Order::Bulk(bulk) => return order_bulk::run(bulk, service, output).await,
        Order::Get { id } => {
            let order = found(service.order(id).await?, id)?;
            if output.is_for_people() {
                order_details::show(order, service, output).await?;
                return Ok(ExitCode::SUCCESS);
            }
            order
        }
        Order::List {
            status,
            product,
            reference,
            customer,
            client,
            created,
            sort,
            limit,
            after,
        } => {
            let orders = pages::first(limit, after, async |page| {
                let query = OrderQuery {
                    status,
                    product_id: product,
                    reference: reference.clone(),
                    customer: customer.clone(),
                    client,
                    created: created.range(),
                    sort,
                    page,
                };
                service.orders(&query).await
            })
            .await?;
            output.rows(COLUMNS, &in_currency(orders))?;
            return Ok(ExitCode::SUCCESS);
        }
        Order::Confirm { id } => found(service.confirm(id).await?, id)?,
        Order::Extend { id, hold } => found(service.extend(id, hold).await?, id)?,
        Order::Cancel {
            id,
            lines,
            idempotency_key,
        } => found(cancel(service, id, lines, idempotency_key).await?, id)?,
        Order::Process { id } => {
            let task = found(service.process_order(id).await?, id)?;
            output.row(TASK, task)?;
            return Ok(ExitCode::SUCCESS);
        }
        Order::Attempts { id } => {
            let history = found(service.task_history(id).await?, id)?;
            output.rows(ATTEMPTS, &history.attempts)?;
            return Ok(ExitCode::SUCCESS);
        }
        Order::Watch { id } => {
            let order = found(service.order(id).await?, id)?;
            return order_watch::run(&order, service, output).await;
        }
    };
    output.row(COLUMNS, InCurrency::from(order))?;
    Ok(ExitCode::SUCCESS)
}

impl TryFrom<Buy> for OrderRequest {
    type Error = Error;

    fn try_from(buy: Buy) -> Result<Self, Error> {
        let request = Self::new(buy.lines, buy.reference)?.held_for(buy.hold);
        let request = request.for_customer(buy.customer)?;
        Ok(match buy.idempotency_key {
            Some(key) => request.with_key(idempotency_key(&key)?),
            None => request,
        })
    }
}

fn found<T>(order: Option<T>, id: OrderId) -> Result<T, Error> {
    order.ok_or(Error::OrderNotFound(id))
}
