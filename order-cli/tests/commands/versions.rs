//! Programs whose schema is not that of the database: an older one, and a newer one.

use std::path::Path;

use order_core::testing::PostgresServer;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use super::shell;

/// A newer program has migrated.
const LATER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum,
     execution_time) VALUES (9999, 'later', true, '\\x00', 1)";
/// An older program was the last to migrate: the newest migration is not applied.
const EARLIER: &str = "DELETE FROM _sqlx_migrations
     WHERE version = (SELECT max(version) FROM _sqlx_migrations)";

/// Runs a command, with migrations or without; whether it succeeded, and what it said.
fn run(dir: &Path, url: &str, no_migrate: bool, arguments: &[&str]) -> (bool, String) {
    let mut command = shell::command(dir, arguments);
    let no_migrate = if no_migrate { "true" } else { "false" };
    command
        .env("DATABASE_URL", url)
        .env("NO_MIGRATE", no_migrate)
        .env("RUST_LOG", "off");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

fn execute(url: &str, statement: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        if url.starts_with("sqlite:") {
            let statement = AssertSqlSafe(statement.replace("'\\x", "x'"));
            let mut connection = SqliteConnection::connect(url).await.unwrap();
            let query = sqlx::query(statement);
            query.execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        } else {
            let statement = AssertSqlSafe(statement.to_owned());
            let mut connection = PgConnection::connect(url).await.unwrap();
            let query = sqlx::query(statement);
            query.execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    });
}

const LIST: [&str; 2] = ["product", "list"];

/// What is missing is said, and what to do: no statement would work.
fn refuses_what_is_older(dir: &Path, url: &str) {
    let (done, said) = run(dir, url, true, &LIST);
    assert!(!done && said.contains("`order-cli migrate`"), "{said}");
    assert_eq!(run(dir, url, false, &["migrate"]), (true, String::new()));
    let (done, said) = run(dir, url, true, &LIST);
    assert!(done, "{said}");
    execute(url, EARLIER);
    let (done, said) = run(dir, url, true, &LIST);
    assert!(
        !done && said.contains(" missing), and NO_MIGRATE is set"),
        "{said}"
    );
}

/// It goes on only when it is told not to migrate.
fn goes_on_with_what_is_newer(dir: &Path, url: &str) {
    assert_eq!(run(dir, url, false, &["migrate"]), (true, String::new()));
    execute(url, LATER);
    for arguments in [&LIST[..], &["migrate"]] {
        let (done, said) = run(dir, url, false, arguments);
        let told = "a newer version migrated the database, by what this one does not know (9999): \
                    set NO_MIGRATE=true";
        assert!(!done && said.contains(told), "{said}");
    }
    let (done, said) = run(dir, url, true, &LIST);
    assert!(done, "{said}");
}

#[test]
fn a_schema_of_another_version_is_told_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    for (file, check) in [
        ("older.db", refuses_what_is_older as fn(&Path, &str)),
        ("newer.db", goes_on_with_what_is_newer),
    ] {
        let url = format!("sqlite://{}", dir.path().join(file).display());
        check(dir.path(), &url);
    }
}

#[test]
fn a_schema_of_another_version_is_told_on_postgres() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for check in [
        refuses_what_is_older as fn(&Path, &str),
        goes_on_with_what_is_newer,
    ] {
        let url = runtime.block_on(PostgresServer::shared().empty_database());
        check(dir.path(), &url);
    }
}
