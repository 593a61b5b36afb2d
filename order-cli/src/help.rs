//! How commands are shown, in help, manual pages and completions: what belongs to a command comes
//! first, what belongs to all comes under a heading, and only where it does something; then examples.

use clap::{
    Arg, ArgMatches, Command, CommandFactory, Error, FromArgMatches, Parser,
    builder::{Resettable, StyledStr},
};

/// The heading of what several commands take.
const SHARED: &str = "Options of all commands";
/// What is told by `-h`; `--help` tells of all.
const OFTEN_USED: [&str; 3] = ["database_url", "redis_url", "output"];
/// What reaches the queue and the cache.
const REDIS: [&str; 2] = ["redis_url", "cache_ttl"];
/// The commands that do.
const WITH_REDIS: [&str; 4] = ["product", "order", "worker", "queue"];

/// A command line as it is shown.
pub(crate) struct Shown<C>(pub(crate) C);

impl<C: CommandFactory> CommandFactory for Shown<C> {
    fn command() -> Command {
        shown(C::command())
    }

    fn command_for_update() -> Command {
        shown(C::command_for_update())
    }
}

impl<C: FromArgMatches> FromArgMatches for Shown<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        C::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<C: Parser> Parser for Shown<C> {}

fn shown(command: Command) -> Command {
    // Own arguments are numbered from 0.
    let mut place = 1_000;
    let command = command.mut_args(|one| {
        if !one.is_global_set() {
            return one;
        }
        place += 1;
        let is_rare = !OFTEN_USED.contains(&one.get_id().as_str());
        // Manual pages leave out the short help of what `-h` leaves out.
        let help: Resettable<StyledStr> = one.get_help().cloned().into();
        let one = one.help_heading(SHARED).display_order(place);
        one.hide_short_help(is_rare).long_help(help)
    });
    let shared: Vec<Arg> = command
        .get_arguments()
        .filter(|one| one.is_global_set())
        .cloned()
        .collect();
    with_shared(command, &[], &shared)
}

/// Gives a command, and those below it, their examples and those of the shared options that do
/// something there. The others stay, unseen: they may be given anywhere.
fn with_shared(mut command: Command, path: &[&str], shared: &[Arg]) -> Command {
    let name = path.join(" ");
    if let Some((_, examples)) = EXAMPLES.iter().find(|(of, _)| *of == name) {
        let examples: String = examples.iter().map(|one| format!("\n  {one}")).collect();
        command = command.after_help(format!("Examples:{examples}"));
    }
    if !path.is_empty() {
        let acts = |one: &Arg| acts(one.get_id().as_str(), path);
        command = command.args(shared.iter().map(|one| one.clone().hide(!acts(one))));
    }
    let below: Vec<String> = command
        .get_subcommands()
        .map(|one| one.get_name().to_owned())
        .collect();
    for name in below {
        command = command.mut_subcommand(&name, |one| {
            let path = [path, &[name.as_str()]].concat();
            with_shared(one, &path, shared)
        });
    }
    command
}

/// Tells whether a shared option does something in a command.
fn acts(option: &str, path: &[&str]) -> bool {
    match path {
        ["health" | "completions" | "man", ..] => false,
        ["openapi"] => option == "currency",
        ["bench"] => matches!(option, "database_url" | "output" | "log_format"),
        [first, ..] => !REDIS.contains(&option) || WITH_REDIS.contains(first),
        [] => true,
    }
}

