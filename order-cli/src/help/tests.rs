//! What the help says, and in which order.

use super::*;
use crate::Cli;

type Program = Shown<Cli>;

const ID: &str = "019b0000-0000-7000-8000-000000000000";

/// All commands that do something, with their paths.
fn commands() -> Vec<(String, Command)> {
    fn collect(command: &Command, path: &str, all: &mut Vec<(String, Command)>) {
        for below in command.get_subcommands() {
            let path = format!("{path} {}", below.get_name());
            collect(below, &path, all);
        }
        if command.get_subcommands().next().is_none() {
            all.push((path.trim().to_owned(), command.clone()));
        }
    }
    let mut all = Vec::new();
    collect(&Program::command(), "", &mut all);
    all
}

fn help(path: &str, flag: &str) -> String {
    let arguments = ["order-cli"].into_iter().chain(path.split_whitespace());
    let shown = Program::command().try_get_matches_from(arguments.chain([flag]));
    shown.unwrap_err().to_string()
}

/// The words of an example, as a shell reads them.
fn words(example: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for letter in example.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words
}

#[test]
fn the_flags_are_consistent() {
    Program::command().debug_assert();
}

#[test]
fn every_command_and_argument_has_help() {
    fn check(command: &Command) {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name} has no help");
        for argument in command.get_arguments() {
            let help = argument.get_help();
            assert!(help.is_some(), "{name}: {} has no help", argument.get_id());
        }
        command.get_subcommands().for_each(check);
    }
    check(&Program::command());
}

#[test]
fn what_is_a_commands_own_comes_first_and_examples_last() {
    for (path, command) in commands() {
        for flag in ["-h", "--help"] {
            let text = help(&path, flag);
            let at = |part: &str| text.find(part).unwrap_or(text.len());
            let shared = at(SHARED);
            for one in command.get_arguments().filter(|one| !one.is_hide_set()) {
                let is_rare = flag == "-h" && one.is_hide_short_help_set();
                let Some(long) = one.get_long().filter(|_| !is_rare) else {
                    continue;
                };
                let place = at(&format!("--{long}"));
                assert!(place < text.len(), "{path} {flag}: no --{long} in\n{text}");
                let is_shared = one.is_global_set();
                assert_eq!(place > shared, is_shared, "{path} {flag}: --{long}\n{text}");
            }
            assert!(at("Examples:") < text.len(), "{path} has no examples");
            assert!(at("Examples:") > at("--help"), "{path} {flag}:\n{text}");
        }
    }
}

#[test]
fn examples_are_commands_that_can_be_given() {
    let known = commands();
    for (path, examples) in EXAMPLES {
        let is_known = path.is_empty() || known.iter().any(|(name, _)| name == path);
        assert!(is_known, "there is no command {path}");
        for example in *examples {
            let variables = ["$PRODUCT", "$OTHER", "$ORDER", "$KEY"];
            let mut example = (*example).to_owned();
            for name in variables {
                example = example.replace(name, ID);
            }
            // What stands around a command is the shell's.
            let from = example.find("| order-cli ").map_or(0, |at| at + 2);
            let command = &example[from..];
            let ends = [" > ", " | ", "  # "]
                .iter()
                .filter_map(|end| command.find(end));
            let command = &command[..ends.min().unwrap_or(command.len())];
            let read = Program::try_parse_from(words(command));
            assert!(read.is_ok(), "{command}: {}", read.err().unwrap());
        }
    }
}

#[test]
fn shared_options_are_shown_where_they_do_something() {
    let list = help("product list", "--help");
    for option in ["--database-url", "--redis-url", "--cache-ttl", "--output"] {
        assert!(list.contains(option), "no {option} in\n{list}");
    }
    let short = help("product list", "-h");
    assert!(!short.contains("--database-acquire-timeout-ms"), "{short}");
    for (path, option) in [
        ("verify", "--redis-url"),
        ("key list", "--cache-ttl"),
        ("bench", "--no-migrate"),
        ("openapi", "--database-url"),
        ("completions", "--output"),
        ("man", "--log-format"),
        ("health", "--database-url"),
    ] {
        let text = help(path, "--help");
        assert!(!text.contains(option), "{path}: {option} in\n{text}");
    }
    // They may still stand anywhere.
    let arguments = "order-cli openapi --database-url sqlite://a.db".split(' ');
    let cli = Program::try_parse_from(arguments).ok().unwrap().0;
    assert_eq!(cli.database.database_url, "sqlite://a.db");
    let arguments = "order-cli --database-url sqlite://b.db key list".split(' ');
    let cli = Program::try_parse_from(arguments).ok().unwrap().0;
    assert_eq!(cli.database.database_url, "sqlite://b.db");
}

#[test]
fn the_columns_of_files_are_named() {
    for (path, columns) in [
        (
            "order bulk",
            &[
                "product_id",
                "quantity",
                "reference",
                "customer",
                "hold_seconds",
                "idempotency_key",
            ][..],
        ),
        (
            "product import",
            &[
                "sku",
                "name",
                "price",
                "stock",
                "stock_delta",
                "version",
                "id",
                "limit_per_customer",
                "on_sale_from",
                "on_sale_until",
            ],
        ),
        (
            "product export",
            &[
                "id",
                "sku",
                "name",
                "price",
                "stock",
                "version",
                "limit_per_customer",
                "on_sale_from",
                "on_sale_until",
            ],
        ),
    ] {
        let text = help(path, "--help");
        let told = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for column in columns {
            let is_named = [",", ".", " "]
                .iter()
                .any(|end| told.contains(&format!(" {column}{end}")));
            assert!(is_named, "{path}: no {column} in\n{text}");
        }
    }
}

#[test]
fn states_scopes_and_strategies_are_listed() {
    for (path, option, names) in [
        ("order list", "status", 7),
        ("key create", "scopes", 6),
        ("worker run", "strategy", 3),
        ("queue redrive", "topic", 2),
    ] {
        let all = commands();
        let (_, command) = all.iter().find(|(name, _)| name == path).unwrap();
        let option = command.get_arguments().find(|one| one.get_id() == option);
        assert_eq!(option.unwrap().get_possible_values().len(), names, "{path}");
    }
}
