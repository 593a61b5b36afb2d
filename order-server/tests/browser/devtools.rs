//! A connection to a page of Chromium: <https://chromedevtools.github.io/devtools-protocol/>.
//!
//! The crates that have a type for each of the protocol's 600 commands take a tenth of the time
//! that everything else takes to build; a test uses fifteen of them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::oneshot, task::JoinHandle};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
/// Who waits for the answer to which command.
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value, String>>>>>;

/// A connection, with one reader.
pub struct DevTools {
    sink: tokio::sync::Mutex<SplitSink<Socket, Message>>,
    waiting: Waiting,
    last_id: AtomicU64,
    reader: JoinHandle<()>,
}

impl DevTools {
    /// Connects; each event is handed to `on_event` with its name and its parameters.
    pub async fn connect(url: &str, on_event: impl Fn(&str, &Value) + Send + 'static) -> Self {
        let (socket, _) = connect_async(url).await.unwrap();
        let (sink, mut messages) = socket.split();
        let waiting = Waiting::default();
        let answered = Arc::clone(&waiting);
        let reader = tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                let Message::Text(text) = message else {
                    continue;
                };
                let mut message: Value = serde_json::from_str(&text).unwrap();
                if let Some(event) = message["method"].as_str() {
                    on_event(event, &message["params"]);
                    continue;
                }
                let id = message["id"].as_u64().unwrap();
                let answer = match message.get("error") {
                    Some(error) => Err(error.to_string()),
                    None => Ok(message["result"].take()),
                };
                // Who asked may have given up.
                if let Some(waits) = answered.lock().unwrap().remove(&id) {
                    let _ = waits.send(answer);
                }
            }
            // Whoever still waits is told that nothing comes.
            answered.lock().unwrap().clear();
        });
        Self {
            sink: sink.into(),
            waiting,
            last_id: AtomicU64::default(),
            reader,
        }
    }

    /// Sends a command, and waits for its answer.
    pub async fn try_call(&self, method: &str, params: Value) -> Result<Value, String> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, answer);
        let command = json!({ "id": id, "method": method, "params": params }).to_string();
        let sent = self.sink.lock().await.send(Message::text(command)).await;
        sent.map_err(|error| error.to_string())?;
        answered
            .await
            .unwrap_or_else(|_| Err("the connection ended".to_owned()))
    }

    /// Sends a command that succeeds.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        let answer = self.try_call(method, params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }
}

impl Drop for DevTools {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
