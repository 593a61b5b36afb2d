//! The server that takes writes, among those that a URL names: it is found, and found again.
//!
//! One URL may name the servers of a cluster, of which one takes writes, and another one after a
//! failover. They are all asked at once, and who can write is the one that new sessions are made
//! with. A session with it is kept, and asked a few times a second: when it does not answer, or
//! cannot write any more, all are asked again until one can. That costs one session, nothing on the
//! way of an order, and notices what nobody would who waits for an order to come.
//!
//! Of two servers that can both write, the newer primary counts: promoting begins a new timeline,
//! and the one that was replaced stays on the old one when it comes back as if nothing had happened.
//! A primary of an older timeline than was seen is none.
//!
//! With one server, nothing is watched.

use std::{
    fmt, io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use sqlx::{ConnectOptions as _, PgConnection, PgPool, Row, postgres::PgConnectOptions, raw_sql};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    error::is_transient,
    writable::{is_writable, timeline, writable},
};
use crate::{metrics::part, supervise::supervise, sync::lock};

/// The time in which a server must let somebody in and say what it is.
const LIMIT: Duration = Duration::from_secs(1);
/// The time between two questions to the primary.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// The time between two rounds of questions to all of them.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is said of a primary of an older timeline than was seen.
pub(super) const WAS_REPLACED: &str = "was replaced by a newer primary";

/// Whether it can write, and the timeline of what it writes.
const ASK: &str = concat!("SELECT ", writable!(), ", ", timeline!());

/// The servers that a URL names, and which of them is the primary.
pub(super) struct Servers {
    /// At least one.
    all: Vec<PgConnectOptions>,
    known: Mutex<Known>,
}

struct Known {
    /// The one that sessions are made with.
    primary: PgConnectOptions,
    /// When it became that, unless it always was.
    since: Option<Instant>,
    /// The newest that was seen.
    timeline: String,
}

/// A primary, and a session with it.
pub(super) struct Found {
    server: PgConnectOptions,
    timeline: String,
    session: PgConnection,
}

impl Servers {
    /// These ones. Until a primary is found, the first counts as it.
    pub(super) fn new(first: PgConnectOptions, others: Vec<PgConnectOptions>) -> Self {
        let known = Known {
            primary: first.clone(),
            since: None,
            timeline: String::new(),
        };
        let mut all = vec![first];
        all.extend(others);
        Self {
            all,
            known: Mutex::new(known),
        }
    }

    /// What leads to the primary.
    pub(super) fn primary(&self) -> PgConnectOptions {
        lock(&self.known).primary.clone()
    }

    /// Tells whether a session that was made so long ago is with a server that was replaced.
    pub(super) fn was_replaced(&self, age: Duration) -> bool {
        let since = lock(&self.known).since;
        since.is_some_and(|since| since.elapsed() < age)
    }

    /// Tells whether it is found out which of them is the primary.
    pub(super) const fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    /// Tells whether a newer primary was seen than one that writes this timeline.
    pub(super) fn know_newer(&self, timeline: &str) -> bool {
        timeline < lock(&self.known).timeline.as_str()
    }

