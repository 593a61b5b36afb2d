//! Figures for operators, and what a caller may do: what the dashboard shows.

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

use super::{Tag, order_body::Time, wire::Amount};
use crate::{
    auth::{AnyKey, Caller, Inspect},
    http::{json::Json, problem::Problem},
};

/// How many orders there are, by state, and how many there ever were.
#[derive(Serialize, Object)]
struct Totals {
    pending: u64,
    success: u64,
    failed: u64,
    cancelled: u64,
    completed: u64,
    /// All orders, whatever became of them.
    accepted: u64,
    /// All that ever got their stock.
    sold: u64,
}

impl From<OrderCounts> for Totals {
    fn from(counts: OrderCounts) -> Self {
        Self {
            pending: counts.pending(),
            success: counts.success(),
            failed: counts.failed,
            cancelled: counts.cancelled,
            completed: counts.completed,
            accepted: counts.accepted,
            sold: counts.sold,
        }
    }
}

/// What happened in each second, oldest first; the last one is complete.
#[derive(Serialize, Object)]
struct Series {
    /// The first second.
    from: Time,
    accepted: Vec<u64>,
    sold: Vec<u64>,
    failed: Vec<u64>,
    /// How long orders decided in the second had waited on average; `null` when none had.
    mean_wait_seconds: Vec<Option<f64>>,
    /// The longest that one of them had waited; `null` when none had.
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
        let mut told = counters.seconds.iter().peekable();
        for number in 0..seconds {
            let at = from + TimeDelta::seconds(number.cast_signed());
            while told.next_if(|second| second.at < at).is_some() {}
            series.push(told.next_if(|second| second.at == at));
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

/// How long orders had waited for their decision.
#[derive(Serialize, Object)]
struct Waits {
    /// The orders that were looked at.
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

/// A product that the newest orders ask for.
#[derive(Serialize, Object)]
struct Hot {
    id: Uuid,
    sku: Option<String>,
    name: String,
    price: Amount,
    stock: i64,
    /// Pieces that the last 1000 orders ask for.
    wanted: u64,
}

impl From<&HotProduct> for Hot {
    fn from(hot: &HotProduct) -> Self {
        Self {
            id: hot.product.id.0,
            sku: hot.product.sku.clone(),
            name: hot.product.name.clone(),
            price: Amount(hot.product.price),
            stock: hot.product.stock,
            wanted: hot.wanted,
        }
    }
}

/// How the shop does.
#[derive(Serialize, Object)]
#[oai(rename = "Stats")]
struct StatsBody {
    /// When this was so; it is told again for up to a second.
    at: Time,
    totals: Totals,
    /// How long the oldest pending order has waited; `null` when none is pending.
    oldest_pending_age_seconds: Option<f64>,
    /// Of the last 1000 orders; `null` when none of them had waited in the last five minutes.
    wait: Option<Waits>,
    /// The last five minutes.
    series: Series,
    /// The most wanted first, at most ten.
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

/// What a caller may do.
#[derive(Serialize, Object)]
struct Access {
    /// The name of the key; `null` on a server without keys.
    key: Option<String>,
    scopes: Vec<String>,
}

impl From<&Caller> for Access {
    fn from(caller: &Caller) -> Self {
        let names = |scopes: &mut dyn Iterator<Item = Scope>| {
            scopes.map(|scope| scope.as_str().to_owned()).collect()
        };
        match caller {
            Caller::Holder(holder) => Self {
                key: Some(holder.key.name.clone()),
                scopes: names(&mut holder.key.scopes.iter()),
            },
            _ => Self {
                key: None,
                scopes: names(&mut Scope::ALL.into_iter()),
            },
        }
    }
}

/// The operations for operators who look.
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
    /// How the shop does: totals, the last five minutes, waits, hot products
    #[oai(path = "/stats", method = "get", operation_id = "stats")]
    async fn stats(&self, _caller: Inspect) -> Result<Json<StatsBody>, Problem> {
        let stats = self.service.stats().await?;
        Ok(Json(stats.as_ref().into()))
    }

    /// What the caller's key allows
    #[oai(path = "/access", method = "get", operation_id = "access")]
    async fn access(&self, _caller: AnyKey, caller: Data<&Caller>) -> Json<Access> {
        Json(caller.0.into())
    }
}
