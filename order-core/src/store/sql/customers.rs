//! What customers have of products that have a limit per customer.
//!
//! It is read under the locks of the products: whoever adds to it, or gives some of it back, holds
//! them, too. So it is exact, whatever else is under way. An order that is archived meanwhile counts
//! among the orders or among what is archived, and never twice: one statement reads both.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{
    backend::{Rows, SqlConnection},
    plan::LockedProducts,
    value::Value,
};
use crate::{
    decision::BatchStock,
    domain::{OrderId, ProductId, RequestedLine},
    error::Error,
};

/// Pieces of a product in an order of a customer, and the order, if it is held; or in all of those that
/// are archived.
type HasRow = (String, Uuid, i64, Option<Uuid>);

/// Adds to a batch what the customers of its orders have of those locked products that have a limit.
pub(super) async fn add_customers<'a, C: SqlConnection>(
    connection: &mut C,
    locked: &LockedProducts,
    orders: impl Iterator<Item = (Option<&'a str>, &'a [RequestedLine])> + Send,
    batch_stock: &mut BatchStock,
) -> Result<(), Error> {
    let limited = locked.products.iter();
    let limited = limited.filter(|product| product.terms.limit_per_customer.is_some());
    let limited: Vec<ProductId> = limited.map(|product| product.id).collect();
    if limited.is_empty() {
        return Ok(());
    }
    let is_limited = |line: &RequestedLine| limited.contains(&line.product_id);
    let asked = orders.filter(|(_, lines)| lines.iter().any(is_limited));
    let customers: BTreeSet<&str> = asked.filter_map(|(customer, _)| customer).collect();
    if customers.is_empty() {
        return Ok(());
    }
    let customers = serde_json::to_string(&customers).map_err(Error::backend)?;
    let values = [
        Value::text(&customers),
        Value::Ids(limited.iter().map(|id| id.0).collect()),
        Value::Now,
    ];
    let has: Rows<HasRow> = connection
        .fetch_all(C::SQL.orders.had_by_customers, &values)
        .await;
    for (customer, product, pieces, held_order) in has? {
        batch_stock.add_to_customer(
            ProductId(product),
            &customer,
            pieces,
            held_order.map(OrderId),
        );
    }
    Ok(())
}
