//! An event stream, as it comes in.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::Shop;

/// Far beyond what the next event may take.
const LIMIT: Duration = Duration::from_secs(30);

/// One event: its id, and its data.
pub type Event = (String, Value);

pub struct Events {
    response: reqwest::Response,
    text: String,
}

impl Events {
    /// The stream at `path`, from the event after the one that was seen.
    pub async fn open(shop: &Shop, path: &str, seen: Option<&str>) -> Self {
        let mut request = shop.client.get(shop.url(path));
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let text = String::new();
        Self { response, text }
    }

    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        // A stream that only shows that it lives has no next event.
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let field = event.lines().find_map(|line| line.strip_prefix(name));
                    field.map(ToOwned::to_owned)
                };
                let event = field("id: ").zip(field("data: "));
                self.text = rest.to_owned();
                if let Some((id, data)) = event {
                    return Some((id, serde_json::from_str(&data).unwrap()));
                }
                continue;
            }
            let chunk = timeout_at(deadline, self.response.chunk()).await;
            let chunk = chunk.unwrap().unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}
