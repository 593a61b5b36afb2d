//! Pages of lists.

use crate::domain::{MAX_OFFSET_ROWS, Page, PageRequest, PageStart, Sort};

/// A page of `all`, which come in any order.
pub(super) fn page<T, Id: Copy + Ord>(
    mut all: Vec<T>,
    sort: Sort,
    request: &PageRequest<Id>,
    id: impl Fn(&T) -> Id,
) -> Page<T, Id> {
    let total = all.len().min(MAX_OFFSET_ROWS as usize) as u64;
    let (skip, total) = match request.start {
        PageStart::Offset(rows) => (rows as usize, Some(total)),
        _ => (0, None),
    };
    sort.arrange(&mut all, &id);
    let is_left = |item: &T| match request.start {
        PageStart::After(after) => sort.is_after(&id(item), &after),
        _ => true,
    };
    let mut items: Vec<T> = all.into_iter().filter(is_left).skip(skip).collect();
    let size = request.size.get() as usize;
    let more = items.len() > size;
    items.truncate(size);
    let next = if more { items.last().map(&id) } else { None };
    Page { items, next, total }
}
