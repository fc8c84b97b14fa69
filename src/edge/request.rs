//! One request at the door: its id, the checks, the load shed, its deadline, and a task of its own, so that neither
//! a panic nor a client that hangs up takes anything else down.

use super::accept::Room;
use super::connection::Line;
use super::head::Violation;
use super::hygiene::{self, METHODS};
use super::{Inbound, Peer, gate};
use crate::answer::{Answer, Code, Problem};
use crate::metrics::Door;
use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokens::RequestId;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;

/// Longest wait for a refusal to be recorded.
const RECORD: Duration = Duration::from_secs(2);

/// Answers, whatever arrives.
pub(super) async fn answer(
    room: Arc<Room>,
    line: Arc<Line>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let _busy = line.busy();
    let Ok(id) = RequestId::mint() else {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return Ok(response);
    };
    let span = tracing::info_span!("request", request_id = id.as_str());
    let version = request.version();
    let only_head = request.method() == Method::HEAD;
    let outcome = match admit(&room, &line, request) {
        Ok((permit, request)) => {
            let peer = Peer { addr: line.addr, tls: line.tls, request: id.clone() };
            work(&room, permit, request, peer).instrument(span.clone()).await
        }
        Err(problem) => Err(problem),
    };
    let mut response = match outcome {
        Ok(response) => response,
        Err(problem) => {
            record(&room, problem.code(), line.addr.ip(), &id).instrument(span.clone()).await;
            span.in_scope(|| refuse(&room, &problem, &id, version))
        }
    };
    // HTTP/2 has no header for it (RFC 9113 §8.2.2): there the connection says goodbye itself.
    if version == Version::HTTP_2 && response.headers_mut().remove(CONNECTION).is_some() {
        line.retire();
    }
    Ok(if only_head { without_body(response) } else { response })
}

/// The answer to a HEAD: hyper drops its body in HTTP/1.1 and sends it in HTTP/2, where clients take that for an
/// error of the protocol (RFC 9110 §9.3.2).
fn without_body(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let length = response.body().size_hint().exact().unwrap_or(0);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    *response.body_mut() = Full::default();
    response
}

/// Has a refusal of the door's own recorded, unless it is shed load; a log that is away delays it only so long.
pub(super) async fn record(room: &Room, code: Code, address: IpAddr, id: &RequestId) {
    if code.status() == StatusCode::SERVICE_UNAVAILABLE {
        return;
    }
    let recorded = room.dispatch.turned_away(code, address, id.clone());
    if tokio::time::timeout(RECORD, recorded).await.is_err() {
        tracing::warn!(code = code.as_str(), "a refusal could not be recorded in time");
    }
}

/// Decides whether to let the request in, before any work is done for it.
fn admit(
    room: &Room,
    line: &Line,
    request: Request<Incoming>,
) -> Result<(OwnedSemaphorePermit, Request<Inbound>), Problem> {
    let (parts, body) = request.into_parts();
    if let Some(violation) = line.verdict.get()
        // The request before the one that broke the rules may reach us after the verdict; it is honest.
        && (gate::is_stand_in(&parts) || *violation == Violation::Chunk)
    {
        return Err(violation.problem());
    }
    hygiene::check(&parts, room.limits.headers)?;
    let permit = Arc::clone(&room.requests).try_acquire_owned().map_err(|_| {
        Problem::new(Code::Overloaded, "Nothing was done; retry after the time in Retry-After")
    })?;
    Ok((permit, Request::from_parts(parts, Inbound::new(body))))
}

async fn work(
    room: &Arc<Room>,
    permit: OwnedSemaphorePermit,
    request: Request<Inbound>,
    peer: Peer,
) -> Result<Response<Full<Bytes>>, Problem> {
    let shared = Arc::clone(room);
    let act = async move {
        let act = tokio::time::timeout(shared.limits.abandon, shared.dispatch.dispatch(request, peer));
        let response = shared.cut.run_until_cancelled(act).await;
        // The place is given back when the act ends, not when its caller stops waiting.
        drop(permit);
        response
    };
    let task = room.tasks.spawn(act.in_current_span());
    match tokio::time::timeout(room.limits.request, task).await {
        Ok(Ok(Some(Ok(response)))) => Ok(response),
        Ok(Err(failure)) if failure.is_panic() => {
            // The payload stays unread: it may quote what was being worked on.
            tracing::error!("a request ended in a panic");
            room.metrics.door(Door::Panicked);
            Err(Problem::new(
                Code::Internal,
                "This is a defect of the gateway; report the request_id to its operator",
            ))
        }
        Ok(Ok(None)) => {
            Err(Problem::new(Code::Draining, "The outcome is not known; retry with the same Idempotency-Key"))
        }
        Ok(Ok(Some(Err(_))) | Err(_)) | Err(_) => Err(Problem::new(
            Code::RequestTimeout,
            "The outcome is not known; retry with the same Idempotency-Key",
        )),
    }
}

fn refuse(room: &Room, problem: &Problem, id: &RequestId, version: Version) -> Response<Full<Bytes>> {
    tracing::info!(code = problem.code_text(), "refused at the door");
    room.metrics.refused(problem.code().as_str());
    let mut answer = Answer::at_the_door(problem, id);
    if problem.code() == Code::MethodNotAllowed {
        answer = answer.with_header(ALLOW, METHODS);
    }
    // What follows on a connection that sent an ambiguous request cannot be trusted to be a request.
    if version != Version::HTTP_2 && problem.status().is_client_error() {
        answer = answer.with_header(CONNECTION, HeaderValue::from_static("close"));
    }
    answer.into_response(id)
}
