//! The operator's command line: works on the database directly, through the same library as
//! the server.
// The middleware of the server is one nested type, through which optimized builds go by recursion.
#![recursion_limit = "256"]

/// Prints a line to standard error. That may be closed or full, which is no reason to stop.
macro_rules! tell {
    ($($part:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($part)*);
    }};
}

mod commands;
mod help;
mod output;
mod pinned_tls;
mod progress;

use std::{process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};
use order_core::audit::by;
use order_server::runtime::{
    Database, LogFormat, Redis, collector, init_telemetry, one_line, openapi_document, parse,
};

use self::{help::Shown, output::Output};

/// Manages products, orders, workers and API keys of the order system.
#[derive(Debug, Parser)]
#[command(name = "order-cli", version)]
struct Cli {
    #[command(flatten)]
    database: Database,

    #[command(flatten)]
    redis: Redis,

    /// Format of the results; unless given, a table on a terminal and JSON elsewhere
    #[arg(long, short, global = true)]
    output: Option<output::Format>,

    /// Format of the log on standard error; the variable RUST_LOG sets its levels
    #[arg(long, env, default_value = "text", global = true)]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Manage products
    #[command(subcommand)]
    Product(commands::product::Product),
    /// Place, show, list, cancel and watch orders
    #[command(subcommand)]
    Order(commands::order::Order),
    /// Decide accepted orders and process sold ones
    #[command(subcommand)]
    Worker(commands::worker::Worker),
    /// Show queues and dead letters; pause and resume work
    #[command(subcommand)]
    Queue(commands::queue::Queue),
    /// Manage the clients of the server, to whom API keys belong
    #[command(subcommand)]
    Client(commands::client::Client),
    /// Manage the API keys of the server
    #[command(subcommand)]
    Key(commands::key::Key),
    /// Show who changed what
    Audit(commands::audit::Audit),
    /// Measure the strategies on this database
    Bench(commands::bench::BenchArgs),
    /// Show the figures of the shop: orders by state, waits, what is wanted most
    Stats,
    /// List the workers of all processes, the latest started first
    Workers,
    /// Migrate the database schema, and do nothing else
    Migrate(commands::migrate::Migrate),
    /// Check whether the server on this machine is ready
    Health(commands::health::Health),
    /// Print the OpenAPI description of the API as JSON
    Openapi,
    /// Print a completion script for a shell
    Completions(commands::completions::Completions),
    /// Print the manual page, or write one for each command
    Man(commands::man::Man),
    Archive(commands::archive::Archive),
    Erase(commands::erase::Erase),
    /// Check that the books balance: stock, totals, states, tasks, counters, and what refers to what;
    /// exit with 1 and list whatever is not as it should be
    Verify(commands::verify::VerifyArgs),
}

impl Command {
    /// Tells whether the command changes nothing, so that it creates no database either.
    const fn only_reads(&self) -> bool {
        use commands::{
            archive::Archive, client::Client, key::Key, order::Order, product::Product,
            queue::Queue,
        };
        matches!(
            self,
            Self::Verify(_)
                | Self::Archive(Archive { dry_run: true, .. })
                | Self::Audit(_)
                | Self::Stats
                | Self::Workers
                | Self::Product(
                    Product::Get { .. }
                        | Product::List { .. }
                        | Product::Stock { .. }
                        | Product::Export(_)
                )
                | Self::Order(
                    Order::Get { .. }
                        | Order::List { .. }
                        | Order::Attempts { .. }
                        | Order::Watch { .. }
                )
                | Self::Queue(Queue::Stats | Queue::Tasks { .. } | Queue::Dead { .. })
                | Self::Key(Key::List)
                | Self::Client(Client::List)
        )
    }
}

/// The time limit for updates of the cache before the process ends.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    let Shown(cli) = parse::<Shown<Cli>>();
    match run(cli).await {
        Ok(code) => code,
        Err(error) => {
            tell!("order-cli: {}", output::visible(&one_line(&error)));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let _traces = init_telemetry(cli.log_format)?;
    if matches!(cli.command, Command::Worker(_)) {
        collector();
    }
    by(commands::audit::author(), dispatch(cli)).await
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    cli.database.use_currency()?;
    // How many decimals a price may have is known only now.
    if let Command::Product(product) = &cli.command
        && let Err(error) = product.check_price()
    {
        Shown::<Cli>::command()
            .error(ErrorKind::ValueValidation, error)
            .exit();
    }
    match &cli.command {
        Command::Health(health) => return commands::health::run(health),
        Command::Completions(completions) => {
            commands::completions::run::<Shown<Cli>>(completions)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Man(man) => {
            commands::man::run::<Shown<Cli>>(man)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Openapi => {
            output::whole(format!("{}\n", openapi_document().await?).as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let output = Output::new(cli.output);
    let client = cli.redis.client()?;
    if let Command::Bench(args) = cli.command {
        return commands::bench::run(args, &cli.database.database_url, &output).await;
    }
    if let Command::Migrate(migrate) = &cli.command {
        return commands::migrate::run(migrate, &cli.database, &output).await;
    }
    let only_reads = cli.command.only_reads();
    let store = if only_reads {
        cli.database.open_existing().await?
    } else {
        cli.database.open().await?
    };
    let builder = cli.redis.builder(store, client.clone());
    let service = if only_reads {
        builder.without_compaction().build()
    } else {
        builder.build()
    };
    let code = match cli.command {
        Command::Product(command) => commands::product::run(command, &service, &output).await,
        Command::Order(command) => commands::order::run(command, &service, &output).await,
        Command::Worker(command) => commands::worker::run(command, &service, client, &output).await,
        Command::Queue(command) => commands::queue::run(command, &service, &output).await,
        Command::Client(command) => commands::client::run(command, &service, &output).await,
        Command::Audit(audit) => commands::audit::run(audit, &service, &output).await,
        Command::Key(command) => commands::key::run(command, &service, &output).await,
        Command::Stats => commands::stats::run(&service, &output).await,
        Command::Workers => commands::stats::workers(&service, &output).await,
        Command::Verify(args) => commands::verify::run(args, &service, &output).await,
        Command::Archive(args) => commands::archive::run(args, &service, &output).await,
        Command::Erase(args) => commands::erase::run(args, &service, &output).await,
        // The other commands needed no service.
        _ => Ok(ExitCode::SUCCESS),
    };
    service.settle(SETTLE_LIMIT).await;
    service.store().close().await;
    code
}

#[cfg(test)]
mod extremes;
