//! Figures for operators, and the scopes of a caller, for the dashboard.

use std::time::Duration;

use chrono::TimeDelta;
use order_core::{
    OrderService,
    keys::Scope,
    service::{Stats as Figures, WINDOW, WaitFigures},
    stats::{HotProduct, OrderCounters, OrderCounts, Second},
};
use poem::web::Data;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::{
    tag::Tag,
    wire::{Amount, Time, currency},
};
use crate::{
    auth::{AnyKey, Caller, Inspect},
    http::{json::Json, problem::Problem},
};

/// Numbers of orders by state, and since the beginning.
#[derive(Serialize, Object)]
struct Totals {
    pending: u64,
    held: u64,
    success: u64,
    failed: u64,
    expired: u64,
    cancelled: u64,
    completed: u64,
    /// All orders ever accepted.
    accepted: u64,
    /// All orders ever sold.
    sold: u64,
}

impl From<OrderCounts> for Totals {
    fn from(counts: OrderCounts) -> Self {
        Self {
            pending: counts.pending(),
            held: counts.on_hold(),
            success: counts.success(),
            failed: counts.failed,
            expired: counts.expired,
            cancelled: counts.cancelled,
            completed: counts.completed,
            accepted: counts.accepted,
            sold: counts.sold,
        }
    }
}

/// Events per second, the oldest first; the last second is complete.
#[derive(Serialize, Object)]
struct Series {
    /// The first second.
    from: Time,
    accepted: Vec<u64>,
    sold: Vec<u64>,
    failed: Vec<u64>,
    /// Average wait of the orders decided in each second; `null` if there were none.
    mean_wait_seconds: Vec<Option<f64>>,
    /// Longest wait of one of them; `null` if there were none.
    longest_wait_seconds: Vec<Option<f64>>,
}

impl From<&OrderCounters> for Series {
    fn from(counters: &OrderCounters) -> Self {
        let seconds = WINDOW.as_secs();
        let from = counters.at - WINDOW;
        let mut series = Self {
            from,
            accepted: Vec::new(),
            sold: Vec::new(),
            failed: Vec::new(),
            mean_wait_seconds: Vec::new(),
            longest_wait_seconds: Vec::new(),
        };
        let mut known = counters.seconds.iter().peekable();
        for number in 0..seconds {
            let at = from + TimeDelta::seconds(number.cast_signed());
            while known.next_if(|second| second.at < at).is_some() {}
            series.push(known.next_if(|second| second.at == at));
        }
        series
    }
}

impl Series {
    fn push(&mut self, second: Option<&Second>) {
        let counts = second.map_or_else(OrderCounts::default, |second| second.counts);
        self.accepted.push(counts.accepted);
        self.sold.push(counts.sold);
        self.failed.push(counts.failed);
        let mean = second.and_then(|second| second.mean_wait);
        let longest = second.and_then(|second| second.longest_wait);
        let seconds = |wait: Duration| wait.as_secs_f64();
        self.mean_wait_seconds.push(mean.map(seconds));
        self.longest_wait_seconds.push(longest.map(seconds));
    }
}

/// Waits of orders for their decision.
#[derive(Serialize, Object)]
struct Waits {
    /// Number of orders that the figures are from.
    orders: u64,
    p50_seconds: f64,
    p95_seconds: f64,
    p99_seconds: f64,
}

impl From<WaitFigures> for Waits {
    fn from(waits: WaitFigures) -> Self {
        Self {
            orders: waits.orders as u64,
            p50_seconds: waits.p50.as_secs_f64(),
            p95_seconds: waits.p95.as_secs_f64(),
            p99_seconds: waits.p99.as_secs_f64(),
        }
    }
}

/// A product in the newest orders.
#[derive(Serialize, Object)]
struct Hot {
    id: Uuid,
    sku: Option<String>,
    name: String,
    price: Amount,
    /// Currency of the price: its code of ISO 4217.
    #[oai(validator(pattern = "^[A-Z]{3}$"))]
    currency: String,
    stock: i64,
    /// Pieces in the last 1000 orders.
    wanted: u64,
}

impl From<&HotProduct> for Hot {
    fn from(hot: &HotProduct) -> Self {
        Self {
            id: hot.product.id.0,
            sku: hot.product.sku.clone(),
            name: hot.product.name.clone(),
            price: Amount(hot.product.price),
            currency: currency(),
            stock: hot.product.stock,
            wanted: hot.wanted,
        }
    }
}

/// Figures of the shop.
#[derive(Serialize, Object)]
#[oai(rename = "Stats")]
struct StatsBody {
    /// Time of the figures, which are reused for up to a second.
    at: Time,
    totals: Totals,
    /// Age of the oldest pending order; `null` if none is pending.
    oldest_pending_age_seconds: Option<f64>,
    /// Waits of the last 1000 orders; `null` if none of them was decided in the last five minutes.
    wait: Option<Waits>,
    /// The last five minutes.
    series: Series,
    /// At most ten products, the most wanted first.
    hot_products: Vec<Hot>,
}

impl From<&Figures> for StatsBody {
    fn from(stats: &Figures) -> Self {
        Self {
            at: stats.counters.at,
            totals: stats.counters.totals.into(),
            oldest_pending_age_seconds: stats.oldest_pending_age.map(|age| age.as_secs_f64()),
            wait: stats.waits.map(Into::into),
            series: (&stats.counters).into(),
            hot_products: stats.hot_products.iter().map(Into::into).collect(),
        }
    }
}

/// The scopes of a caller.
#[derive(Serialize, Object)]
struct Access {
    /// The name of the key; `null` on a server without keys.
    key: Option<String>,
    /// Id of the client that the key belongs to; `null` on a server without keys.
    client: Option<Uuid>,
    scopes: Vec<String>,
}

impl From<&Caller> for Access {
    fn from(caller: &Caller) -> Self {
        let names = |scopes: &mut dyn Iterator<Item = Scope>| {
            scopes.map(|scope| scope.as_str().to_owned()).collect()
        };
        match caller {
            Caller::Key(key) => Self {
                key: Some(key.key.name.clone()),
                client: Some(key.key.client_id.0),
                scopes: names(&mut key.key.scopes.iter()),
            },
            _ => Self {
                key: None,
                client: None,
                scopes: names(&mut Scope::ALL.into_iter()),
            },
        }
    }
}

/// The operations that give figures.
pub struct Stats {
    service: OrderService,
}

impl Stats {
    pub(super) fn new(service: OrderService) -> Self {
        Self { service }
    }
}

#[OpenApi(tag = "Tag::Operations")]
impl Stats {
    /// Read figures of the shop: totals, the last five minutes, waits, hot products
    #[oai(path = "/stats", method = "get", operation_id = "stats")]
    async fn stats(&self, _caller: Inspect) -> Result<Json<StatsBody>, Problem> {
        let stats = self.service.stats().await?;
        Ok(Json(stats.as_ref().into()))
    }

    /// Read the scopes of the caller's key
    #[oai(path = "/access", method = "get", operation_id = "access")]
    async fn access(&self, _caller: AnyKey, caller: Data<&Caller>) -> Json<Access> {
        Json(caller.0.into())
    }
}
