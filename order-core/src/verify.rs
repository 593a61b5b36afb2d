//! Proving that the books balance: what is checked, and what was found.

use std::{collections::HashMap, fmt, sync::Arc};

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

/// A promise that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Check {
    /// The stock of a product is the sum of its adjustments less what orders that hold stock keep of it,
    /// archived ones among them.
    Stock,
    /// What lines, adjustments and failures refer to as a product is there.
    MissingProduct,
    /// What lines, tasks, attempts and idempotency keys refer to as an order is there.
    MissingOrder,
    /// An order has lines, numbered from 1 without a gap.
    OrderLines,
    /// The total of an order is the sum of quantity times price over what is not cancelled of its lines.
    OrderTotal,
    /// What sold orders gave back of a product is what was kept of its returns, and no line gave back
    /// more than it had.
    Returns,
    /// An order has the times and the failure that its status asks for, and no others.
    OrderState,
    /// An order that was sold has a task until it is completed, and no other order has one, but for
    /// one that gave something back, which is to be compensated.
    Task,
    /// A held order has a hold of each of its products, which tells when it lapses, and no other order
    /// has one.
    Hold,
    /// The counters count what the orders are, archived ones among them.
    Counters,
    /// What stays of archived orders is what went to their files.
    Archive,
}

impl Check {
    /// What to do when it fails.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Stock => {
                "find what wrote past this program (restored tables, SQL by hand), then count the \
                 pieces and adjust the stock"
            }
            Self::MissingProduct | Self::MissingOrder => {
                "rows were deleted past this program: restore them from a backup"
            }
            Self::OrderLines | Self::OrderTotal | Self::OrderState | Self::Returns => {
                "the order was changed past this program: restore its rows from a backup, or cancel \
                 it"
            }
            Self::Task => {
                "`order-cli order process ID` gives a sold order its task; delete the queue entry of \
                 an order that is not sold"
            }
            Self::Hold => {
                "rows were written past this program: cancel or confirm the order if it is held; delete \
                 the hold if it is not"
            }
            Self::Counters => {
                "rows were written past this program; only figures of the dashboard are wrong"
            }
            Self::Archive => {
                "rows were deleted or written past this program: restore them from a backup; the \
                 manifests of the archive tell what each file has"
            }
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stock => "stock",
            Self::MissingProduct => "missing product",
            Self::MissingOrder => "missing order",
            Self::OrderLines => "order lines",
            Self::OrderTotal => "order total",
            Self::Returns => "returns",
            Self::OrderState => "order state",
            Self::Task => "task",
            Self::Hold => "hold",
            Self::Counters => "counters",
            Self::Archive => "archive",
        })
    }
}

/// Something that is not as promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Discrepancy {
    /// The promise.
    pub check: Check,
    /// The product or the order; none for what concerns all of them.
    pub id: Option<Uuid>,
    /// The sku of the product, if it has one.
    pub sku: Option<String>,
    /// The name of the product.
    pub name: Option<String>,
    /// What should be there, in words.
    pub expected: String,
    /// What is there, in words.
    pub found: String,
}

impl Discrepancy {
    /// One that concerns `id`.
    #[must_use]
    pub fn new(
        check: Check,
        id: Option<Uuid>,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self {
            check,
            id,
            sku: None,
            name: None,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// A product with `stock` pieces whose adjustments less what orders hold are another number;
    /// none if they are not.
    #[must_use]
    pub fn of_stock(id: Uuid, stock: i64, adjusted: i64, held: i64) -> Option<Self> {
        let expected = i128::from(adjusted) - i128::from(held);
        (i128::from(stock) != expected).then(|| {
            let expected = format!("{expected} ({adjusted} adjusted, {held} held by orders)");
            Self::new(Check::Stock, Some(id), expected, stock)
        })
    }
}

/// The number of rows that were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Products, those that are archived among them.
    pub products: u64,
    /// Stock adjustments.
    pub adjustments: u64,
    /// Orders.
    pub orders: u64,
    /// Orders that are archived, of which only sums stay.
    pub archived_orders: u64,
    /// Lines of orders.
    pub lines: u64,
    /// Post-sale tasks that wait, are under way, or are dead.
    pub tasks: u64,
    /// Idempotency keys.
    pub idempotency_keys: u64,
}

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// What was looked at.
    pub verified: Verified,
    /// What is not as promised: of each check, the first [`MOST_LISTED`](Self::MOST_LISTED).
    pub discrepancies: Vec<Discrepancy>,
    /// The number of discrepancies, those that are not listed among them.
    pub found: u64,
    /// How many of each check are listed.
    #[serde(skip)]
    listed: HashMap<Check, usize>,
}

impl Verification {
    /// The most discrepancies of a check that are listed.
    pub const MOST_LISTED: usize = 1_000;

    /// Counts a discrepancy, and lists it, unless there are many of its kind.
    pub fn add(&mut self, discrepancy: Discrepancy) {
        self.found += 1;
        let listed = self.listed.entry(discrepancy.check).or_default();
        if *listed < Self::MOST_LISTED {
            *listed += 1;
            self.discrepancies.push(discrepancy);
        }
    }
}

impl FromIterator<Discrepancy> for Verification {
    fn from_iter<T: IntoIterator<Item = Discrepancy>>(discrepancies: T) -> Self {
        let mut verification = Self::default();
        for discrepancy in discrepancies {
            verification.add(discrepancy);
        }
        verification
    }
}

/// The part of the orders that is verified, and who is told how far it is.
#[derive(Clone, Default)]
pub struct VerifyOptions {
    /// Only orders that were placed at that time or later.
    pub since: Option<DateTime<Utc>>,
    /// Only so many of 100 orders, in runs that lie evenly among them; from 1 to 99.
    pub sample: Option<u8>,
    /// Told the number of orders that are done with, and about how many there are.
    pub progress: Option<Arc<dyn Fn(u64, u64) + Send + Sync>>,
}

impl VerifyOptions {
    /// Tells whether all orders are verified. If not, neither stock nor counters are: they are sums
    /// over all of them.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.since.is_none() && self.sample.is_none()
    }
}

impl fmt::Debug for VerifyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyOptions")
            .field("since", &self.since)
            .field("sample", &self.sample)
            .finish_non_exhaustive()
    }
}
