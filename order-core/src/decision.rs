//! The decision: stock in, orders in, decisions out.
//!
//! It is pure, so that every store and both ways to buy share it, and it can be tested
//! without a database. Orders have their turns in the order given: an order that fits
//! what the ones before it left succeeds, whole; any other takes nothing.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::domain::{
    Failure, FailureCode, FailureDetail, HoldTime, OrderId, ProductId, RequestedLine, SaleTerms,
};

/// What an order is granted that gets its stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// The stock, for good.
    Sold,
    /// The stock, unless it is not confirmed by then.
    Held {
        /// The end of the hold, by the clock of the store.
        until: DateTime<Utc>,
    },
}

impl Granted {
    /// What an order is granted that asks to be held for `hold_time`, or to be sold, when it is `now`
    /// by the clock of the store.
    #[must_use]
    pub fn at(now: DateTime<Utc>, hold_time: Option<HoldTime>) -> Self {
        match hold_time {
            Some(hold_time) => Self::Held {
                until: hold_time.after(now),
            },
            None => Self::Sold,
        }
    }
}

/// The decision on an order: what it is granted, or the reason why not.
pub type Decision = Result<Granted, Failure>;

/// An order, and the decision on it.
pub type Decided = (OrderId, Decision);

/// The stock of one product while a batch is decided.
#[derive(Clone, Copy, Debug)]
struct ProductStock {
    left: i64,
    on_sale: bool,
    terms: SaleTerms,
    taken: i64,
}

/// What a customer has of a product, and an order that holds some of it.
#[derive(Clone, Copy, Debug, Default)]
struct CustomerHas {
    pieces: i64,
    held_order: Option<OrderId>,
}

/// Who asks for an order, as far as that matters to the decision.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asking<'a> {
    /// The customer that it is for.
    pub customer: Option<&'a str>,
    /// The order, when it asks to be held.
    pub held_order: Option<OrderId>,
}

/// The stock of the locked products of a batch, from which its orders take.
#[derive(Debug, Default)]
pub struct BatchStock {
    by_product: HashMap<ProductId, ProductStock>,
    /// By product and customer, of products that have a limit.
    customers: HashMap<ProductId, HashMap<String, CustomerHas>>,
    now: DateTime<Utc>,
}

impl BatchStock {
    /// Room for `products` products.
    #[must_use]
    pub fn with_capacity(products: usize) -> Self {
        Self {
            by_product: HashMap::with_capacity(products),
            ..Self::default()
        }
    }

    /// The same, at a time by the clock of the store, by which windows of sales go.
    #[must_use]
    pub const fn at(mut self, now: DateTime<Utc>) -> Self {
        self.now = now;
        self
    }

    /// Puts a product in, with `stock` pieces. A product never put in, or not `on_sale`,
    /// gives nothing: its orders fail as `product_unavailable`.
    pub fn insert(&mut self, product_id: ProductId, stock: i64, on_sale: bool) {
        self.insert_on_terms(product_id, stock, on_sale, SaleTerms::default());
    }

    /// The same, sold on these terms.
    pub fn insert_on_terms(
        &mut self,
        product_id: ProductId,
        stock: i64,
        on_sale: bool,
        terms: SaleTerms,
    ) {
        let product = ProductStock {
            left: stock,
            on_sale,
            terms,
            taken: 0,
        };
        self.by_product.insert(product_id, product);
    }

    /// Adds to what a customer has of a product; `held_order` is the order, if it is held.
    pub fn add_to_customer(
        &mut self,
        product_id: ProductId,
        customer: &str,
        pieces: i64,
        held_order: Option<OrderId>,
    ) {
        let customers = self.customers.entry(product_id).or_default();
        let has = customers.entry(customer.to_owned()).or_default();
        has.pieces = has.pieces.saturating_add(pieces);
        has.held_order = has.held_order.max(held_order);
    }

    /// Gives an order its turn: takes all of its lines, or nothing.
    ///
    /// Lines that name the same product are summed first.
    ///
    /// # Errors
    /// The first line, in their order, whose product cannot give that sum.
    pub fn decide(&mut self, lines: &[RequestedLine]) -> Result<(), Failure> {
        self.decide_for(lines, Asking::default())
    }

