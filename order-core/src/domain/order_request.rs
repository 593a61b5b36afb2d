//! Orders on their way into the store.

use chrono::{DateTime, Utc};

use super::{
    ClientId, Fingerprint, HoldTime, IdempotencyKey, Money, Order, OrderId, OrderLine, OrderMode,
    OrderStatus, ProductId, Quantity, RequestedLine, RuleViolation, TraceParent, ValidationError,
    order_line::total, text,
};

/// An order that a buyer asks for: checked, without an id yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRequest {
    lines: Vec<RequestedLine>,
    reference: Option<String>,
    customer: Option<String>,
    hold_time: Option<HoldTime>,
    client: Option<ClientId>,
    key: Option<IdempotencyKey>,
    trace_parent: Option<TraceParent>,
}

impl OrderRequest {
    /// The most lines that an order may have.
    pub const MAX_LINES: usize = 100;

    /// An order of several lines. The same product may be named more than once.
    ///
    /// # Errors
    /// [`ValidationError`] that names `lines` (not 1..=100 of them) or `reference` (over 255
    /// characters).
    pub fn new(
        lines: Vec<RequestedLine>,
        reference: Option<String>,
    ) -> Result<Self, ValidationError> {
        if lines.is_empty() || lines.len() > Self::MAX_LINES {
            return Err(ValidationError::new("lines", "must have 1 to 100 entries"));
        }
        let reference = reference
            .map(|r| text::bounded("reference", r, 0, 255))
            .transpose()?;
        Ok(Self {
            lines,
            reference,
            customer: None,
            hold_time: None,
            client: None,
            key: None,
            trace_parent: None,
        })
    }

    /// An order of one line.
    #[must_use]
    pub fn one(product_id: ProductId, quantity: Quantity) -> Self {
        Self {
            lines: vec![RequestedLine {
                product_id,
                quantity,
            }],
            reference: None,
            customer: None,
            hold_time: None,
            client: None,
            key: None,
            trace_parent: None,
        }
    }

    /// The same request, to be carried out once however often it comes with this key.
    #[must_use]
    pub fn with_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The same request, held for a time before it is confirmed, if one is given.
    #[must_use]
    pub fn held_for(mut self, hold_time: Option<HoldTime>) -> Self {
        self.hold_time = hold_time;
        self
    }

    /// The same request, for whoever buys, by the client's own id of them, if one is given.
    ///
    /// # Errors
    /// [`ValidationError`] that names `customer` (not 1..=64 characters).
    pub fn for_customer(mut self, customer: Option<String>) -> Result<Self, ValidationError> {
        self.customer = customer
            .map(|customer| text::bounded("customer", customer, 1, 64))
            .transpose()?;
        Ok(self)
    }

    /// The same request, placed by this client, if one is known.
    #[must_use]
    pub fn of_client(mut self, client: Option<ClientId>) -> Self {
        self.client = client;
        self
    }

    /// The same request, in a trace, unless it is in one already.
    #[must_use]
    pub fn in_trace(mut self, parent: Option<TraceParent>) -> Self {
        self.trace_parent = self.trace_parent.or(parent);
        self
    }

    /// The time for which it asks to be held.
    pub(crate) const fn hold_time(&self) -> Option<HoldTime> {
        self.hold_time
    }

    /// Its lines.
    pub(crate) fn lines(&self) -> &[RequestedLine] {
        &self.lines
    }

    /// The order to store.
    #[must_use]
    pub fn into_new_order(self, id: OrderId, created_at: DateTime<Utc>) -> NewOrder {
        NewOrder {
            id,
            lines: self.lines,
            reference: self.reference,
            customer: self.customer,
            hold_time: self.hold_time,
            client: self.client,
            key: self.key,
            trace_parent: self.trace_parent,
            created_at,
        }
    }
}

/// An order about to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    pub(crate) id: OrderId,
    pub(crate) lines: Vec<RequestedLine>,
    pub(crate) reference: Option<String>,
    pub(crate) customer: Option<String>,
    pub(crate) hold_time: Option<HoldTime>,
    pub(crate) client: Option<ClientId>,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) trace_parent: Option<TraceParent>,
    pub(crate) created_at: DateTime<Utc>,
}

impl NewOrder {
    /// The order's id.
    #[must_use]
    pub fn id(&self) -> OrderId {
        self.id
    }

    /// Its lines.
    #[must_use]
    pub fn lines(&self) -> &[RequestedLine] {
        &self.lines
    }

    /// The client's own note.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// Whoever buys, by the client's own id of them.
    #[must_use]
    pub fn customer(&self) -> Option<&str> {
        self.customer.as_deref()
    }

    /// The time for which it asks to be held; none when it is sold at once.
    #[must_use]
    pub const fn hold_time(&self) -> Option<HoldTime> {
        self.hold_time
    }

    /// The client that placed it, if one is known.
    #[must_use]
    pub const fn client(&self) -> Option<ClientId> {
        self.client
    }

    /// The key of the request, if it has one.
    #[must_use]
    pub const fn key(&self) -> Option<&IdempotencyKey> {
        self.key.as_ref()
    }

    /// The time at which it was placed.
    #[must_use]
    pub const fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// The request that it was made of.
    pub(crate) fn into_request(self) -> OrderRequest {
        OrderRequest {
            lines: self.lines,
            reference: self.reference,
            customer: self.customer,
            hold_time: self.hold_time,
            client: self.client,
            key: self.key,
            trace_parent: self.trace_parent,
        }
    }

    /// True when `stored`, which the store answered for this order, was placed by an earlier
    /// request with the same key: then it has another id.
    pub(crate) fn is_replayed_by(&self, stored: &Order) -> bool {
        stored.id != self.id
    }

    /// Tells this order from others that a client may place with the same key.
    pub(crate) fn fingerprint(&self, mode: OrderMode) -> Fingerprint {
        let (reference, customer) = (self.reference.as_deref(), self.customer.as_deref());
        Fingerprint::of_order(mode, &self.lines, reference, self.hold_time, customer)
    }

    /// The pending order, each line at the price that `price_of` gives.
    ///
    /// # Errors
    /// [`RuleViolation::ProductNotFound`] for the first line whose product has no price;
    /// [`RuleViolation::TotalLimit`].
    pub fn priced(
        &self,
        price_of: impl Fn(ProductId) -> Option<Money>,
    ) -> Result<Order, RuleViolation> {
        let lines = self
            .lines
            .iter()
            .map(|line| {
                let price = price_of(line.product_id);
                Ok(OrderLine {
                    product_id: line.product_id,
                    quantity: line.quantity,
                    unit_price: price.ok_or(RuleViolation::ProductNotFound(line.product_id))?,
                    cancelled_quantity: 0,
                })
            })
            .collect::<Result<Vec<_>, RuleViolation>>()?;
        Ok(Order {
            id: self.id,
            status: OrderStatus::Pending,
            total_price: total(&lines).ok_or(RuleViolation::TotalLimit)?,
            lines,
            reference: self.reference.clone(),
            customer: self.customer.clone(),
            client: self.client,
            trace_parent: self.trace_parent,
            hold_time: self.hold_time,
            failure: None,
            created_at: self.created_at,
            decided_at: None,
            held_at: None,
            held_until: None,
            confirmed_at: None,
            completed_at: None,
            cancelled_at: None,
        })
    }
}
