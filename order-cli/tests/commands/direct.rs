//! Migrations that take a way of their own to the database (`MIGRATE_DATABASE_URL`).

use std::path::Path;

use order_core::testing::{PgBouncer, PostgresServer};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::shell;

/// Runs a command with these two ways to the database; whether it succeeded, and what it said.
fn run(dir: &Path, url: &str, to_migrate: Option<&str>, arguments: &[&str]) -> (bool, String) {
    let mut command = shell::command(dir, arguments);
    command
        .env("DATABASE_URL", url)
        .env("MIGRATE_DATABASE_URL", to_migrate.unwrap_or_default())
        .env("RUST_LOG", "off");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

fn through(url: &str, pooler: &PgBouncer) -> String {
    let from = PostgresServer::shared().port();
    url.replace(&format!(":{from}/"), &format!(":{}/", pooler.port()))
}

async fn execute(url: &str, statement: String) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let query = sqlx::query(AssertSqlSafe(statement));
    query.execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

const CREATE: [&str; 8] = [
    "product", "create", "--name", "p", "--price", "1", "--stock", "1",
];
const LIST: [&str; 2] = ["product", "list"];
const STATUS: [&str; 2] = ["migrate", "--status"];

/// The database is behind a real pgbouncer that gives a server to each transaction: migrations go
/// past it, and what needs sessions says that it has none.
#[test]
fn migrations_go_past_a_pooler() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = PostgresServer::shared();
    let direct = runtime.block_on(server.empty_database());
    let run =
        |url: &str, to_migrate, arguments: &[&str]| run(dir.path(), url, to_migrate, arguments);
    let transactions = PgBouncer::start(server.port(), "transaction");
    let url = through(&direct, &transactions);
    let (done, said) = run(&url, None, &["migrate"]);
    assert!(!done && said.contains("pool_mode = session"), "{said}");
    let (done, said) = run(&url, Some(&direct), &STATUS);
    assert!(!done && said.contains("pending"), "{said}");
    assert_eq!(
        run(&url, Some(&direct), &["migrate"]),
        (true, String::new())
    );
    let (done, said) = run(&url, Some(&direct), &STATUS);
    assert!(done && !said.contains("pending"), "{said}");
    // The other way round, and for what is no migration, the pooler has no sessions to give.
    let (done, said) = run(&direct, Some(&url), &["migrate"]);
    let refused = "migrate_database_url leads to a pooler";
    assert!(!done && said.contains(refused), "{said}");
    let (done, said) = run(&url, Some(&direct), &LIST);
    assert!(
        !done && said.contains("database_url leads to a pooler"),
        "{said}"
    );

    let sessions = PgBouncer::start(server.port(), "session");
    let url = through(&direct, &sessions);
    let (done, said) = run(&url, Some(&direct), &CREATE);
    assert!(done, "{said}");
}

/// A role that may not change the schema sells on what its owner migrates, and a mistake is told.
#[test]
fn migrations_have_a_role_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = PostgresServer::shared();
    let owner = runtime.block_on(server.empty_database());
    let run =
        |url: &str, to_migrate, arguments: &[&str]| run(dir.path(), url, to_migrate, arguments);
    runtime.block_on(async {
        server
            .execute("CREATE ROLE direct_app LOGIN".to_owned())
            .await;
        for what in ["TABLES", "SEQUENCES"] {
            let grant = format!("ALTER DEFAULT PRIVILEGES GRANT ALL ON {what} TO direct_app");
            execute(&owner, grant).await;
        }
    });
    let app = owner.replace("://postgres@", "://direct_app@");
    let (done, said) = run(&app, None, &CREATE);
    assert!(!done && said.contains("permission denied"), "{said}");
    let (done, said) = run(&app, Some(&owner), &CREATE);
    assert!(done, "{said}");
    let (done, said) = run(&app, None, &["product", "list", "--no-migrate"]);
    assert!(done && said.contains("\"p\""), "{said}");

    let other = runtime.block_on(server.empty_database());
    let elsewhere = runtime.block_on(server.empty_database());
    let (done, said) = run(&other, Some(&elsewhere), &CREATE);
    assert!(
        !done && said.contains("MIGRATE_DATABASE_URL leads to another database"),
        "{said}"
    );
    let gone = "postgres://u:s3cr3t@127.0.0.1:9/x";
    let (done, said) = run(
        &app,
        Some(gone),
        &["migrate", "--database-acquire-timeout-ms", "200"],
    );
    assert!(
        !done && said.ends_with("set MIGRATE_DATABASE_URL\n"),
        "{said}"
    );
    assert!(!said.contains("s3cr3t"), "{said}");
}
