//! Requests whose products cannot be locked for now.
//!
//! They wait here, in the order in which they came, and hold up nobody else. When their product can
//! be locked again they have their turns before whoever came later; who wants that product
//! meanwhile waits behind them. They do not count at the gate, since nobody's turn comes later for
//! them, but have a bound of their own. Each waits for a limited time, and is forgotten when nobody
//! waits for its answer any more.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::group::Answer;
use crate::{
    domain::{OrderRequest, ProductId, RequestedLine},
    error::Error,
    metrics,
    store::Contention,
};

/// How long a request waits for a product that cannot be locked.
const LIMIT: Duration = Duration::from_secs(10);
/// How often to look who has waited too long, or has gone.
const TICK: Duration = Duration::from_millis(250);

/// A request on its way to its turn.
pub(super) struct Member {
    request: OrderRequest,
    pub(super) waiting: Waiting,
}

/// Who waits for it.
pub(super) struct Waiting {
    pub(super) answer: Answer,
    /// Where it was, if it was set aside before.
    seat: Option<Seat>,
}

/// Which one it is of all that were set aside, and how long it may wait.
#[derive(Clone, Copy, Debug)]
struct Seat {
    number: u64,
    until: Instant,
}

impl Member {
    pub(super) fn new(request: OrderRequest, answer: Answer) -> Self {
        let waiting = Waiting { answer, seat: None };
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

/// Where they wait.
pub(super) struct Aside {
    contention: Arc<Contention>,
    ends: watch::Receiver<u64>,
    /// Each with the product that it waits for.
    waiting: BTreeMap<u64, (Member, ProductId)>,
    /// How many wait for each product.
    products: HashMap<ProductId, usize>,
    next: u64,
    most: usize,
}

impl Aside {
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

    /// The product among `lines` that somebody here waits for.
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
        member.waiting.answer.place.set_aside();
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
                member.waiting.answer.place.is_back();
                members.push(member);
            }
        }
        members
    }

    /// Answers those who waited too long, and forgets those who have gone.
    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        let is_over = |member: &Member| {
            let Waiting { answer, seat } = &member.waiting;
            answer.is_gone() || seat.is_none_or(|seat| seat.until <= now)
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
    let answer = member.waiting.answer;
    answer.send(Err(Error::ProductContended { product_id }));
}
