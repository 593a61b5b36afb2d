//! Starts a private Postgres, prints the URL of an empty database in it, and throws it away
//! when its input ends: for scripts that try the programs on Postgres.

use std::io::{Read, stdin};

use order_core::testing::PostgresServer;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let server = PostgresServer::start(false);
    println!("{}", server.database().await);
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
