//! Webhooks, as somebody receives them who uses the public library of the standard.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::DateTime;
use order_core::{
    domain::{
        AdjustmentId, IdGenerator, InCurrency, Order, OrderId, OrderRequest, OrderStatus,
        ProductId, ProductRequest, Quantity, RequestedLine,
    },
    process::{OrderProcessor, ProcessError, Task, TaskKind, WebhookOptions, WebhookProcessor},
    store::{OrderStore, ProductStore, Strategy},
    testing::ReferenceStore,
};
use poem::{
    Endpoint, EndpointExt, Request, Response, Server,
    endpoint::make,
    http::{HeaderMap, StatusCode},
    listener::{Acceptor, Listener, TcpListener},
};
use serde_json::Value;
use standardwebhooks::Webhook;

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// What a receiver was sent: headers, in the version of `http` that the library wants, and body.
type Received = (HeaderMap, Vec<u8>);

/// Somebody who receives webhooks, and answers them as told.
struct Receiver {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    async fn start(answer: fn() -> Response) -> Self {
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let notes = Arc::clone(&received);
        let endpoint = make(move |mut request: Request| {
            let notes = Arc::clone(&notes);
            async move {
                let body = request.take_body().into_vec().await.unwrap();
                notes
                    .lock()
                    .unwrap()
                    .push((request.headers().clone(), body));
                answer()
            }
        });
        Self {
            port: serve(endpoint).await,
            received,
        }
    }

    fn received(&self) -> Vec<Received> {
        std::mem::take(&mut *self.received.lock().unwrap())
    }
}

async fn serve(endpoint: impl Endpoint + 'static) -> u16 {
    let acceptor = TcpListener::bind("127.0.0.1:0")
        .into_acceptor()
        .await
        .unwrap();
    let port = acceptor.local_addr()[0].as_socket_addr().unwrap().port();
    let endpoint = Arc::new(endpoint.boxed());
    tokio::spawn(Server::new_with_acceptor(acceptor).run(endpoint));
    port
}

fn processor(url: &str, secrets: &[&str], allow_private: bool) -> WebhookProcessor {
    let secrets = secrets.iter().map(|secret| secret.parse().unwrap());
    let options = WebhookOptions::new(url, secrets.collect()).with_allow_private(allow_private);
    WebhookProcessor::new(options).unwrap()
}

/// A task of an order that is sold, or cancelled after that.
async fn task(kind: TaskKind) -> Task {
    let (store, ids) = (ReferenceStore::default(), IdGenerator::default());
    let at = DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap();
    let id = ProductId(ids.next(at));
    let product = ProductRequest::new("Ä", "2.50".parse().unwrap(), 5, None).unwrap();
    let product = product.into_new_product(id, AdjustmentId(ids.next(at)), at);
    store.create_product(&product).await.unwrap();
    let order = OrderRequest::one(id, Quantity::new(2).unwrap());
    let order = order.into_new_order(OrderId(ids.next(at)), at);
    let sold = store
        .purchase(&[order], Strategy::Batch)
        .await
        .unwrap()
        .results
        .remove(0);
    let mut order: Order = sold.unwrap();
    if kind.compensates() {
        order = store
            .cancel(order.id, at, None)
            .await
            .unwrap()
            .unwrap()
            .order;
    }
    let attempt = 1;
    Task {
        kind,
        order,
        attempt,
    }
}

/// The compensation of one piece that came back after the sale was done.
fn returned(sale: &Task) -> Task {
    let mut order = sale.order.clone();
    order.status = OrderStatus::Completed;
    let one = RequestedLine {
        product_id: order.lines[0].product_id,
        quantity: Quantity::new(1).unwrap(),
    };
    let at = order.created_at;
    Task {
        kind: TaskKind::Compensate,
        order: order.given_back(&[one], at).unwrap(),
        attempt: 1,
    }
}

fn ok() -> Response {
    Response::builder().body("thanks")
}

