//! Pages of lists.

use crate::domain::{MAX_OFFSET_ROWS, Page, PageRequest, PageStart};

/// A page of `all`, which are sorted newest first.
pub(super) fn page<T, Id: Copy + Ord>(
    all: Vec<T>,
    request: &PageRequest<Id>,
    id: impl Fn(&T) -> Id,
) -> Page<T, Id> {
    let total = all.len().min(MAX_OFFSET_ROWS as usize) as u64;
    let (skip, total) = match request.start {
        PageStart::Offset(rows) => (rows as usize, Some(total)),
        _ => (0, None),
    };
    let mut items: Vec<T> = all
        .into_iter()
        .filter(|item| !matches!(request.start, PageStart::After(after) if id(item) >= after))
        .skip(skip)
        .collect();
    let size = request.size.get() as usize;
    let more = items.len() > size;
    items.truncate(size);
    let next = if more { items.last().map(&id) } else { None };
    Page { items, next, total }
}
