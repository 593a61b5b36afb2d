//! Requests whose products cannot be locked for now.
//!
//! They wait here, in the order in which they came, and hold up nobody else. When their product can
//! be locked again they have their turns before later requests; a request that wants that product
//! meanwhile waits behind them. They do not count for admission, since nobody's turn comes later
//! for them, but have a bound of their own. Each waits for a limited time, and is forgotten when
//! nobody waits for its response any more.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::response::Response;
use crate::{
    domain::{Order, OrderRequest, ProductId, Replayable, RequestedLine},
    error::Error,
    metrics,
    store::Contention,
};

/// The longest that a request waits for a product that cannot be locked.
const LIMIT: Duration = Duration::from_secs(10);
/// The time between two looks for requests that have waited too long, or have gone.
const TICK: Duration = Duration::from_millis(250);

/// A request on its way to its turn.
pub(super) struct Member {
    request: OrderRequest,
    pub(super) waiting: Waiting,
}

/// The caller that waits for it.
pub(super) struct Waiting {
    pub(super) response: Response<Replayable<Order>>,
    /// Its seat, if it was set aside before.
    seat: Option<Seat>,
}

/// The place among all that were set aside, and the end of the wait.
#[derive(Clone, Copy, Debug)]
struct Seat {
    number: u64,
    until: Instant,
}

impl Member {
    pub(super) fn new(request: OrderRequest, response: Response<Replayable<Order>>) -> Self {
        let waiting = Waiting {
            response,
            seat: None,
        };
        Self { request, waiting }
    }

    pub(super) fn split(self) -> (OrderRequest, Waiting) {
        (self.request, self.waiting)
    }
}

impl Waiting {
    pub(super) fn with(self, request: OrderRequest) -> Member {
        Member {
            request,
            waiting: self,
        }
    }
}

/// The requests that were set aside.
pub(super) struct SetAside {
    contention: Arc<Contention>,
    ends: watch::Receiver<u64>,
    /// Each with the product that it waits for.
    waiting: BTreeMap<u64, (Member, ProductId)>,
    /// The number that wait for each product.
    products: HashMap<ProductId, usize>,
    next: u64,
    most: usize,
}

impl SetAside {
    /// For a store with this contention: up to `most` requests.
    pub(super) fn new(contention: Arc<Contention>, most: usize) -> Self {
        Self {
            ends: contention.ends(),
            contention,
            waiting: BTreeMap::new(),
            products: HashMap::new(),
            next: 0,
            most,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The product among `lines` that a request here waits for.
    pub(super) fn blocks(&self, lines: &[RequestedLine]) -> Option<ProductId> {
        if self.products.is_empty() {
            return None;
        }
        let mut products = lines.iter().map(|line| line.product_id);
        products.find(|product| self.products.contains_key(product))
    }

    /// Sets a request aside that wants `product`: where it was before, or behind all others.
    pub(super) fn push(&mut self, mut member: Member, product: ProductId) {
        let seat = *member.waiting.seat.get_or_insert_with(|| {
            self.next += 1;
            Seat {
                number: self.next,
                until: Instant::now() + LIMIT,
            }
        });
        if self.waiting.len() >= self.most {
            refuse(member, product);
            return;
        }
        member.waiting.response.permit.set_aside();
        *self.products.entry(product).or_default() += 1;
        self.waiting.insert(seat.number, (member, product));
        metrics::set_aside();
    }

    /// Up to `limit` of those whose products can be locked again, in the order in which they came.
    pub(super) fn ready(&mut self, limit: usize) -> Vec<Member> {
        if self.is_empty() {
            return Vec::new();
        }
        // Before looking, so that an end in between is seen later.
        self.ends.borrow_and_update();
        let wanted = self.products.keys().copied();
        let ended: HashSet<ProductId> = wanted
            .filter(|product| !self.contention.contains(*product))
            .collect();
        if ended.is_empty() {
            return Vec::new();
        }
        let ready = self.waiting.iter();
        let ready = ready.filter(|(_, (_, product))| ended.contains(product));
        let ready: Vec<u64> = ready.map(|(number, _)| *number).take(limit).collect();
        let mut members = Vec::with_capacity(ready.len());
        for number in ready {
            if let Some((mut member, _)) = self.remove(number) {
                member.waiting.response.permit.is_back();
                members.push(member);
            }
        }
        members
    }

    /// Refuses requests that waited too long, and forgets those whose callers have gone.
    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        let is_over = |member: &Member| {
            let Waiting { response, seat } = &member.waiting;
            response.is_gone() || seat.is_none_or(|seat| seat.until <= now)
        };
        let over = self.waiting.iter();
        let over = over.filter(|(_, (member, _))| is_over(member));
        for number in over.map(|(number, _)| *number).collect::<Vec<_>>() {
            if let Some((member, product)) = self.remove(number) {
                refuse(member, product);
            }
        }
    }

    /// Returns when there may be something to do here.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            _ = self.ends.changed() => {}
            () = sleep(TICK) => {}
        }
    }

    fn remove(&mut self, number: u64) -> Option<(Member, ProductId)> {
        let removed = self.waiting.remove(&number)?;
        if let Some(waiting) = self.products.get_mut(&removed.1) {
            *waiting -= 1;
            if *waiting == 0 {
                self.products.remove(&removed.1);
            }
        }
        metrics::not_aside();
        Some(removed)
    }
}

fn refuse(member: Member, product_id: ProductId) {
    let response = member.waiting.response;
    response.send(Err(Error::ProductContended { product_id }));
}