    /// The same, for a customer.
    ///
    /// # Errors
    /// The first line, in their order, whose product cannot give that sum: to anybody now, to this
    /// customer, or at all.
    pub fn decide_for(
        &mut self,
        lines: &[RequestedLine],
        asking: Asking<'_>,
    ) -> Result<(), Failure> {
        for line in lines {
            let requested = requested_of(line.product_id, lines);
            let product = self.by_product.get(&line.product_id);
            let Some(product) = product.filter(|product| product.on_sale) else {
                return Err(Failure {
                    code: FailureCode::ProductUnavailable,
                    product_id: line.product_id,
                    requested,
                    available: 0,
                    detail: None,
                });
            };
            let has = asking.customer.and_then(|customer| {
                let customers = self.customers.get(&line.product_id)?;
                customers.get(customer).copied()
            });
            let has = has.unwrap_or_default();
            if let Some((code, detail)) = product.refusal(requested, asking, has, self.now) {
                return Err(Failure {
                    code,
                    product_id: line.product_id,
                    requested,
                    available: product.left,
                    detail,
                });
            }
        }
        for line in lines {
            let pieces = line.quantity.get();
            let Some(product) = self.by_product.get_mut(&line.product_id) else {
                continue;
            };
            product.left -= pieces;
            product.taken += pieces;
            if let Some(customer) = asking.customer
                && product.terms.limit_per_customer.is_some()
            {
                self.add_to_customer(line.product_id, customer, pieces, asking.held_order);
            }
        }
        Ok(())
    }

    /// The deductions: `(product, pieces)` of each product that gave any.
    pub fn deductions(&self) -> impl Iterator<Item = (ProductId, i64)> {
        self.by_product
            .iter()
            .filter(|(_, product)| product.taken > 0)
            .map(|(id, product)| (*id, product.taken))
    }
}

impl ProductStock {
    /// The reason why it does not give so many pieces to a customer who has some.
    fn refusal(
        &self,
        requested: i64,
        asking: Asking<'_>,
        has: CustomerHas,
        now: DateTime<Utc>,
    ) -> Option<(FailureCode, Option<FailureDetail>)> {
        if !self.terms.are_open(now) {
            let detail = FailureDetail::Window {
                on_sale_from: self.terms.on_sale_from,
                on_sale_until: self.terms.on_sale_until,
            };
            return Some((FailureCode::NotOnSale, Some(detail)));
        }
        if let Some(limit) = self.terms.limit_per_customer
            && (asking.customer.is_none() || has.pieces.saturating_add(requested) > limit)
        {
            let detail = FailureDetail::Limit {
                limit,
                has: has.pieces,
                held_order: has.held_order,
            };
            return Some((FailureCode::CustomerLimit, Some(detail)));
        }
        (self.left < requested).then_some((FailureCode::InsufficientStock, None))
    }
}