#[tokio::test]
async fn a_receiver_verifies_what_it_is_sent() {
    let receiver = Receiver::start(ok).await;
    let url = format!("http://127.0.0.1:{}/hook?x=1", receiver.port);
    let sender = processor(&url, &[OLD, NEW], true);
    let (sale, undo) = (
        task(TaskKind::Process).await,
        task(TaskKind::Compensate).await,
    );
    sender.process(&sale).await.unwrap();
    sender.process(&sale).await.unwrap();
    sender.compensate(&undo).await.unwrap();
    let returned = returned(&sale);
    sender.compensate(&returned).await.unwrap();
    let received = receiver.received();
    for (headers, body) in &received {
        for secret in [OLD, NEW] {
            Webhook::new(secret).unwrap().verify(body, headers).unwrap();
        }
        let other = Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        assert!(other.verify(body, headers).is_err());
        let forged = [body.as_slice(), b" "].concat();
        assert!(Webhook::new(OLD).unwrap().verify(&forged, headers).is_err());
        assert_eq!(headers["content-type"], "application/json");
    }
    let ids: Vec<_> = received
        .iter()
        .map(|(headers, _)| headers["webhook-id"].clone())
        .collect();
    assert_eq!(ids[0], format!("sale_{}", sale.order.id));
    assert_eq!(ids[0], ids[1], "an attempt has the id of the one before");
    assert_eq!(ids[2], format!("cancel_{}", undo.order.id));
    assert_eq!(ids[3], format!("return_{}_1", returned.order.id));
    let body = |at: usize| -> Value { serde_json::from_slice(&received[at].1).unwrap() };
    assert_eq!(
        (&body(0)["type"], &body(2)["type"]),
        (&"order.success".into(), &"order.cancelled".into())
    );
    assert_eq!(
        body(0)["data"],
        serde_json::to_value(InCurrency::from(&sale.order)).unwrap()
    );
    assert_eq!(body(0)["data"]["total_price"], "5.00");
    assert_eq!(body(3)["type"], "order.returned");
    assert_eq!(body(3)["data"]["lines"][0]["cancelled_quantity"], 1);
    assert_eq!(body(0)["timestamp"], "2027-01-15T08:00:00.123456Z");
}

#[tokio::test]
async fn what_a_receiver_says_is_heeded() {
    let sale = task(TaskKind::Process).await;
    let told = async |answer: fn() -> Response| {
        let receiver = Receiver::start(answer).await;
        let url = format!("http://127.0.0.1:{}/", receiver.port);
        let result = processor(&url, &[OLD], true).process(&sale).await;
        assert_eq!(receiver.received().len(), 1);
        result.unwrap_err()
    };
    let gone = told(|| StatusCode::GONE.into()).await;
    assert_eq!(gone, ProcessError::give_up("answered 410 Gone"));
    let broken = told(|| StatusCode::INTERNAL_SERVER_ERROR.into()).await;
    assert_eq!(
        broken,
        ProcessError::retry("answered 500 Internal Server Error")
    );
    let busy = told(|| {
        let busy = Response::builder().status(StatusCode::TOO_MANY_REQUESTS);
        busy.header("Retry-After", "77").finish()
    });
    let ProcessError::Retry { after, .. } = busy.await else {
        panic!("it may pass")
    };
    assert_eq!(after, Some(Duration::from_secs(77)));
}

#[tokio::test]
async fn nobody_is_sent_elsewhere() {
    let sale = task(TaskKind::Process).await;
    let inside = Arc::new(Receiver::start(ok).await);
    let target = format!("http://127.0.0.1:{}/secret", inside.port);
    for status in [301, 302, 303, 307, 308] {
        let target = target.clone();
        let endpoint = make(move |_| {
            let answer = Response::builder().status(StatusCode::from_u16(status).unwrap());
            let answer = answer.header("Location", &target).finish();
            async move { answer }
        });
        let url = format!("http://127.0.0.1:{}/", serve(endpoint).await);
        let refused = processor(&url, &[OLD], true)
            .process(&sale)
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("redirects are not followed"),
            "{refused}"
        );
    }
    assert_eq!(inside.received().len(), 0);
}

/// An address in the URL is refused when the processor is made; a name, when it is looked up.
#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_not_connected_to() {
    let sale = task(TaskKind::Process).await;
    let inside = Receiver::start(ok).await;
    let url = format!("http://localhost:{}/", inside.port);
    let refused = processor(&url, &[OLD], false)
        .process(&sale)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("private address"), "{refused}");
    assert_eq!(inside.received().len(), 0);
    processor(&url, &[OLD], true).process(&sale).await.unwrap();
    assert_eq!(inside.received().len(), 1);
}

#[tokio::test]
async fn a_receiver_that_is_away_is_told_of_without_its_url() {
    let sale = task(TaskKind::Process).await;
    let sender = processor("http://127.0.0.1:9/s3cr3t", &[OLD], true);
    let away = sender.process(&sale).await.unwrap_err();
    assert!(away.to_string().starts_with("cannot connect"), "{away}");
    assert!(!away.to_string().contains("s3cr3t"), "{away}");
}
