//! Operations on held orders: confirm, extend.

use order_core::{
    OrderService,
    domain::{HoldTime, Order, OrderId},
};
use poem_openapi::{ApiResponse, Object, OpenApi, param::Path};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    etag::order_etag, order_access::changeable, order_body::OrderBody, tag::Tag, wire::Whole,
};
use crate::{
    auth::WriteOrders,
    http::{entity_tag::IfMatch, json::Json, object::read_from_objects, problem::Problem},
};

/// A longer hold.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, remote = "Self")]
#[oai(deny_unknown_fields)]
struct ExtendHold {
    /// How long to hold the order, from now; in all, a hold takes up to a day. An order that is held
    /// for longer already stays so.
    #[oai(validator(minimum(value = "1"), maximum(value = "86400")))]
    hold_seconds: Whole,
}

read_from_objects!(ExtendHold);

#[derive(ApiResponse)]
enum Kept {
    /// The order as it is now
    #[oai(status = 200)]
    Order(Json<OrderBody>, #[oai(header = "ETag")] String),
}

impl From<Order> for Kept {
    fn from(order: Order) -> Self {
        let etag = order_etag(&order);
        Self::Order(Json(order.into()), etag)
    }
}

/// The operations on held orders.
pub struct Holds {
    service: OrderService,
}

impl Holds {
    pub(super) const fn new(service: OrderService) -> Self {
        Self { service }
    }
}

#[OpenApi(tag = "Tag::Orders")]
impl Holds {
    /// Confirm a held order: it is sold, at the prices at which it was accepted. An order that is
    /// confirmed already stays so
    #[oai(
        path = "/orders/:id/confirm",
        method = "post",
        operation_id = "confirmOrder"
    )]
    async fn confirm(
        &self,
        caller: WriteOrders,
        id: Path<Uuid>,
        /// The `ETag` of the order as it has to be, or several; `*` for any
        #[oai(name = "If-Match")]
        if_match: IfMatch,
    ) -> Result<Kept, Problem> {
        let versions = changeable(&self.service, id.0, caller.only, if_match).await?;
        let order = self.service.confirm_if(OrderId(id.0), versions).await?;
        let order = order.ok_or_else(|| Problem::order_not_found(id.0))?;
        Ok(order.into())
    }

    /// Hold a held order for longer
    #[oai(
        path = "/orders/:id/extend",
        method = "post",
        operation_id = "extendHold"
    )]
    async fn extend(
        &self,
        caller: WriteOrders,
        id: Path<Uuid>,
        /// The `ETag` of the order as it has to be, or several; `*` for any
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: Json<ExtendHold>,
    ) -> Result<Kept, Problem> {
        let hold_time = HoldTime::new(body.0.hold_seconds.0)?;
        let (service, id) = (&self.service, id.0);
        let versions = changeable(service, id, caller.only, if_match).await?;
        let order = service.extend_if(OrderId(id), hold_time, versions).await?;
        let order = order.ok_or_else(|| Problem::order_not_found(id))?;
        Ok(order.into())
    }
}
