//! What rows of the databases become: of each one that this build has.

/// A type that rows of either database can become.
pub(crate) trait Row: PostgresRow + SqliteRow + Send + Unpin {}

impl<T: PostgresRow + SqliteRow + Send + Unpin> Row for T {}

#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::{FromRow, postgres::PgRow};

    pub(crate) trait PostgresRow: for<'r> FromRow<'r, PgRow> {}

    impl<T: for<'r> FromRow<'r, PgRow>> PostgresRow for T {}
}

#[cfg(not(feature = "postgres"))]
mod postgres {
    pub(crate) trait PostgresRow {}

    impl<T> PostgresRow for T {}
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use sqlx::{FromRow, sqlite::SqliteRow as DriverRow};

    pub(crate) trait SqliteRow: for<'r> FromRow<'r, DriverRow> {}

    impl<T: for<'r> FromRow<'r, DriverRow>> SqliteRow for T {}
}

#[cfg(not(feature = "sqlite"))]
mod sqlite {
    pub(crate) trait SqliteRow {}

    impl<T> SqliteRow for T {}
}

use postgres::PostgresRow;
use sqlite::SqliteRow;
