//! Returns: part of an order is cancelled, and its stock goes back.

use chrono::{DateTime, Utc};

use super::{
    IdempotencyKey, Order, OrderId, OrderLine, OrderRequest, OrderStatus, OrderVersion, ProductId,
    Quantity, RequestedLine, ReturnId, RuleViolation, ValidationError,
};

/// What a client gives back of an order: checked, without an id yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnRequest {
    lines: Vec<RequestedLine>,
    key: Option<IdempotencyKey>,
    expected_versions: Vec<OrderVersion>,
}

impl ReturnRequest {
    /// So many pieces of each product. Lines that name the same product are summed.
    ///
    /// # Errors
    /// [`ValidationError`] that names `lines`: not 1..=100 of them.
    pub fn new(lines: Vec<RequestedLine>) -> Result<Self, ValidationError> {
        if lines.is_empty() || lines.len() > OrderRequest::MAX_LINES {
            return Err(ValidationError::new("lines", "must have 1 to 100 entries"));
        }
        Ok(Self {
            lines,
            key: None,
            expected_versions: Vec::new(),
        })
    }

    /// The same request, to be carried out once however often it comes with this key.
    #[must_use]
    pub fn with_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The same request, carried out only if the order is at this version, or at another that is
    /// expected.
    #[must_use]
    pub fn expect_version(mut self, version: OrderVersion) -> Self {
        self.expected_versions.push(version);
        self
    }

    /// The return to carry out.
    #[must_use]
    pub fn into_return(self, id: ReturnId, order_id: OrderId, at: DateTime<Utc>) -> OrderReturn {
        OrderReturn {
            id,
            order_id,
            lines: self.lines,
            key: self.key,
            expected_versions: self.expected_versions,
            at,
        }
    }
}

/// A return about to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderReturn {
    pub(crate) id: ReturnId,
    pub(crate) order_id: OrderId,
    pub(crate) lines: Vec<RequestedLine>,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) expected_versions: Vec<OrderVersion>,
    pub(crate) at: DateTime<Utc>,
}

impl OrderReturn {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> ReturnId {
        self.id
    }

    /// The order.
    #[must_use]
    pub const fn order_id(&self) -> OrderId {
        self.order_id
    }

    /// The pieces of each product that come back.
    #[must_use]
    pub fn lines(&self) -> &[RequestedLine] {
        &self.lines
    }

    /// The key of the request, if it has one.
    #[must_use]
    pub const fn key(&self) -> Option<&IdempotencyKey> {
        self.key.as_ref()
    }

    /// The versions of which the order has to be at one; at any, when there are none.
    #[must_use]
    pub fn expected_versions(&self) -> &[OrderVersion] {
        &self.expected_versions
    }

    /// The time at which they come back.
    #[must_use]
    pub const fn at(&self) -> DateTime<Utc> {
        self.at
    }
}

impl Order {
    /// What is left of its lines, without the prices.
    #[must_use]
    pub fn kept_lines(&self) -> Vec<RequestedLine> {
        self.pieces(OrderLine::kept)
    }

    /// What was cancelled of its lines, without the prices: what came back, if the order had its stock.
    #[must_use]
    pub fn cancelled_lines(&self) -> Vec<RequestedLine> {
        self.pieces(|line| line.cancelled_quantity)
    }

    fn pieces(&self, of: impl Fn(&OrderLine) -> i64) -> Vec<RequestedLine> {
        let lines = self.lines.iter().filter_map(|line| {
            Some(RequestedLine {
                product_id: line.product_id,
                quantity: Quantity::new(of(line)).ok()?,
            })
        });
        lines.collect()
    }

    /// The order after `lines` of it came back at `at`: from its first line of each product on.
    /// When nothing is left it is cancelled, unless it is completed.
    ///
    /// # Errors
    /// [`RuleViolation::OrderState`] when it holds no stock; [`RuleViolation::NotInOrder`] and
    /// [`RuleViolation::MoreThanLeft`] for the first of `lines` that cannot come back.
    pub fn given_back(
        self,
        lines: &[RequestedLine],
        at: DateTime<Utc>,
    ) -> Result<Self, RuleViolation> {
        // What a cancelled order had is there, and nothing of it is left to come back.
        if !self.status.holds_stock() && self.status != OrderStatus::Cancelled {
            let status = self.status;
            return Err(RuleViolation::OrderState { status });
        }
        let mut order = self;
        for (place, returned) in lines.iter().enumerate() {
            order.take_back(place, returned.product_id, returned.quantity.get())?;
        }
        let cancelled: Vec<i64> = order.lines.iter().map(|l| l.cancelled_quantity).collect();
        Ok(order.with_cancelled_quantities(&cancelled).settled(at))
    }

