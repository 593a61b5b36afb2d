//! Many orders in one request, each with a result of its own.

use order_core::{
    Error, OrderService,
    domain::{IdempotencyKey, OrderRequest},
};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    idempotency_header::replayed,
    order_body::{Buy, BuyLine, Status},
    tag::Tag,
    wire::Whole,
};
use crate::{
    auth::WriteOrders,
    http::{
        json::{Item, Json},
        object::read_from_objects,
        problem::{Problem, ProblemBody},
    },
};

const MAX_ORDERS: usize = 10_000;
/// The largest body of a bulk request.
const MAX_BODY_BYTES: usize = 8 << 20;

/// One of many orders, with a key of its own.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, remote = "Self")]
#[oai(deny_unknown_fields)]
struct BulkOrder {
    product_id: Option<Uuid>,
    /// Number of pieces; `amount` is taken for it.
    #[serde(alias = "amount")]
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    quantity: Option<Whole>,
    /// Sold all or none. The same product may be in several lines.
    #[oai(validator(min_items = 1, max_items = 100))]
    lines: Option<Vec<BuyLine>>,
    /// Your own note, up to 255 characters.
    #[oai(validator(max_length = 255))]
    reference: Option<String>,
    /// Your own id of who buys, up to 64 characters.
    #[oai(validator(min_length = 1, max_length = 64))]
    customer: Option<String>,
    /// Seconds for which the order is held until it is confirmed; without them, it is sold at once.
    #[oai(validator(minimum(value = "1"), maximum(value = "86400")))]
    hold_seconds: Option<Whole>,
    /// Makes the order safe to repeat: one order is stored for a key, as with `Idempotency-Key`.
    #[oai(validator(min_length = 1, max_length = 255, pattern = "^[!-~]+$"))]
    idempotency_key: Option<String>,
}

impl BulkOrder {
    fn request(self, caller: &WriteOrders) -> Result<OrderRequest, Error> {
        let buy = Buy {
            product_id: self.product_id,
            quantity: self.quantity,
            lines: self.lines,
            reference: self.reference,
            customer: self.customer,
            hold_seconds: self.hold_seconds,
        };
        let request = OrderRequest::try_from(buy)?.of_client(caller.client);
        Ok(match self.idempotency_key {
            Some(key) => request.with_key(IdempotencyKey::new(caller.scope, key)?),
            None => request,
        })
    }
}

/// Orders to accept.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, remote = "Self")]
#[oai(deny_unknown_fields)]
struct Bulk {
    /// Each order is checked by itself: an invalid one does not affect the others.
    #[oai(validator(min_items = 1, max_items = 10000))]
    orders: Vec<Item<BulkOrder>>,
}

read_from_objects!(BulkOrder, Bulk);

/// The result for one order.
#[derive(Debug, Serialize, Object)]
struct BulkResult {
    /// Position in the `orders` of the request, from 0.
    index: u64,
    /// Id of the order, if it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    order_id: Option<Uuid>,
    /// `true` if this is an earlier order with the same key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    replayed: Option<bool>,
    /// State of the order when it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    status: Option<Status>,
    /// The reason, if it was not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    error: Option<ProblemBody>,
}

/// The results of all orders.
#[derive(Debug, Serialize, Object)]
struct BulkResults {
    accepted: u64,
    rejected: u64,
    /// One result per order, in the order of the request.
    results: Vec<BulkResult>,
}

#[derive(ApiResponse)]
enum BulkAnswer {
    /// Each order was checked by itself; accepted ones are stored and will be decided soon
    #[oai(status = 202)]
    Results(Json<BulkResults>),
}

/// The operation on many orders.
pub struct BulkOrders {
    service: OrderService,
}

impl BulkOrders {
    pub(super) fn new(service: OrderService) -> Self {
        Self { service }
    }
}

#[OpenApi(tag = "Tag::Orders")]
impl BulkOrders {
    /// Place up to 10000 orders in the background, each checked by itself
    #[oai(path = "/orders/bulk", method = "post", operation_id = "acceptOrders")]
    async fn accept(
        &self,
        caller: WriteOrders,
        body: Json<Bulk, MAX_BODY_BYTES>,
    ) -> Result<BulkAnswer, Problem> {
        let orders = body.0.orders;
        if !(1..=MAX_ORDERS).contains(&orders.len()) {
            return Err(Problem::invalid("orders", "must have 1 to 10000 items"));
        }
        let (mut good, mut results) = (Vec::with_capacity(orders.len()), Vec::new());
        for item in orders {
            let request = item
                .0
                .and_then(|item| item.request(&caller).map_err(Problem::from));
            results.push(request.map(|request| good.push(request)));
        }
        let accepted = self.service.accept_all_or_replay(good).await;
        if let Some(error) = nothing_stored(&accepted) {
            return Err(error.into());
        }
        let mut accepted = accepted.into_iter();
        let results: Vec<BulkResult> = (0..)
            .zip(results)
            .map(|(index, judged)| match judged {
                Ok(()) => match accepted.next() {
                    Some(Ok(order)) => BulkResult {
                        index,
                        order_id: Some(order.value.id.0),
                        replayed: replayed(order.replayed),
                        status: Some(order.value.status.into()),
                        error: None,
                    },
                    Some(Err(error)) => refused(index, error.into()),
                    None => refused(index, Problem::internal()),
                },
                Err(problem) => refused(index, problem),
            })
            .collect();
        let rejected = results
            .iter()
            .filter(|result| result.error.is_some())
            .count() as u64;
        Ok(BulkAnswer::Results(Json(BulkResults {
            accepted: results.len() as u64 - rejected,
            rejected,
            results,
        })))
    }
}

/// The error of the database that kept all orders from being stored, if that is the reason.
fn nothing_stored<T>(accepted: &[Result<T, Error>]) -> Option<Error> {
    let all_transient = accepted
        .iter()
        .all(|result| result.as_ref().is_err_and(Error::is_transient));
    match accepted.first() {
        Some(Err(error)) if all_transient => Some(error.clone()),
        _ => None,
    }
}

fn refused(index: u64, problem: Problem) -> BulkResult {
    BulkResult {
        index,
        order_id: None,
        replayed: None,
        status: None,
        error: Some(problem.into_body()),
    }
}
