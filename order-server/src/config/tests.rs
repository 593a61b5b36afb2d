//! Settings from each of their sources.

use std::ffi::OsString;

use order_core::store::Strategy;

use super::*;

fn read(arguments: &[&str], file: &str) -> Result<Settings, String> {
    let arguments = ["order-server"].iter().chain(arguments).map(OsString::from);
    parse_from(arguments, file).map_err(|error| error.to_string())
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let file = "bind_addr = \"127.0.0.1:1\"\nworker = \"off\"\nmax_waiting = 5";
    let settings = read(&["--bind-addr", "127.0.0.1:2"], file).unwrap();
    assert_eq!(settings.bind_addr.port(), 2);
    assert_eq!(settings.worker, WorkerMode::Off);
    assert_eq!(settings.max_waiting, 5);
    assert_eq!(settings.worker_settings.strategy, Strategy::Batch);
}

#[test]
fn several_origins_stand_in_one_setting() {
    let both = "https://shop.example,http://localhost:3000";
    let by_flag = read(&["--cors-origins", both], "").unwrap();
    assert_eq!(by_flag.http.cors_origins.len(), 2);
    let by_file = read(&[], &format!("cors_origins = \"{both}\"")).unwrap();
    assert_eq!(by_file.http, by_flag.http);
    let refused = read(&["--cors-origins", "*"], "").unwrap_err();
    assert!(refused.contains("--cors-origins"), "{refused}");
}

#[test]
fn a_wrong_value_is_named() {
    for (file, named) in [
        ("bind_adr = \"x\"", "unknown setting `bind_adr`"),
        ("bind_addr = \"x\"", "--bind-addr"),
        (
            "REDIS_URL = \"x\"",
            "unknown setting `REDIS_URL`; in this file it is `redis_url`",
        ),
        ("max_waiting = 1.5", "`max_waiting` cannot be float"),
        ("strategy = \"fast\"", "--strategy"),
    ] {
        let refused = read(&[], file).unwrap_err();
        assert!(refused.contains(named), "{file}: {refused}");
    }
}

#[test]
fn what_is_empty_is_not_set_and_names_have_addresses() {
    let file = "redis_url = \"\"\nmax_waiting = \"\"";
    let settings = read(&["--bind-addr", "localhost:8000"], file).unwrap();
    assert_eq!(settings.redis.redis_url, None);
    assert_eq!(settings.max_waiting, 10_000);
    assert!(settings.bind_addr.ip().is_loopback());
    assert_eq!(settings.bind_addr.port(), 8000);
}

#[test]
fn passwords_are_not_shown() {
    let url = "postgres://shop:s3cr3t@db/orders?password=s3cr3t";
    let settings = read(&["--database-url", url], "").unwrap();
    assert_eq!(settings.database.to_string(), "postgres://shop@db/orders");
    for url in [
        "postgres://db/o?user=shop&password=s3cr3t@x",
        "postgres://shop:s3cr3t?@db/orders",
        "postgres://shop:s3cr3t@db:port/orders",
    ] {
        let settings = read(&["--database-url", url], "").unwrap();
        assert!(!settings.database.to_string().contains("s3cr3t"), "{url}");
    }
    let several = "postgres://shop:s3cr3t@a:5432,b/orders?sslmode=require";
    let flags = ["--database-url", several, "--migrate-database-url", several];
    let settings = read(&flags, "").unwrap();
    assert_eq!(
        settings.database.to_string(),
        "postgres://shop@a:5432,b/orders"
    );
    assert!(!format!("{settings:?}").contains("s3cr3t"));
    for url in [
        "postgres://shop:s3cr3t,s3cr3t/x@a,b/orders",
        "postgres://shop:s3cr3t,#s3cr3t@a,b/orders",
        "postgres://shop:s3cr3t,?s3cr3t@a,b/orders",
        "postgres://shop:s3cr3t,x/orders",
    ] {
        let settings = read(&["--database-url", url], "").unwrap();
        assert_eq!(settings.database.to_string(), "(not a URL)", "{url}");
    }
    let settings = read(&["--redis-url", "redis://:s3cr3t@cache:6379/0"], "").unwrap();
    assert!(!format!("{settings:?}").contains("s3cr3t"));
}

#[test]
fn the_default_limits_are_those_without_flags() {
    let settings = read(&[], "").unwrap();
    assert_eq!(settings.http, HttpLimits::default());
}

