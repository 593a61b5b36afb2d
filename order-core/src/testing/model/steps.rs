//! The steps of a history, and how they are drawn.

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use proptest::{
    collection::vec,
    option,
    prelude::{Just, prop_oneof},
    sample::select,
    strategy::Strategy as _,
};

use crate::{
    domain::{MAX_STOCK, Money, ProductChange},
    store::Strategy,
};

/// One step of a history. Products and orders are named by their number in the order of
/// making, modulo how many there are; one number names what never was.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Create {
        stock: i64,
        price: i64,
        sku: Option<u8>,
        limit: Option<i64>,
        window: Window,
    },
    Update(Update),
    Adjust {
        product: usize,
        delta: i64,
        key: Option<u8>,
    },
    Archive {
        product: usize,
    },
    Accept {
        orders: Vec<Placed>,
    },
    Purchase {
        orders: Vec<Placed>,
        strategy: Strategy,
    },
    Decide {
        oldest: usize,
        strategy: Strategy,
    },
    DecideThese {
        orders: Vec<usize>,
        strategy: Strategy,
    },
    Cancel {
        order: usize,
        key: Option<u8>,
    },
    /// Pieces of products that the order may have or not.
    GiveBack {
        order: usize,
        lines: Vec<(usize, i64)>,
        key: Option<u8>,
    },
    /// Does the tasks that are due, up to so many.
    DoTasks {
        most: usize,
    },
    Confirm {
        orders: Vec<usize>,
    },
    Extend {
        order: usize,
        seconds: i64,
    },
    Expire,
    /// Time goes by for the stores.
    Wait {
        seconds: i64,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Update {
    pub(super) product: usize,
    pub(super) stock: Option<i64>,
    pub(super) price: Option<i64>,
    pub(super) sku: Option<Option<u8>>,
    pub(super) from: Option<Option<i64>>,
    pub(super) until: Option<Option<i64>>,
    pub(super) expected_version: Option<i64>,
}

impl Update {
    /// The change, of a store whose time is `now`.
    pub(super) fn change(&self, now: DateTime<Utc>) -> ProductChange {
        let mut change = ProductChange::default();
        if let Some(stock) = self.stock {
            change = change.stock(stock).unwrap();
        }
        if let Some(price) = self.price {
            change = change
                .price(Money::from_minor_units(price).unwrap())
                .unwrap();
        }
        if let Some(sku) = self.sku {
            change = change.sku(sku.map(sku_text)).unwrap();
        }
        if let Some(from) = self.from {
            change = change.on_sale_from(from.map(|seconds| after(now, seconds)));
        }
        if let Some(until) = self.until {
            change = change.on_sale_until(until.map(|seconds| after(now, seconds)));
        }
        if let Some(version) = self.expected_version {
            change = change.expect_version(version);
        }
        change
    }
}

/// A time that every store keeps as it is.
pub(super) fn after(now: DateTime<Utc>, seconds: i64) -> DateTime<Utc> {
    now.trunc_subsecs(6) + TimeDelta::seconds(seconds)
}

pub(super) fn sku_text(n: u8) -> String {
    format!("SKU-{n}")
}

/// The seconds from now on after which a sale begins, and ends.
pub(super) type Window = (Option<i64>, Option<i64>);

/// `(product, quantity)` of each line, a key, the seconds for which it is held, and a customer.
pub(super) type Placed = (Vec<(usize, i64)>, Option<u8>, Option<i64>, Option<u8>);

/// Random histories.
pub(super) fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let product = || 0_usize..6;
    let order = || 0_usize..40;
    let strategy = || select(&Strategy::ALL[..]);
    let lines = || vec((product(), 1_i64..6), 1..5);
    // Keys that come often, and often with the same order.
    let key = || 0_u8..4;
    let hold = || option::weighted(0.3, select(&[600_i64, 3_600, 86_400][..]));
    let asked = prop_oneof![
        6 => lines().prop_map(|lines| (lines, None)),
        2 => key().prop_map(|key| (vec![(usize::from(key), 1)], Some(key))),
        1 => (lines(), key()).prop_map(|(lines, key)| (lines, Some(key))),
    ];
    let customer = || option::weighted(0.7, 0_u8..3);
    let placed = (asked, hold(), customer())
        .prop_map(|((lines, key), hold, customer)| (lines, key, hold, customer));
    let orders = || vec(placed.clone(), 1..8);
    let stock = || prop_oneof![9 => 0_i64..25, 1 => Just(MAX_STOCK)];
    let sku = || option::weighted(0.4, 0_u8..3);
    // No time that passes makes one of them now.
    let from = || option::weighted(0.3, select(&[-1_050_i64, 1_050][..]));
    let until = || option::weighted(0.3, select(&[3_050_i64, 60_050][..]));
    let changed = |seconds: &'static [i64]| option::weighted(0.2, option::of(select(seconds)));
    let step = prop_oneof![
        2 => (stock(), 0_i64..1_000, sku(), option::weighted(0.3, 1_i64..9), (from(), until()))
            .prop_map(|(stock, price, sku, limit, window)| Step::Create {
                stock, price, sku, limit, window,
            }),
        2 => (product(), option::of(stock()), option::of(0_i64..1_000), option::of(sku()),
              (changed(&[-1_050, 1_050]), changed(&[-1_050, 3_050])),
              option::weighted(0.3, 1_i64..4))
            .prop_map(|(product, stock, price, sku, (from, until), expected_version)| {
                Step::Update(Update { product, stock, price, sku, from, until, expected_version })
            }),
        2 => (product(), -20_i64..20)
            .prop_map(|(product, delta)| Step::Adjust { product, delta, key: None }),
        1 => (0_usize..2, 1_i64..3, key())
            .prop_map(|(product, delta, key)| Step::Adjust { product, delta, key: Some(key) }),
        1 => product().prop_map(|product| Step::Archive { product }),
        4 => orders().prop_map(|orders| Step::Accept { orders }),
        4 => (orders(), strategy())
            .prop_map(|(orders, strategy)| Step::Purchase { orders, strategy }),
        3 => (1_usize..12, strategy())
            .prop_map(|(oldest, strategy)| Step::Decide { oldest, strategy }),
        1 => (vec(order(), 1..6), strategy())
            .prop_map(|(orders, strategy)| Step::DecideThese { orders, strategy }),
        3 => (order(), option::weighted(0.3, key()))
            .prop_map(|(order, key)| Step::Cancel { order, key }),
        4 => (order(), vec((product(), 1_i64..4), 1..3), option::weighted(0.2, key()))
            .prop_map(|(order, lines, key)| Step::GiveBack { order, lines, key }),
        2 => (1_usize..9).prop_map(|most| Step::DoTasks { most }),
        3 => vec(order(), 1..6).prop_map(|orders| Step::Confirm { orders }),
        2 => (order(), select(&[60_i64, 6_000, 86_400][..]))
            .prop_map(|(order, seconds)| Step::Extend { order, seconds }),
        1 => Just(Step::Expire),
        2 => select(&[300_i64, 2_000, 50_000][..]).prop_map(|seconds| Step::Wait { seconds }),
    ];
    vec(step, 1..40)
}
