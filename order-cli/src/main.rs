//! The operator's command line: works on the database directly, through the same library as
//! the server.
// The middleware of the server is one nested type, through which optimized builds go by recursion.
#![recursion_limit = "256"]

mod commands;
mod output;
mod pinned_tls;
mod progress;

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};
use order_server::runtime::{
    Database, LogFormat, Redis, collector, init_telemetry, openapi_document, parse,
};

use self::output::Output;

/// Runs the order system from the command line.
#[derive(Debug, Parser)]
#[command(name = "order-cli", version)]
struct Cli {
    #[command(flatten)]
    database: Database,

    #[command(flatten)]
    redis: Redis,

    /// How to print results; a table on a terminal and JSON elsewhere unless said otherwise
    #[arg(long, short, global = true)]
    output: Option<output::Format>,

    /// How to write the log, whose levels RUST_LOG sets
    #[arg(long, env, default_value = "text", global = true)]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is for sale
    #[command(subcommand)]
    Product(commands::product::Product),
    /// What was bought
    #[command(subcommand)]
    Order(commands::order::Order),
    /// Decides what was accepted, and does what follows a sale
    #[command(subcommand)]
    Worker(commands::worker::Worker),
    /// What waits, what was given up, and pauses
    #[command(subcommand)]
    Queue(commands::queue::Queue),
    /// Who may call the server
    #[command(subcommand)]
    Key(commands::key::Key),
    /// What the ways to sell do on this database
    Bench(commands::bench::BenchArgs),
    /// Brings the schema up to date, and does nothing else
    Migrate,
    /// Asks the server on this machine whether it can serve
    Health(commands::health::Health),
    /// Writes the description of the server's API (OpenAPI, JSON)
    Openapi,
    /// Writes what a shell needs to complete these commands
    Completions(commands::completions::Completions),
    /// Proves that the books balance; exits with 1 and names what does not
    Verify,
}

impl Command {
    /// Whether it changes nothing, so that it makes no database either.
    const fn only_reads(&self) -> bool {
        use commands::{key::Key, order::Order, product::Product, queue::Queue};
        matches!(
            self,
            Self::Verify
                | Self::Product(Product::Get { .. } | Product::List { .. } | Product::Export(_))
                | Self::Order(Order::Get { .. } | Order::List { .. } | Order::Watch { .. })
                | Self::Queue(Queue::Stats | Queue::Dead { .. })
                | Self::Key(Key::List)
        )
    }
}

/// How long to wait for Redis, when it has to be told something before we end.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    let cli: Cli = parse();
    match run(cli).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("order-cli: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let _traces = init_telemetry(cli.log_format)?;
    if matches!(cli.command, Command::Worker(_)) {
        collector();
    }
    dispatch(cli).await
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::Health(health) => return commands::health::run(health),
        Command::Completions(completions) => {
            commands::completions::run::<Cli>(completions);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Openapi => {
            writeln!(io::stdout(), "{}", openapi_document().await?)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let output = Output::new(cli.output);
    let client = cli.redis.client()?;
    if let Command::Bench(args) = cli.command {
        return commands::bench::run(args, &cli.database.database_url, &output).await;
    }
    let store = if cli.command.only_reads() {
        cli.database.open_existing().await?
    } else {
        cli.database.open().await?
    };
    if matches!(cli.command, Command::Migrate) && cli.database.no_migrate {
        store.migrate().await?;
    }
    let service = cli.redis.builder(store, client.clone()).build();
    let code = match cli.command {
        Command::Product(command) => commands::product::run(command, &service, &output).await,
        Command::Order(command) => commands::order::run(command, &service, &output).await,
        Command::Worker(command) => commands::worker::run(command, &service, client, &output).await,
        Command::Queue(command) => commands::queue::run(command, &service, &output).await,
        Command::Key(command) => commands::key::run(command, &service, &output).await,
        Command::Verify => commands::verify::run(&service, &output).await,
        // The others did without a service.
        _ => Ok(ExitCode::SUCCESS),
    };
    service.settle(SETTLE_LIMIT).await;
    service.store().close().await;
    code
}

#[cfg(test)]
mod extremes;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
