//! Checks of the history of stock by minutes.

use chrono::{DurationRound, TimeDelta};

use super::fixture::Fixture;
use crate::domain::{PageRequest, PageSize, PageStart, ProductId, StockEntry, StockEntryKind};

/// What happens to a product in three minutes, the second of which is a quiet one.
pub(super) async fn the_history_is_summed_by_minutes(mut fixture: Fixture) {
    let begin = fixture.at;
    let product = fixture.product("p", 20).await.id;
    for _ in 0..3 {
        fixture.bought(&[(product, 2)]).await;
    }
    fixture.at = begin + TimeDelta::minutes(2);
    let last = fixture.bought(&[(product, 5)]).await.id;
    for pieces in [1, 3] {
        fixture.give_back(last, &[(product, pieces)]).await.unwrap();
    }
    let expected = [
        (2, StockEntryKind::Return, 4, 2),
        (2, StockEntryKind::Sale, -5, 1),
        (0, StockEntryKind::Sale, -6, 3),
        (0, StockEntryKind::Adjustment, 20, 1),
    ];
    let minute = begin.duration_trunc(TimeDelta::minutes(1)).unwrap();
    for size in [1, 2, 3, 100] {
        let all = sums(&fixture, product, size).await;
        let all = all.into_iter();
        let brief: Vec<_> = all
            .map(|e| ((e.at - minute).num_minutes(), e.kind, e.delta, e.changes))
            .collect();
        assert_eq!(brief, expected, "pages of {size}");
    }
}

/// All of the history, in pages of this size.
async fn sums(fixture: &Fixture, product: ProductId, size: u32) -> Vec<StockEntry> {
    let (mut all, mut start) = (Vec::new(), PageStart::First);
    loop {
        let size = PageSize::new(size).unwrap();
        let page = PageRequest { size, start };
        let page = fixture.store.stock_history_by_minute(product, &page);
        let page = page.await.unwrap();
        assert!(page.items.len() <= size.get() as usize);
        all.extend(page.items);
        match page.next {
            Some(id) => start = PageStart::After(id),
            None => return all,
        }
    }
}