#[test]
fn an_open_server_stays_on_this_machine() {
    let check = |flags: &[&str], is_open| read(flags, "").unwrap().check(is_open);
    assert!(check(&[], true).is_ok());
    for everywhere in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
        let flags = ["--bind-addr", everywhere];
        assert!(check(&flags, true).is_err(), "{everywhere}");
        assert!(check(&flags, false).is_ok(), "{everywhere}");
        let flags = ["--bind-addr", everywhere, "--insecure-no-auth"];
        assert!(check(&flags, true).is_ok(), "{everywhere}");
    }
}

#[tokio::test]
async fn a_wrong_setting_of_the_database_is_named() {
    for (flag, value) in [
        ("--database-max-connections", "0"),
        ("--database-acquire-timeout-ms", "0"),
    ] {
        let refused = read(&[flag, value], "").unwrap_err();
        assert!(refused.contains(flag), "{refused}");
    }
    for (url, schema) in [
        ("sqlite://no-such-folder/orders.db", "shop"),
        ("postgres://nobody@127.0.0.1:9/none", "Shop"),
    ] {
        let settings = read(&["--database-url", url, "--database-schema", schema], "").unwrap();
        let refused = settings.database.open().await.err().unwrap();
        let refused = format!("{refused:#}");
        assert!(refused.contains("database_schema"), "{refused}");
    }
    let postgres = "postgres://u:s3cr3t@127.0.0.1:9/none";
    for (url, to_migrate, said) in [
        (
            "postgres://u:s3cr3t@a,b/db?target_session_attrs=standby",
            None,
            "database_url has",
        ),
        (
            postgres,
            Some("postgres://u:s3cr3t@a,,b/db"),
            "migrate_database_url names",
        ),
        (
            postgres,
            Some("sqlite://orders.db"),
            "MIGRATE_DATABASE_URL is for Postgres",
        ),
        (
            "sqlite://orders.db",
            Some(postgres),
            "MIGRATE_DATABASE_URL is for Postgres",
        ),
    ] {
        let mut settings = read(&["--database-url", url], "").unwrap();
        settings.database.migrate_database_url = to_migrate.map(str::to_owned);
        let refused = settings.database.open().await.err().unwrap();
        let refused = format!("{refused:#}");
        assert!(
            refused.contains(said) && !refused.contains("s3cr3t"),
            "{refused}"
        );
    }
}

#[test]
fn the_help_shows_no_values_that_somebody_gave() {
    let file = "redis_url = \"redis://:s3cr3t@cache\"\ndatabase_url = \"postgres://u:s3cr3t@db/o\"\n\
                cors_origins = \"https://s3cr3t.example\"\nprocessor = \"webhook:https://s3cr3t/x\"";
    let help = read(&["--help"], file).unwrap_err();
    assert!(
        help.contains("--redis-url") && help.contains("[default: 127.0.0.1:8000]"),
        "{help}"
    );
    assert!(!help.contains("s3cr3t"), "{help}");
}

#[test]
fn secrets_may_stand_in_files_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("url");
    std::fs::write(&path, "postgres://u:p@db/o\n").unwrap();
    let environment = |set: &'static [&'static str]| {
        let path = path.clone();
        move |name: &str| set.contains(&name).then(|| path.clone().into_os_string())
    };
    let read = |set, arguments: &[&str], file: &str| {
        let secrets = parse::secrets_in_files(environment(set))?;
        let arguments = ["order-server"].iter().chain(arguments).map(OsString::from);
        parse::parse_with::<Settings>(arguments, file, secrets)
    };
    let file = "database_url = \"sqlite://other.db\"\nmax_waiting = 5";
    let settings = read(&["DATABASE_URL_FILE"], &[], file).unwrap();
    assert_eq!(settings.database.database_url, "postgres://u:p@db/o");
    assert_eq!(settings.max_waiting, 5);
    let flag = ["--database-url", "sqlite://flag.db"];
    let settings = read(&["DATABASE_URL_FILE"], &flag, file).unwrap();
    assert_eq!(settings.database.database_url, "sqlite://flag.db");
    let settings = read(&["REDIS_URL_FILE", "WEBHOOK_SECRETS_FILE"], &[], "").unwrap();
    assert_eq!(
        settings.redis.redis_url.as_deref(),
        Some("postgres://u:p@db/o")
    );
    let both = read(&["DATABASE_URL", "DATABASE_URL_FILE"], &[], "").unwrap_err();
    assert!(both.to_string().contains("both set"), "{both}");
    std::fs::remove_file(&path).unwrap();
    let gone = read(&["DATABASE_URL_FILE"], &[], "").unwrap_err();
    assert!(
        gone.to_string().contains("DATABASE_URL_FILE: cannot read"),
        "{gone}"
    );
}
