//! The address of Redis, and connecting to it.

use std::{sync::Mutex, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, RedisError,
    RedisFuture, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use crate::sync::lock;

/// The longest that connecting to a node of a cluster may take. Several are tried one after the
/// other.
const NODE_LIMIT: Duration = Duration::from_millis(400);
/// The silence after which the system closes a connection.
const DEAD_AFTER: Duration = Duration::from_secs(5);
/// The most nodes of a cluster to know: any of them leads to the others.
const MAX_NODES: usize = 32;

/// A connection to one server, or to a cluster. It is closed when its last clone is dropped.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(commands, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// The address of Redis.
pub(super) struct Address {
    client: Client,
    /// The nodes of a cluster, as they were when somebody connected last: the one that we were
    /// told of may be gone by now.
    nodes: Mutex<Vec<ConnectionInfo>>,
}

impl Address {
    pub(super) fn new(info: ConnectionInfo) -> Result<Self, RedisError> {
        Ok(Self {
            client: Client::open(info.set_tcp_settings(tcp()))?,
            nodes: Mutex::default(),
        })
    }

    /// The address as it may be shown, without secrets.
    pub(super) fn shown(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// Makes a new connection, whose answers may take `limit`.
    pub(super) async fn connect(&self, limit: Duration) -> Result<Connection, RedisError> {
        if !lock(&self.nodes).is_empty() {
            let cluster = self.connect_to_cluster(limit).await;
            if cluster.as_ref().is_err_and(|error| !error.is_io_error()) {
                // It may be a cluster no more.
                lock(&self.nodes).clear();
            }
            return cluster;
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(Some(limit));
        let client = &self.client;
        let mut single = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let info: String = redis::cmd("INFO")
            .arg("cluster")
            .query_async(&mut single)
            .await?;
        if !info.contains("cluster_enabled:1") {
            return Ok(Connection::Single(single));
        }
        self.connect_to_cluster(limit).await
    }

    async fn connect_to_cluster(&self, limit: Duration) -> Result<Connection, RedisError> {
        let given = self.client.get_connection_info();
        let mut seeds = lock(&self.nodes).clone();
        if !seeds.iter().any(|node| node.addr() == given.addr()) {
            seeds.push(given.clone());
        }
        let cluster = ClusterClientBuilder::new(seeds)
            .retries(1)
            .connection_timeout(NODE_LIMIT)
            .response_timeout(limit)
            .tcp_settings(tcp())
            .build()?;
        let mut connection = cluster.get_async_connection().await?;
        // Who may not ask has the one node that it was told of.
        let nodes = redis::cmd("CLUSTER")
            .arg("NODES")
            .query_async::<String>(&mut connection)
            .await;
        if let Ok(nodes) = nodes {
            *lock(&self.nodes) = nodes
                .lines()
                .filter_map(|line| node(line, given))
                .take(MAX_NODES)
                .collect();
        }
        Ok(Connection::Cluster(connection))
    }
}

/// A node, from its line in what `CLUSTER NODES` answers:
/// `<id> <ip>:<port>@<port of the bus>[,<host>] <flags> …`.
fn node(line: &str, like: &ConnectionInfo) -> Option<ConnectionInfo> {
    let mut fields = line.split(' ').skip(1);
    let (address, flags) = (fields.next()?, fields.next()?);
    let is_there = |flag| !matches!(flag, "fail" | "handshake" | "noaddr");
    if !flags.split(',').all(is_there) {
        return None;
    }
    let (address, rest) = address.split_once('@')?;
    let (ip, port) = address.rsplit_once(':')?;
    let name = rest.split(',').nth(1).filter(|name| !name.is_empty());
    let (host, port) = (name.unwrap_or(ip).to_owned(), port.parse().ok()?);
    if host.is_empty() {
        return None;
    }
    let mut addr = like.addr().clone();
    match &mut addr {
        ConnectionAddr::Tcp(to, at) => (*to, *at) = (host, port),
        ConnectionAddr::TcpTls {
            host: to, port: at, ..
        } => (*to, *at) = (host, port),
        _ => return None,
    }
    Some(like.clone().set_addr(addr))
}

/// The system looks whether the other side is still there, also when nothing is said.
fn tcp() -> TcpSettings {
    let keepalive = TcpKeepalive::new()
        .with_time(DEAD_AFTER)
        .with_interval(Duration::from_secs(1));
    let settings = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(DEAD_AFTER);
    settings
}

#[cfg(test)]
mod tests {
    use redis::IntoConnectionInfo;

    use super::*;

    #[test]
    fn nodes_are_found_by_name_or_address() {
        let like = "rediss://:secret@127.0.0.1:7000".into_connection_info();
        let like = like.unwrap();
        let found = |line| node(line, &like).map(|node| node.addr().to_string());
        for (line, expected) in [
            (
                "07c3 127.0.0.1:7001@17001 master - 0 1 2 connected 0-5460",
                Some("127.0.0.1:7001"),
            ),
            (
                "07c3 10.0.0.1:7001@17001,redis-1.example slave 3a 0 1 2 connected",
                Some("redis-1.example:7001"),
            ),
            (
                "07c3 ::1:7001@17001, myself,master - 0 1 2 connected",
                Some("::1:7001"),
            ),
            (
                "07c3 127.0.0.1:7001@17001 master,fail - 0 1 2 connected",
                None,
            ),
            ("07c3 :0@0 slave,noaddr - 0 1 2 disconnected", None),
            ("07c3 :7001@17001 myself,master - 0 1 2 connected", None),
            ("", None),
            ("07c3 127.0.0.1 master", None),
        ] {
            assert_eq!(found(line).as_deref(), expected, "{line}");
        }
        let node = node("0 10.0.0.1:7001@17001 master - 0 0 0 connected", &like).unwrap();
        assert_eq!(node.redis_settings().password(), Some("secret"));
    }
}
