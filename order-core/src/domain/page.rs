//! Pages of a list: continued after an id, or by page number near the front.

use super::ValidationError;

/// The depth in rows up to which page numbers reach. Past it, a cursor does.
pub const MAX_OFFSET_ROWS: u32 = 10_000;

/// The number of items of a page, 1..=100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// What is looked through at once for a page whose items have to be looked for.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) const STEP: Self = Self(1_000);

    /// # Errors
    /// [`ValidationError`] that names `page_size`, when out of 1..=100.
    pub fn new(size: u32) -> Result<Self, ValidationError> {
        if (1..=100).contains(&size) {
            Ok(Self(size))
        } else {
            Err(ValidationError::new("page_size", "must be from 1 to 100"))
        }
    }

    /// The count of items.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(20)
    }
}

/// The start of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageStart<Id> {
    /// At the first item.
    #[default]
    First,
    /// Right after this item.
    After(Id),
    /// After so many items; the answer then counts the total.
    Offset(u32),
}

/// A request for one page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest<Id> {
    /// The most items to give.
    pub size: PageSize,
    /// The start.
    pub start: PageStart<Id>,
}

impl<Id> Default for PageRequest<Id> {
    fn default() -> Self {
        Self {
            size: PageSize::default(),
            start: PageStart::First,
        }
    }
}

impl<Id: Copy> PageRequest<Id> {
    /// The page numbered `page`, from 1.
    ///
    /// # Errors
    /// [`ValidationError`] that names `page`, when it is 0 or reaches past [`MAX_OFFSET_ROWS`].
    pub fn numbered(page: u32, size: PageSize) -> Result<Self, ValidationError> {
        let end = u64::from(page) * u64::from(size.get());
        if page == 0 {
            return Err(ValidationError::new("page", "must be at least 1"));
        }
        if end > u64::from(MAX_OFFSET_ROWS) {
            let reason = format!("reaches past {MAX_OFFSET_ROWS} rows: use the cursor");
            return Err(ValidationError::new("page", reason));
        }
        Ok(Self {
            size,
            start: PageStart::Offset((page - 1) * size.get()),
        })
    }

    /// The id to continue after and the rows to skip, as a query takes them.
    pub(crate) fn bounds(&self) -> (Option<Id>, i64) {
        match self.start {
            PageStart::First => (None, 0),
            PageStart::After(id) => (Some(id), 0),
            PageStart::Offset(rows) => (None, i64::from(rows)),
        }
    }

    /// One more row than the page holds: its presence tells that another page follows.
    pub(crate) fn limit(&self) -> i64 {
        i64::from(self.size.get()) + 1
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, Id> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// The id after which the next page starts; `None` at the end.
    pub next: Option<Id>,
    /// The number of items of the whole list, at most [`MAX_OFFSET_ROWS`]; given for page numbers
    /// only.
    pub total: Option<u64>,
}

impl<T, Id> Page<T, Id> {
    /// A page from up to `request.limit()` rows.
    pub(crate) fn from_rows(
        mut items: Vec<T>,
        size: PageSize,
        id: impl Fn(&T) -> Id,
        total: Option<u64>,
    ) -> Self {
        let size = size.get() as usize;
        let more = items.len() > size;
        items.truncate(size);
        Self {
            next: items.last().filter(|_| more).map(id),
            items,
            total,
        }
    }
}
