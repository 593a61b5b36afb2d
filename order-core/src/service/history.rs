//! History that ends.

use super::OrderService;
use crate::{
    domain::bounded,
    error::Error,
    history::{self, ArchiveOptions, Archived, Erased},
};

impl OrderService {
    /// Archives orders that are at their end: writes them to files, and deletes them, while others are
    /// sold. Goes on where an earlier run ended. It needs the rights of whoever owns the tables.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `before` when that is not past, or less ago than the retention of
    /// idempotency keys, or `orders_per_file`; [`Error::Archive`] that names a file;
    /// [`Error::Locked`] when somebody else archives; [`Error::Unsupported`] when the store cannot;
    /// and the backend's.
    pub async fn archive(&self, options: ArchiveOptions) -> Result<Archived, Error> {
        self.run_to_completion(move |inner| async move {
            let store = inner.history_store()?;
            history::archive(&*store, &options).await
        })
        .await
    }

    /// Empties what is personal of a customer in the orders that are not archived: they name nobody
    /// and have no reference any more, and what the customer has counts towards no limit. Done again, it
    /// finds nothing.
    ///
    /// # Errors
    /// [`Error::OpenOrders`] when orders of the customer are not at their end;
    /// [`Error::Invalid`] that names `customer`; [`Error::Unsupported`] when the store cannot;
    /// and the backend's.
    pub async fn erase_customer(&self, customer: &str) -> Result<Erased, Error> {
        let customer = bounded("customer", customer.to_owned(), 1, 64)?;
        self.run_to_completion(move |inner| async move {
            inner.history_store()?.erase_customer(&customer).await
        })
        .await
    }
}