/// Examples by their commands.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "order-cli product create --name Lamp --price 19.99 --stock 3",
            "order-cli order list --status failed -o csv",
            "order-cli --database-url postgres://user:password@localhost/orders verify",
        ],
    ),
    (
        "product create",
        &[
            "order-cli product create --name Lamp --price 19.99 --stock 3 --sku L-1",
            "order-cli product create --name Ticket --price 80 --stock 500 --limit-per-customer 4 \
             --on-sale-from 2027-01-15T09:00:00Z",
        ],
    ),
    (
        "product get",
        &[
            "order-cli product get $PRODUCT",
            "order-cli product get --sku L-1",
        ],
    ),
    (
        "product list",
        &[
            "order-cli product list --search lamp",
            "order-cli product list --since 2027-01-01T00:00:00Z --limit 100 -o csv",
            "order-cli product list --sort oldest",
        ],
    ),
    (
        "product update",
        &[
            "order-cli product update $PRODUCT --price 17.50",
            "order-cli product update $PRODUCT --no-sku --no-sale-window",
        ],
    ),
    (
        "product adjust",
        &["order-cli product adjust $PRODUCT -2 --reason broken"],
    ),
    (
        "product stock",
        &["order-cli product stock $PRODUCT --limit 100"],
    ),
    (
        "product import",
        &[
            "order-cli product export --file products.csv",
            "order-cli product import products.csv --dry-run",
            "order-cli product import products.csv --rejects rejected.csv",
            "order-cli product import counted.csv --set-stock",
            "printf 'sku,stock_delta\\nL-1,50\\n' | order-cli product import - --key delivery-4711",
        ],
    ),
    (
        "product export",
        &[
            "order-cli product export --file products.csv",
            "order-cli product export --spreadsheet --file products.csv",
            "order-cli product export -o json",
        ],
    ),
    (
        "product delete",
        &["order-cli product delete $PRODUCT --yes"],
    ),
    (
        "order place",
        &["order-cli order place --line $PRODUCT:2 --reference cart-7"],
    ),
    (
        "order purchase",
        &[
            "order-cli order purchase --line $PRODUCT:1 --line $OTHER:2 --idempotency-key cart-7",
            "order-cli order purchase --line $PRODUCT:1 --customer ada --hold 600",
        ],
    ),
    (
        "order bulk",
        &[
            "order-cli order bulk --product $PRODUCT --count 1000",
            "order-cli order bulk --file orders.csv --rejects rejected.csv",
        ],
    ),
    ("order get", &["order-cli order get $ORDER"]),
    (
        "order list",
        &[
            "order-cli order list --status failed --since 2027-01-15T09:00:00Z",
            "order-cli order list --customer ada --limit 100 -o csv",
            "order-cli order list --sort oldest --after $ORDER",
        ],
    ),
    ("order confirm", &["order-cli order confirm $ORDER"]),
    (
        "order extend",
        &["order-cli order extend $ORDER --hold 600"],
    ),
    (
        "order cancel",
        &[
            "order-cli order cancel $ORDER",
            "order-cli order cancel $ORDER --line $PRODUCT:1 --idempotency-key return-7",
        ],
    ),
    ("order process", &["order-cli order process $ORDER"]),
    ("order attempts", &["order-cli order attempts $ORDER"]),
    ("order watch", &["order-cli order watch $ORDER"]),
    (
        "worker run",
        &[
            "order-cli worker run --processor simulate:250ms",
            "order-cli worker run --drain",
        ],
    ),
    ("queue stats", &["order-cli queue stats"]),
    ("queue tasks", &["order-cli queue tasks --state retrying"]),
    (
        "queue dead",
        &[
            "order-cli queue dead --by-reason",
            "order-cli queue dead --reason 'timed out' --since 2027-01-15T09:00:00Z",
        ],
    ),
    (
        "queue redrive",
        &[
            "order-cli queue redrive $ORDER",
            "order-cli queue redrive --reason 'timed out'",
            "order-cli queue redrive --all",
        ],
    ),
    ("queue pause", &["order-cli queue pause process"]),
    ("queue resume", &["order-cli queue resume process"]),
    (
        "client create",
        &["order-cli client create --name 'till 1'"],
    ),
    ("client list", &["order-cli client list"]),
    (
        "key create",
        &[
            "order-cli key create --name admin --scope admin",
            "order-cli key create --name 'till 1' --scope orders --scope read \
             --expires 2030-01-31T00:00:00Z",
        ],
    ),
    ("key list", &["order-cli key list"]),
    ("key revoke", &["order-cli key revoke $KEY"]),
    (
        "audit",
        &[
            "order-cli audit --action product.update --since 2027-01-15T09:00:00Z",
            "order-cli audit --subject $PRODUCT",
        ],
    ),
    (
        "bench",
        &[
            "order-cli bench --case decide --orders 20000 --runs 3",
            "order-cli bench --shape zipf --products 1000",
        ],
    ),
    ("stats", &["order-cli stats"]),
    ("workers", &["order-cli workers"]),
    (
        "migrate",
        &["order-cli migrate", "order-cli migrate --status"],
    ),
    (
        "health",
        &[
            "order-cli health",
            "order-cli health --bind-addr localhost:8000",
        ],
    ),
    ("openapi", &["order-cli openapi > openapi.json"]),
    (
        "completions",
        &[
            "order-cli completions bash > ~/.local/share/bash-completion/completions/order-cli",
            "order-cli completions zsh > ~/.zfunc/_order-cli  # with ~/.zfunc in fpath",
            "order-cli completions fish > ~/.config/fish/completions/order-cli.fish",
        ],
    ),
    (
        "man",
        &[
            "order-cli man | man -l -",
            "order-cli man --dir ~/.local/share/man/man1",
        ],
    ),
    (
        "archive",
        &[
            "order-cli archive --before 2026-01-01 --dry-run",
            "order-cli archive --before 2026-01-01 --dir /var/lib/orders/archive --yes",
        ],
    ),
    ("erase", &["order-cli erase --customer ada"]),
    (
        "verify",
        &[
            "order-cli verify",
            "order-cli verify --since 2027-01-15T00:00:00Z",
            "order-cli verify --sample 10",
        ],
    ),
];

#[cfg(test)]
#[path = "help/tests.rs"]
mod tests;
