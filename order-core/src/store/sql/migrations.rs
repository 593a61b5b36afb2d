//! The migrations of a program beside those that a database has.

use std::collections::BTreeMap;

use sqlx::migrate::{AppliedMigration, Migrate, Migrator};

use crate::{
    error::Error,
    store::migration::{Migration, MigrationState},
};

/// The table where sqlx keeps what was applied.
pub(super) const TABLE: &str = "_sqlx_migrations";

/// What the database has applied; nothing if `is_begun` is false, for there is no table then.
pub(super) async fn compare(
    migrator: &Migrator,
    connection: &mut impl Migrate,
    is_begun: bool,
) -> Result<Vec<Migration>, Error> {
    let applied = if is_begun {
        connection.list_applied_migrations(TABLE).await?
    } else {
        Vec::new()
    };
    Ok(compared(migrator, applied))
}

fn compared(migrator: &Migrator, applied: Vec<AppliedMigration>) -> Vec<Migration> {
    let applied = applied.into_iter();
    let mut applied: BTreeMap<i64, _> = applied.map(|one| (one.version, one.checksum)).collect();
    let mut migrations: Vec<Migration> = migrator
        .iter()
        .map(|known| Migration {
            version: known.version,
            description: known.description.to_string(),
            state: match applied.remove(&known.version) {
                None => MigrationState::Pending,
                Some(checksum) if checksum == known.checksum => MigrationState::Applied,
                Some(_) => MigrationState::Changed,
            },
        })
        .collect();
    migrations.extend(applied.into_keys().map(|version| Migration {
        version,
        description: String::new(),
        state: MigrationState::Unknown,
    }));
    migrations.sort_by_key(|migration| migration.version);
    migrations
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use sqlx::migrate::{Migration as Known, MigrationType};

    use super::*;

    #[test]
    fn what_is_applied_is_compared_with_what_is_known() {
        let known = |version, sql: &'static str| {
            let text = sqlx::AssertSqlSafe(sql);
            let description = Cow::Borrowed("d");
            Known::new(
                version,
                description,
                MigrationType::Simple,
                sqlx::SqlSafeStr::into_sql_str(text),
                false,
            )
        };
        let all = vec![known(1, "a"), known(2, "b"), known(3, "c")];
        let applied = |version, checksum| AppliedMigration { version, checksum };
        let applied = vec![
            applied(1, all[0].checksum.clone()),
            applied(2, all[0].checksum.clone()),
            applied(9, all[0].checksum.clone()),
        ];
        let migrator = Migrator::with_migrations(all);
        let states: Vec<_> = compared(&migrator, applied)
            .into_iter()
            .map(|migration| (migration.version, migration.state))
            .collect();
        let expected = [
            (1, MigrationState::Applied),
            (2, MigrationState::Changed),
            (3, MigrationState::Pending),
            (9, MigrationState::Unknown),
        ];
        assert_eq!(states, expected);
    }
}
