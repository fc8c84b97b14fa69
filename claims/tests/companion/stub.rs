//! A gateway that answers `POST /v1/charges` as told, and says what a key came to. Like the real one it charges once per idempotency key.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokens::ChargeId;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the stub does with the next request.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    Succeed,
    Decline,
    RefuseToken,
    Unavailable,
    /// Charges, then closes the connection without an answer.
    ChargeAndCut,
    /// Charges, and answers later.
    ChargeSlowly(Duration),
}

#[derive(Default)]
struct Book {
    script: VecDeque<Act>,
    charged: HashMap<String, Value>,
    seen: Vec<(String, Value)>,
    credentials: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    book: Arc<Mutex<Book>>,
}

impl Stub {
    pub(crate) async fn start(tls: rustls::ServerConfig) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Stub { address: listener.local_addr().unwrap(), book: Arc::default() };
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let server = stub.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, server) = (acceptor.clone(), server.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| server.clone().answer(request));
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        stub
    }

    /// What to do with the next requests; after those, succeed.
    pub(crate) fn script(&self, acts: &[Act]) {
        self.book.lock().unwrap().script.extend(acts);
    }

    /// How many charges took money.
    pub(crate) fn charged(&self) -> usize {
        self.book.lock().unwrap().charged.len()
    }

    /// Idempotency keys and bodies in the order they came.
    pub(crate) fn seen(&self) -> Vec<(String, Value)> {
        self.book.lock().unwrap().seen.clone()
    }

    pub(crate) fn credentials(&self) -> Vec<String> {
        self.book.lock().unwrap().credentials.clone()
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        assert_eq!(request.uri().path(), "/v1/charges");
        let header = |name: &str| {
            request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
        };
        if request.method() == http::Method::GET {
            let key = request.uri().query().and_then(|query| query.strip_prefix("idempotency_key=")).unwrap();
            let charged = self.book.lock().unwrap().charged.get(key).cloned();
            return Ok(reply(200, &json!({ "data": Vec::from_iter(charged), "has_more": false })));
        }
        let (key, credential) = (header("idempotency-key"), header("authorization"));
        let body = gather(request.into_body()).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        let act = {
            let mut book = self.book.lock().unwrap();
            book.seen.push((key.clone(), body.clone()));
            book.credentials.push(credential);
            book.script.pop_front().unwrap_or(Act::Succeed)
        };
        match act {
            Act::Succeed => Ok(reply(201, &self.charge(key, &body))),
            Act::ChargeSlowly(wait) => {
                let charge = self.charge(key, &body);
                tokio::time::sleep(wait).await;
                Ok(reply(201, &charge))
            }
            Act::ChargeAndCut => {
                self.charge(key, &body);
                Err(std::io::Error::other("cut"))
            }
            Act::Decline => Ok(reply(
                402,
                &json!({"status": 402, "code": "insufficient_funds", "charge": ChargeId::mint().unwrap().as_str()}),
            )),
            Act::RefuseToken => Ok(reply(404, &json!({"status": 404, "code": "token_unknown"}))),
            Act::Unavailable => Ok(reply(503, &json!({"status": 503, "code": "processor_unavailable"}))),
        }
    }

    fn charge(&self, key: String, body: &Value) -> Value {
        let mut book = self.book.lock().unwrap();
        let charge = book.charged.entry(key).or_insert_with(|| {
            json!({
                "id": ChargeId::mint().unwrap().as_str(),
                "status": "succeeded",
                "amount": body["amount"],
                "currency": body["currency"],
            })
        });
        charge.clone()
    }
}

#[expect(clippy::disallowed_methods, reason = "the stub reads tokens only")]
async fn gather(body: Incoming) -> Bytes {
    body.collect().await.unwrap().to_bytes()
}

fn reply(status: u16, body: &Value) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap()
}
