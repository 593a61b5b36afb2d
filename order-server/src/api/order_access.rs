//! The order that an operation is about: who may see it, and as what it may be changed.

use order_core::{
    OrderService,
    domain::{ClientId, Order, OrderId, OrderVersion},
};
use uuid::Uuid;

use super::{etag::Expected, order_body::is_visible};
use crate::http::{entity_tag::IfMatch, problem::Problem};

/// The order, if it is one of this client's, where only those may be seen. An order of another
/// client is as if it were not there.
pub(super) async fn find(
    service: &OrderService,
    id: Uuid,
    only: Option<ClientId>,
) -> Result<Order, Problem> {
    let order = service.order(OrderId(id)).await?;
    let order = order.filter(|order| is_visible(order, only));
    order.ok_or_else(|| Problem::order_not_found(id))
}

/// Refuses a change to an order that is not one of this client's, where only those may be changed;
/// gives the versions of which the order has to be at one, and none when it may be at any.
pub(super) async fn changeable(
    service: &OrderService,
    id: Uuid,
    only: Option<ClientId>,
    if_match: IfMatch,
) -> Result<Vec<OrderVersion>, Problem> {
    if only.is_some() {
        // The client of an order never changes.
        find(service, id, only).await?;
    }
    match if_match.into() {
        Expected::Any => Ok(Vec::new()),
        Expected::Versions(versions) => Ok(versions),
        Expected::Nothing { is_weak } => {
            find(service, id, only).await?;
            Err(Expected::<OrderVersion>::refusal(is_weak))
        }
    }
}
