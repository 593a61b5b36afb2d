//! A TCP proxy between a program and its server, for what networks and failovers do to
//! connections: fall silent without a reset, be cut, or lead to another server.

use std::sync::Arc;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// The fate of connections, old and new.
#[derive(Clone, Copy, Debug)]
struct State {
    /// The port that new connections lead to, at 127.0.0.1.
    port: u16,
    /// Connections made before this count are silent.
    silent_before: u64,
    /// Connections made before this count are cut.
    cut_before: u64,
    /// True when new connections are silent from their beginning.
    takes_silently: bool,
    /// The number of connections so far.
    connections: u64,
}

/// A proxy on a free port of 127.0.0.1. Dropped, it refuses new connections and cuts the old ones.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
    accept: JoinHandle<()>,
}

impl TcpProxy {
    /// A proxy to `port` of 127.0.0.1 that forwards.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let state = Arc::new(watch::Sender::new(State {
            port,
            silent_before: 0,
            cut_before: 0,
            takes_silently: false,
            connections: 0,
        }));
        let shared = Arc::clone(&state);
        let accept = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut number = 0;
                shared.send_modify(|state| {
                    number = state.connections;
                    state.connections += 1;
                });
                tokio::spawn(carry(client, number, shared.subscribe()));
            }
        });
        Self {
            port: own_port,
            state,
            accept,
        }
    }

    /// The port that it listens on, at 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The number of connections that were made so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.state.borrow().connections
    }

    /// From now on nothing passes on the connections that are there, in either direction, for
    /// good; nobody is told, and nothing is closed. New ones are forwarded.
    pub fn silence(&self) {
        self.state
            .send_modify(|state| state.silent_before = state.connections);
    }

    /// From now on new connections are taken and nothing passes on them, until
    /// [`forward`](Self::forward).
    pub fn take_silently(&self) {
        self.state.send_modify(|state| state.takes_silently = true);
    }

    /// New connections are forwarded again.
    pub fn forward(&self) {
        self.state.send_modify(|state| state.takes_silently = false);
    }

    /// Closes the connections that are there.
    pub fn cut(&self) {
        self.state
            .send_modify(|state| state.cut_before = state.connections);
    }

    /// New connections lead to `port` of 127.0.0.1.
    pub fn lead_to(&self, port: u16) {
        self.state.send_modify(|state| state.port = port);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accept.abort();
        self.cut();
    }
}

/// Carries bytes both ways until one side closes, or the connection is silenced; a silent one is
/// held open until it is cut.
async fn carry(mut client: TcpStream, number: u64, mut state: watch::Receiver<State>) {
    let is_silent = |state: &State| number < state.silent_before;
    let is_cut = |state: &State| number < state.cut_before;
    let mut cut = state.clone();
    let forward = async {
        // It fails when the proxy is gone, which cuts.
        let opened = state.wait_for(|state| !state.takes_silently).await;
        let Ok(port) = opened.map(|state| state.port) else {
            return;
        };
        let silenced = async {
            let _ = state.wait_for(is_silent).await;
        };
        let both_ways = async {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            tokio::pin!(silenced);
            tokio::select! {
                carried = copy_bidirectional(&mut client, &mut server) => carried.map(drop),
                () = &mut silenced => std::future::pending().await,
            }
        };
        let _: std::io::Result<()> = both_ways.await;
    };
    tokio::select! {
        () = forward => {}
        _ = cut.wait_for(is_cut) => {}
    }
}
