//! Every answer that leaves: success with a receipt, refusal as a problem document (RFC 9457).
//!
//! No answer can repeat what a body said: problems carry codes, sentences written here and field names.

mod code;
mod denied;
mod problem;
mod stopped;

pub use code::Code;
pub use denied::denied_problem;
pub use problem::Problem;
pub use stopped::{Stopped, store_code, store_problem, vault_problem};

use crate::record::Receipt;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tokens::RequestId;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
/// Names the request in every answer, log line and audit entry.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("pangate-request-id");
/// Says that the stored answer of an earlier request with the same key was given again.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A complete answer. Cloneable, for it holds no card data by construction.
#[derive(Clone, Debug)]
pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// An answer that waits for its receipt; nobody is told it before.
#[derive(Debug)]
#[must_use = "an answer that was drawn up is given once its act is durable"]
pub struct DrawnUp(Answer);

impl DrawnUp {
    /// The answer, as it is stored for a replay.
    pub fn to_store(&self) -> &Answer {
        &self.0
    }

    /// The answer, once the receipt shows that the act is in the audit log, durably.
    pub fn done(self, receipt: &Receipt) -> Answer {
        let _ = receipt;
        self.0
    }
}

impl Answer {
    /// Success. The receipt shows that the act is in the audit log, durably.
    pub fn done(receipt: &Receipt, status: StatusCode, body: &impl Serialize) -> Answer {
        let _ = receipt;
        Answer::json(status, body)
    }

    /// An answer that is stored together with its act, before there is a receipt.
    pub fn draw_up(status: StatusCode, body: &impl Serialize) -> DrawnUp {
        DrawnUp(Answer::json(status, body))
    }

    /// The companion's answer, after it was swept; the receipt shows that the forwarding is in the audit log.
    pub fn relayed(receipt: &Receipt, swept: vault::SweptAnswer) -> Answer {
        let _ = receipt;
        Answer { status: swept.status(), headers: swept.headers().clone(), body: swept.body().clone() }
    }

    /// A stored answer, given again.
    pub fn replayed(status: StatusCode, content_type: &str, body: Vec<u8>) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap_or(JSON));
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        Answer { status, headers, body: Bytes::from(body) }
    }

    /// A refusal that is in the audit log.
    pub fn refused(receipt: &Receipt, problem: &Problem, request: &RequestId) -> Answer {
        let _ = receipt;
        Answer::problem(problem, request)
    }

    /// A refusal that could not be recorded: at the door, before there is a request to speak of, or because the
    /// part that records is itself away (then the problem is a 503 and nothing happened).
    pub fn at_the_door(problem: &Problem, request: &RequestId) -> Answer {
        Answer::problem(problem, request)
    }

    /// Facts about the service that change nothing and name nobody.
    pub fn plain(status: StatusCode, body: &impl Serialize) -> Answer {
        Answer::json(status, body)
    }

    fn json(status: StatusCode, body: &impl Serialize) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, JSON);
        // Our own types serialise; an empty object stands in for the impossible.
        let body = serde_json::to_vec(body).unwrap_or_else(|_| b"{}".to_vec());
        Answer { status, headers, body: Bytes::from(body) }
    }

    fn problem(problem: &Problem, request: &RequestId) -> Answer {
        let mut answer = Answer::json(problem.status(), &problem.document(request));
        answer.headers.insert(CONTENT_TYPE, PROBLEM);
        if let Some(seconds) = problem.retry_after() {
            answer.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = problem.allow().and_then(|methods| HeaderValue::from_str(methods).ok()) {
            answer.headers.insert(ALLOW, methods);
        }
        if problem.status() == StatusCode::UNAUTHORIZED {
            answer.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"pangate\""));
        }
        answer
    }

    /// Adds one header of ours.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Answer {
        self.headers.insert(name, value);
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The content type, if one was set.
    pub fn content_type(&self) -> &str {
        self.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json")
    }

    /// The body's bytes, as they are stored for a replay.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The HTTP response, with the request's id and no caching.
    pub fn into_response(self, request: &RequestId) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers
            .insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
        headers.insert(
            HeaderName::from_static("strict-transport-security"),
            HeaderValue::from_static("max-age=31536000"),
        );
        if let Ok(id) = HeaderValue::from_str(request.as_str()) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }
}
