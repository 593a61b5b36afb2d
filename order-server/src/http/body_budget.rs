//! The memory of all bodies that are on their way, in the whole process.
//!
//! A body is paid for as it comes, and until its request is done with: who announces much and sends
//! nothing holds nothing. Large bodies have a budget of their own, so that they keep out nobody who
//! sends a small one.
//!
//! Nobody gets more than is left after him. One account alone gets half of a budget, and each of
//! n that want all they can get has an n+1st of it, so that however many hold what they have for as
//! long as they may, as much is left for whoever comes next.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use poem::{Request, http::StatusCode};

use super::{account::Account, problem::Problem};

/// The largest body that counts as small.
const MAX_SMALL_BYTES: usize = 1 << 20;
/// The budget of small bodies, and that of large ones.
const BUDGET_BYTES: usize = 1 << 26;

static SMALL: LazyLock<Budget> = LazyLock::new(|| Budget::new(BUDGET_BYTES));
static LARGE: LazyLock<Budget> = LazyLock::new(|| Budget::new(BUDGET_BYTES));

/// Bytes that are shared by all.
struct Budget(Mutex<Shares>);

struct Shares {
    free: usize,
    held: HashMap<Account, usize>,
}

impl Budget {
    fn new(bytes: usize) -> Self {
        Self(Mutex::new(Shares {
            free: bytes,
            held: HashMap::new(),
        }))
    }

    /// Takes `bytes` for `account`, unless it would then hold more than is left.
    fn take(&self, account: Account, bytes: usize) -> bool {
        let mut shares = lock(&self.0);
        let held = shares.held.get(&account).map_or(0, |held| *held);
        let Some(free) = shares.free.checked_sub(bytes) else {
            return false;
        };
        if held + bytes > free {
            return false;
        }
        shares.free = free;
        shares.held.insert(account, held + bytes);
        true
    }

    fn give_back(&self, account: Account, bytes: usize) {
        let mut shares = lock(&self.0);
        shares.free += bytes;
        if let Some(held) = shares.held.get_mut(&account) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                shares.held.remove(&account);
            }
        }
    }
}

/// What the body of a request has taken of the budget: an extension of the request, whose end gives
/// it back.
#[derive(Clone)]
pub(crate) struct Reservation(Arc<Reserved>);

struct Reserved {
    account: Account,
    taken: Mutex<[usize; 2]>,
}

impl Reservation {
    /// For a request that `account` sent; it holds nothing yet.
    pub(crate) fn new(account: Account) -> Self {
        Self(Arc::new(Reserved {
            account,
            taken: Mutex::default(),
        }))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let [small, large] = *lock(&self.taken);
        for (budget, bytes) in [(&SMALL, small), (&LARGE, large)] {
            if bytes > 0 {
                budget.give_back(self.account, bytes);
            }
        }
    }
}

/// Takes `bytes` more for the body of a request whose body may have up to `limit` bytes.
pub(super) fn reserve(request: &Request, limit: usize, bytes: usize) -> Result<(), Problem> {
    let Some(Reservation(reserved)) = request.extensions().get() else {
        return Ok(());
    };
    let is_large = limit > MAX_SMALL_BYTES;
    let budget = if is_large { &LARGE } else { &SMALL };
    if !budget.take(reserved.account, bytes) {
        let detail = "too many bodies are on their way; try again soon";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Problem::new(status, "overloaded", detail));
    }
    lock(&reserved.taken)[usize::from(is_large)] += bytes;
    Ok(())
}

/// What the lock guards is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn key(number: u128) -> Account {
        Account::Key(Uuid::from_u128(number))
    }

    /// All that an account can get, in pieces of `bytes`.
    fn take_all(budget: &Budget, account: Account, bytes: usize) -> usize {
        std::iter::repeat_with(|| budget.take(account, bytes))
            .take_while(|taken| *taken)
            .count()
            * bytes
    }

    #[test]
    fn however_many_take_all_they_can_somebody_else_gets_as_much() {
        let budget = Budget::new(1_000);
        assert_eq!(take_all(&budget, key(0), 1), 500);
        assert_eq!(take_all(&budget, key(1), 1), 250);
        for greedy in 2..8 {
            take_all(&budget, key(greedy), 1);
        }
        assert!(budget.take(key(8), 1), "somebody else gets something");
        assert!(!budget.take(key(0), 1));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let budget = Budget::new(100);
        assert!(budget.take(key(0), 50));
        assert!(!budget.take(key(0), 1));
        budget.give_back(key(0), 50);
        assert!(budget.take(key(1), 30) && budget.take(key(0), 30));
        budget.give_back(key(1), 30);
        budget.give_back(key(0), 30);
        let shares = lock(&budget.0);
        assert_eq!((shares.free, shares.held.len()), (100, 0));
    }
}