    fn take_back(
        &mut self,
        line: usize,
        product: ProductId,
        pieces: i64,
    ) -> Result<(), RuleViolation> {
        let of_product = || self.lines.iter().filter(|own| own.product_id == product);
        if of_product().next().is_none() {
            return Err(RuleViolation::NotInOrder { line });
        }
        let left: i64 = of_product().map(OrderLine::kept).sum();
        if pieces > left {
            return Err(RuleViolation::MoreThanLeft { line, left });
        }
        let mut missing = pieces;
        for own in self
            .lines
            .iter_mut()
            .filter(|own| own.product_id == product)
        {
            let taken = missing.min(own.kept());
            own.cancelled_quantity += taken;
            missing -= taken;
        }
        Ok(())
    }

    /// The order with these pieces cancelled of its lines, in their order, and the total of what
    /// is left.
    pub(crate) fn with_cancelled_quantities(mut self, cancelled: &[i64]) -> Self {
        for (line, cancelled) in self.lines.iter_mut().zip(cancelled) {
            line.cancelled_quantity = *cancelled;
        }
        self.with_cancelled(|line| line.cancelled_quantity)
    }

    /// The pieces that are cancelled of each line, in their order.
    pub(crate) fn cancelled_quantities(&self) -> Vec<i64> {
        let cancelled = self.lines.iter().map(|line| line.cancelled_quantity);
        cancelled.collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::Money;

    fn line(product: u128, quantity: i64) -> RequestedLine {
        RequestedLine {
            product_id: ProductId(Uuid::from_u128(product)),
            quantity: Quantity::new(quantity).unwrap(),
        }
    }

    /// An order of 3 and 2 pieces of one product and 4 of another, sold for 2.00 each.
    fn sold() -> Order {
        let at = DateTime::UNIX_EPOCH;
        let lines = vec![line(1, 3), line(2, 4), line(1, 2)];
        let request = OrderRequest::new(lines, None).unwrap();
        let order = request.into_new_order(OrderId(Uuid::nil()), at);
        order
            .priced(|_| Money::from_minor_units(200))
            .unwrap()
            .sold(at)
    }

    #[test]
    fn what_comes_back_is_taken_from_the_first_line_on() {
        let at = DateTime::UNIX_EPOCH;
        let order = sold().given_back(&[line(1, 4), line(2, 1)], at).unwrap();
        assert_eq!(order.cancelled_quantities(), [3, 1, 1]);
        assert_eq!(order.total_price.minor_units(), 800);
        assert_eq!(order.status, OrderStatus::Success);
        assert_eq!(order.kept_lines(), [line(2, 3), line(1, 1)]);
        let rest = order.given_back(&[line(1, 1), line(2, 3)], at).unwrap();
        assert_eq!(rest.status, OrderStatus::Cancelled);
        assert_eq!(rest.total_price.minor_units(), 0);
        assert_eq!((rest.cancelled_at, rest.kept_lines()), (Some(at), vec![]));
        assert_eq!(rest.cancelled_lines(), sold().requested_lines());
        assert_eq!(sold().cancelled(at).unwrap(), rest);
    }

    #[test]
    fn what_is_not_there_cannot_come_back() {
        let at = DateTime::UNIX_EPOCH;
        let refused = |lines: &[RequestedLine]| sold().given_back(lines, at).unwrap_err();
        let missing = refused(&[line(1, 1), line(3, 1)]);
        assert_eq!(missing, RuleViolation::NotInOrder { line: 1 });
        let too_many = refused(&[line(1, 6)]);
        let (first, left) = (0, 5);
        assert_eq!(too_many, RuleViolation::MoreThanLeft { line: first, left });
        let summed = refused(&[line(2, 3), line(2, 2)]);
        assert_eq!(summed, RuleViolation::MoreThanLeft { line: 1, left: 1 });
    }

    proptest! {
        /// However it comes back, nothing is lost and nothing is returned twice.
        #[test]
        fn pieces_and_prices_add_up(returns in prop::collection::vec((1_u128..4, 1_i64..5), 0..9)) {
            let at = DateTime::UNIX_EPOCH;
            let (mut order, mut back) = (sold(), 0);
            for (product, pieces) in returns {
                match order.clone().given_back(&[line(product, pieces)], at) {
                    Ok(after) => (order, back) = (after, back + pieces),
                    Err(RuleViolation::OrderState { .. }) => prop_assert_eq!(back, 9),
                    Err(_) => {}
                }
                let kept: i64 = order.lines.iter().map(OrderLine::kept).sum();
                prop_assert_eq!(kept + back, 9);
                prop_assert_eq!(order.total_price.minor_units(), 200 * kept);
                prop_assert_eq!(order.status == OrderStatus::Cancelled, kept == 0);
            }
        }
    }
}