/// The pieces of `product_id` that all lines together ask for. An order has at most
/// 100 lines, so that looking through them beats a map.
pub(crate) fn requested_of(product_id: ProductId, lines: &[RequestedLine]) -> i64 {
    lines
        .iter()
        .filter(|line| line.product_id == product_id)
        .map(|line| line.quantity.get())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Quantity;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn product(n: u8) -> ProductId {
        ProductId(Uuid::from_u128(u128::from(n)))
    }

    fn lines(wanted: &[(u8, i64)]) -> Vec<RequestedLine> {
        wanted
            .iter()
            .map(|(n, count)| RequestedLine {
                product_id: product(*n),
                quantity: Quantity::new(*count).expect("test quantities are in range"),
            })
            .collect()
    }

    #[test]
    fn takes_all_lines_or_none() {
        let mut stock = BatchStock::default();
        stock.insert(product(1), 10, true);
        stock.insert(product(2), 1, true);
        let failed = stock.decide(&lines(&[(1, 5), (2, 2)]));
        assert_eq!(
            failed,
            Err(Failure {
                code: FailureCode::InsufficientStock,
                product_id: product(2),
                requested: 2,
                available: 1,
                detail: None,
            })
        );
        assert_eq!(stock.deductions().count(), 0);
        assert_eq!(stock.decide(&lines(&[(1, 10), (2, 1)])), Ok(()));
    }

    #[test]
    fn sums_lines_that_name_the_same_product() {
        let mut stock = BatchStock::default();
        stock.insert(product(1), 5, true);
        let failed = stock.decide(&lines(&[(1, 3), (1, 3)]));
        assert_eq!(failed.map_err(|f| (f.requested, f.available)), Err((6, 5)));
        assert_eq!(stock.decide(&lines(&[(1, 3), (1, 2)])), Ok(()));
        assert_eq!(stock.deductions().collect::<Vec<_>>(), [(product(1), 5)]);
    }

    #[test]
    fn what_is_archived_or_unknown_is_unavailable() {
        let mut stock = BatchStock::default();
        stock.insert(product(1), 5, false);
        for n in [1, 2] {
            let failed = stock.decide(&lines(&[(n, 1)]));
            assert_eq!(
                failed.map_err(|f| (f.code, f.available)),
                Err((FailureCode::ProductUnavailable, 0))
            );
        }
    }

    #[test]
    fn a_customer_has_no_more_than_the_limit_also_within_a_batch() {
        let mut stock = BatchStock::default();
        let terms = SaleTerms {
            limit_per_customer: Some(3),
            ..SaleTerms::default()
        };
        stock.insert_on_terms(product(1), 100, true, terms);
        stock.add_to_customer(product(1), "a", 1, None);
        let order = OrderId(Uuid::from_u128(9));
        let asking = |customer| Asking {
            customer: Some(customer),
            held_order: Some(order),
        };
        let mut ask = |customer, pieces| {
            let decided = stock.decide_for(&lines(&[(1, pieces)]), asking(customer));
            decided.map_err(|failure| failure.detail)
        };
        let refused = |has, held_order| {
            Err(Some(FailureDetail::Limit {
                limit: 3,
                has,
                held_order,
            }))
        };
        assert_eq!(ask("a", 3), refused(1, None));
        assert_eq!(ask("a", 2), Ok(()));
        assert_eq!(ask("a", 1), refused(3, Some(order)));
        assert_eq!(ask("b", 3), Ok(()));
        assert_eq!(ask("b", 1), refused(3, Some(order)));
        let nobody = stock.decide(&lines(&[(1, 1)]));
        assert_eq!(nobody.map_err(|f| f.detail), refused(0, None));
    }

    proptest! {
        /// Against the definition: an order succeeds exactly when the sums it asks for fit
        /// what the successful orders before it left.
        #[test]
        fn an_order_succeeds_exactly_when_it_fits_at_its_turn(
            stock in proptest::collection::vec(0_i64..30, 4),
            orders in proptest::collection::vec(
                proptest::collection::vec((0_u8..4, 1_i64..8), 1..6), 1..30),
        ) {
            let mut batch = BatchStock::default();
            let mut left = stock.clone();
            for (n, pieces) in (0_u8..).zip(&stock) {
                batch.insert(product(n), *pieces, true);
            }
            for order in &orders {
                let mut sums = [0_i64; 4];
                for (n, count) in order {
                    sums[usize::from(*n)] += count;
                }
                let fits = (0..4).all(|n| sums[n] <= left[n]);
                let decision = batch.decide(&lines(order));
                prop_assert_eq!(decision.is_ok(), fits);
                if fits {
                    (0..4).for_each(|n| left[n] -= sums[n]);
                }
            }
            let mut taken: Vec<_> = batch.deductions().collect();
            taken.sort();
            let expected: Vec<_> = (0_u8..4)
                .map(|n| (product(n), stock[usize::from(n)] - left[usize::from(n)]))
                .filter(|(_, pieces)| *pieces > 0)
                .collect();
            prop_assert_eq!(taken, expected);
        }
    }
}