    /// Finds the primary, within `limit`; nothing when there is only one server.
    ///
    /// # Errors
    /// When none takes writes by then; at once when all refuse for good, such as a wrong password.
    pub(super) async fn find_within(&self, limit: Duration) -> Result<Option<Found>, sqlx::Error> {
        if !self.are_several() {
            return Ok(None);
        }
        let start = Instant::now();
        loop {
            match self.find().await {
                Ok(found) => {
                    self.adopt(&found);
                    return Ok(Some(found));
                }
                Err(error) if !is_transient(&error) || start.elapsed() >= limit => {
                    return Err(error);
                }
                Err(_) => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Asks all of them, once.
    async fn find(&self) -> Result<Found, sqlx::Error> {
        let asked = join_all(self.all.iter().map(ask)).await;
        let (mut newest, mut failures) = (None::<Found>, Vec::new());
        for (server, answer) in self.all.iter().zip(asked) {
            match answer {
                Ok((_, timeline)) if self.know_newer(&timeline) => {
                    failures.push((server, io::Error::other(WAS_REPLACED).into()));
                }
                Ok((session, timeline)) => {
                    if newest.as_ref().is_none_or(|one| one.timeline < timeline) {
                        newest = Some(Found {
                            server: server.clone(),
                            timeline,
                            session,
                        });
                    }
                }
                Err(error) => failures.push((server, error)),
            }
        }
        newest.ok_or_else(|| none_of_them(failures))
    }

    /// Makes it the primary; whether it was none before.
    fn adopt(&self, found: &Found) -> bool {
        let mut known = lock(&self.known);
        let is_other = name(&known.primary) != name(&found.server);
        if is_other {
            known.primary = found.server.clone();
            known.since = Some(Instant::now());
        }
        known.timeline.clone_from(&found.timeline);
        is_other
    }
}

/// Follows the primary, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch(JoinHandle<()>);

impl Watch {
    /// Begins to: `pools` make their sessions with whoever is the primary.
    pub(super) fn begin(servers: &Arc<Servers>, pools: Vec<PgPool>, found: Found) -> Self {
        let servers = Arc::clone(servers);
        let mut kept = Some(found.session);
        Self(tokio::spawn(supervise(part::PRIMARY, move || {
            let (servers, pools) = (Arc::clone(&servers), pools.clone());
            follow(servers, pools, kept.take())
        })))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn follow(servers: Arc<Servers>, pools: Vec<PgPool>, mut kept: Option<PgConnection>) {
    let mut is_told = false;
    loop {
        if let Some(session) = &mut kept {
            while matches!(is_writable(session).await, Ok(true)) {
                sleep(ASK_EVERY).await;
            }
        }
        kept = None;
        match servers.find().await {
            Ok(found) => {
                if servers.adopt(&found) {
                    let primary = servers.primary();
                    tracing::warn!(
                        primary = name(&primary),
                        "another server is the primary now"
                    );
                    for pool in &pools {
                        pool.set_connect_options(primary.clone());
                    }
                }
                (kept, is_told) = (Some(found.session), false);
            }
            Err(error) => {
                if !is_told {
                    tracing::warn!(%error, "no server takes writes: looking for one");
                    is_told = true;
                }
                sleep(LOOK_EVERY).await;
            }
        }
    }
}

/// A session with a server that can write, and its timeline.
async fn ask(server: &PgConnectOptions) -> Result<(PgConnection, String), sqlx::Error> {
    let asked = async {
        let named = server.clone().application_name("orders-primary");
        let mut session = named.connect().await?;
        let row = raw_sql(ASK).fetch_one(&mut session).await?;
        if row.try_get(0)? {
            let timeline = row.try_get(1)?;
            return Ok((session, timeline));
        }
        Err(io::Error::other("is a standby or read-only").into())
    };
    timeout(LIMIT, asked).await.map_err(io::Error::from)?
}

/// The error that none of them is a primary: that of the first when all refuse for good.
fn none_of_them(mut failures: Vec<(&PgConnectOptions, sqlx::Error)>) -> sqlx::Error {
    if !failures.is_empty() && !failures.iter().any(|(_, error)| is_transient(error)) {
        return failures.swap_remove(0).1;
    }
    let said = failures.iter();
    let said: Vec<_> = said
        .map(|(server, error)| format!("{} {}", name(server), reason(error)))
        .collect();
    io::Error::other(format!("no server takes writes: {}", said.join(", "))).into()
}

/// What is said of a server.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::Other => error.to_string(),
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => "is silent".to_owned(),
        sqlx::Error::Io(error) => format!("does not answer ({})", error.kind()),
        sqlx::Error::Database(error) => format!("refuses ({})", error.message()),
        other => format!("does not answer ({other})"),
    }
}

/// Where it listens.
fn name(server: &PgConnectOptions) -> String {
    match server.get_socket() {
        Some(socket) => format!("{}:{}", socket.display(), server.get_port()),
        None => format!("{}:{}", server.get_host(), server.get_port()),
    }
}

/// The driver would show the password.
impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.iter().map(name)).finish()
    }
}
