//! Numbers at the ends of their ranges: each works, or is refused by its name. Nothing panics.

#[path = "../../order-server/tests/numbers/mod.rs"]
mod numbers;

use std::{ffi::OsString, time::Duration};

use clap::{Command, CommandFactory};
use order_core::supervise::catch;
use order_server::runtime::parse_from;
use tokio::time::timeout;

use self::numbers::{Panics, is_a_number};
use super::{Cli, dispatch};

const VALUES: [u64; 5] = [0, 1, u32::MAX as u64, i64::MAX as u64, u64::MAX];
/// The time limit of each command: some have a lot to do.
const LIMIT: Duration = Duration::from_millis(500);
const ID: &str = "019b0000-0000-7000-8000-000000000000";

/// The arguments that a command needs besides the number that is tried.
fn needs(command: &str) -> &'static [(&'static str, &'static str)] {
    match command {
        "product create" => &[("name", "p"), ("price", "1"), ("stock", "1")],
        "product update" | "product stock" => &[("id", ID)],
        "product adjust" => &[("id", ID), ("delta", "1")],
        "order bulk" => &[("product", ID), ("count", "1")],
        "worker run" => &[("drain", "true")],
        "bench" => &[
            ("case", "purchase"),
            ("products", "1"),
            ("orders", "1"),
            ("runs", "1"),
        ],
        "archive" => &[("before", "2020-01-01"), ("dry_run", "true")],
        "product list" | "order list" | "audit" | "queue dead" | "queue tasks" | "verify" => &[],
        other => panic!("say what `{other}` needs, so that its numbers can be tried"),
    }
}

/// The numbers of a command and of all below it.
fn numbers(command: &Command, path: &[String]) -> Vec<(String, String)> {
    let name = path.join(" ");
    let own = command.get_arguments().filter(|one| is_a_number(one));
    let mut all: Vec<_> = own
        .map(|one| (name.clone(), one.get_id().to_string()))
        .collect();
    for below in command.get_subcommands() {
        let path = [path, &[below.get_name().to_owned()]].concat();
        all.extend(numbers(below, &path));
    }
    all
}

/// A call of a command with one of its numbers.
fn call(database: &str, command: &str, number: &str, value: u64) -> Vec<OsString> {
    let mut known = Cli::command();
    for name in command.split(' ') {
        known = known.find_subcommand(name).unwrap().clone();
    }
    let mut given: Vec<(&str, String)> = needs(command)
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    match given.iter_mut().find(|(name, _)| *name == number) {
        Some((_, given)) => *given = value.to_string(),
        None => given.push((number, value.to_string())),
    }
    let mut arguments = vec!["order-cli".to_owned(), database.to_owned()];
    arguments.push("--output=json".to_owned());
    arguments.extend(command.split(' ').map(ToOwned::to_owned));
    for (name, value) in given {
        let argument = known.get_arguments().find(|one| one.get_id() == name);
        arguments.push(match argument {
            Some(one) if one.is_positional() => value,
            Some(one) if !one.get_action().takes_values() => {
                format!("--{}", name.replace('_', "-"))
            }
            // Those of all commands are known to the first one only.
            _ => format!("--{}={value}", name.replace('_', "-")),
        });
    }
    arguments.into_iter().map(OsString::from).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_makes_a_command_panic() {
    let panics = Panics::record();
    let dir = tempfile::tempdir().unwrap();
    let mut all = numbers(&Cli::command(), &[]);
    for (command, _) in &mut all {
        if command.is_empty() {
            // What all commands take, one shows.
            "verify".clone_into(command);
        }
    }
    assert!(all.len() > 15, "{all:?}");
    let mut wrong = Vec::new();
    for (command, number) in all {
        for value in VALUES {
            // A file of its own: what is dropped in the middle may still be writing.
            let file = format!("{command}-{number}-{value}.db").replace(' ', "-");
            let database = format!("--database-url=sqlite://{}/{file}", dir.path().display());
            let arguments = call(&database, &command, &number, value);
            match parse_from::<Cli>(arguments, "") {
                // Refused, done, or not done yet.
                Ok(cli) => drop(catch("test", timeout(LIMIT, dispatch(cli))).await),
                Err(error) => {
                    let error = error.to_string();
                    if !error.to_lowercase().contains(&number.replace('_', "-")) {
                        wrong.push(format!("{command} {number}={value}: {error}"));
                    }
                }
            }
            let of = |panic| format!("{command} {number}={value}: {panic}");
            wrong.extend(panics.take().into_iter().map(of));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
