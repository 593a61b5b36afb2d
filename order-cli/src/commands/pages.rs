//! Lists of any length, read page by page.

use order_core::{
    Error,
    domain::{Page, PageRequest, PageSize, PageStart},
};

const LARGEST_PAGE: u32 = 100;

/// Passes every item to `take`, page by page.
pub(super) async fn each_page<T, Id: Copy>(
    page: impl AsyncFn(PageRequest<Id>) -> Result<Page<T, Id>, Error>,
    mut take: impl FnMut(Vec<T>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let size = PageSize::new(LARGEST_PAGE)?;
    let mut start = PageStart::First;
    loop {
        let found = page(PageRequest { size, start }).await?;
        take(found.items)?;
        match found.next {
            Some(id) => start = PageStart::After(id),
            None => return Ok(()),
        }
    }
}

/// The first `limit` items, or those that follow the one with the id `after`, page by page.
pub(super) async fn first<T, Id: Copy>(
    limit: u32,
    after: Option<Id>,
    page: impl AsyncFn(PageRequest<Id>) -> Result<Page<T, Id>, Error>,
) -> Result<Vec<T>, Error> {
    let mut items = Vec::new();
    let mut start = after.map_or(PageStart::First, PageStart::After);
    loop {
        let missing = limit - u32::try_from(items.len()).unwrap_or(limit).min(limit);
        if missing == 0 {
            return Ok(items);
        }
        let size = PageSize::new(missing.min(LARGEST_PAGE))?;
        let found = page(PageRequest { size, start }).await?;
        items.extend(found.items);
        match found.next {
            Some(id) => start = PageStart::After(id),
            None => return Ok(items),
        }
    }
}
