//! Which request goes where. A credential is asked for first, then head and body are swept, then read.

use crate::access::Expected;
use crate::answer::{Answer, Refusal};
use crate::body::{self, BodyError};
use crate::database::Database;
use crate::intake;
use crate::order::Sender;
use crate::payment::Cashier;
use crate::{refund, views};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokens::{Principal, RequestId, Tenant};
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

/// Largest body in bytes.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;
const BODY_TIME: Duration = Duration::from_secs(10);
/// How much of a refused body is still taken off the wire, and for how long.
const DISCARD_LIMIT: usize = 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// Everything an answer needs.
pub struct Desk {
    /// The companion's database.
    pub database: Database,
    /// Makes payments.
    pub cashier: Cashier,
    /// What the gateway bears.
    pub gateway_access: Expected,
    /// What staff tools bear.
    pub reader_access: Expected,
    /// Payments under way: they run to their end even when the caller hangs up, and a drain waits for them.
    pub under_way: TaskTracker,
}

enum Route<'a> {
    Payments,
    RefundNotices,
    Account(&'a str),
    Statement(&'a str),
    Health,
}

impl Route<'_> {
    /// The template, for logs: a path could hold anything.
    fn name(&self) -> &'static str {
        match self {
            Route::Payments => "/portal/payments",
            Route::RefundNotices => "/v1/refund-notices",
            Route::Account(_) => "/v1/accounts/{id}",
            Route::Statement(_) => "/v1/statements/{id}",
            Route::Health => "/healthz",
        }
    }

    fn method(&self) -> (Method, &'static str) {
        match self {
            Route::Payments | Route::RefundNotices => (Method::POST, "POST"),
            Route::Account(_) | Route::Statement(_) | Route::Health => (Method::GET, "GET"),
        }
    }
}

fn route(path: &str) -> Option<Route<'_>> {
    match path {
        "/portal/payments" => Some(Route::Payments),
        "/v1/refund-notices" => Some(Route::RefundNotices),
        "/healthz" => Some(Route::Health),
        _ => {
            let account = path.strip_prefix("/v1/accounts/").map(Route::Account);
            account.or_else(|| path.strip_prefix("/v1/statements/").map(Route::Statement))
        }
    }
}

/// Answers one request. Never fails: what goes wrong is an answer too.
pub async fn handle(desk: Arc<Desk>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let begun = Instant::now();
    let (head, mut body) = request.into_parts();
    let Some(id) = request_id(&head.headers) else {
        // Without random bytes not even a request can be named.
        let body = r#"{"type":"urn:pangate:problem:random_unavailable","title":"Unavailable","status":503,"detail":"the host gives no random bytes; repeat the request","code":"random_unavailable"}"#;
        return send(&Answer { status: 503, body: body.to_owned(), replayed: false, allow: None });
    };
    // Copied, because the head is taken along into the act.
    let path = head.uri.path().to_owned();
    let route = route(&path);
    let name = route.as_ref().map_or("none", Route::name);
    let outcome = match route {
        Some(route) if head.method != route.method().0 => Err(Refusal::MethodNotAllowed(route.method().1)),
        Some(route) => act(&desk, route, head, &mut body).await,
        None => Err(Refusal::RouteUnknown),
    };
    if outcome.is_err() {
        let _ = tokio::time::timeout(DISCARD_TIME, body::discard(&mut body, DISCARD_LIMIT)).await;
    }
    let answer = outcome.unwrap_or_else(|refusal| {
        note(&refusal, &id);
        refusal.answer(&id)
    });
    let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(event = "request", request_id = %id, route = name, status = answer.status, millis);
    send(&answer)
}

async fn act(
    desk: &Arc<Desk>,
    route: Route<'_>,
    head: Parts,
    body: &mut Incoming,
) -> Result<Answer, Refusal> {
    match route {
        Route::Payments => {
            let (sender, body) = receive(desk, &head, body).await?;
            let order = intake::order(&head.headers, &body)?;
            let at = Arc::clone(desk);
            finish(desk, async move { at.cashier.pay(&sender, &order).await }).await
        }
        Route::RefundNotices => {
            let (sender, body) = receive(desk, &head, body).await?;
            let notice = intake::refund_notice(&head.headers, &body)?;
            let database = desk.database.clone();
            finish(desk, async move { refund::post(&database, &sender.tenant, &notice).await }).await
        }
        Route::Account(id) => {
            let tenant = reader(desk, &head)?;
            views::account(&desk.database, tenant.as_ref(), id).await
        }
        Route::Statement(id) => {
            let tenant = reader(desk, &head)?;
            views::statement(&desk.database, tenant.as_ref(), id).await
        }
        Route::Health => {
            desk.database.ready().await?;
            Ok(Answer::success(200, &json!({ "status": "ok" })))
        }
    }
}

/// Admits the gateway, reads the body within its limits, and sweeps all of it before anything else looks at it.
async fn receive(
    desk: &Desk,
    head: &Parts,
    body: &mut Incoming,
) -> Result<(Sender, Zeroizing<Vec<u8>>), Refusal> {
    desk.gateway_access.admit(&head.headers)?;
    intake::sweep_head(head)?;
    let gathered = tokio::time::timeout(BODY_TIME, body::gather(body, BODY_LIMIT)).await;
    let body = gathered.map_err(|_| Refusal::BodySlow)?.map_err(|error| match error {
        BodyError::TooLarge => {
            Refusal::Undecidable { status: 413, code: "body_too_large", why: error.to_string() }
        }
        BodyError::Cut => Refusal::Undecidable { status: 400, code: "body_cut", why: error.to_string() },
    })?;
    intake::sweep_body(&head.headers, &body)?;
    Ok((sender(&head.headers)?, body))
}

fn reader(desk: &Desk, head: &Parts) -> Result<Option<Tenant>, Refusal> {
    desk.reader_access.admit(&head.headers)?;
    intake::sweep_head(head)?;
    one(&head.headers, "pangate-tenant")
        .map_err(|()| Refusal::HeaderInvalid("Pangate-Tenant"))?
        .map(|name| Tenant::parse(name).map_err(|_| Refusal::HeaderInvalid("Pangate-Tenant")))
        .transpose()
}

fn sender(headers: &HeaderMap) -> Result<Sender, Refusal> {
    let need = |name: &'static str| one(headers, name).ok().flatten().ok_or(Refusal::HeaderInvalid(name));
    let invalid = Refusal::HeaderInvalid;
    let tenant = Tenant::parse(need("Pangate-Tenant")?).map_err(|_| invalid("Pangate-Tenant"))?;
    let principal = Principal::parse(need("Pangate-Principal")?).map_err(|_| invalid("Pangate-Principal"))?;
    let request = RequestId::parse(need("Pangate-Request-Id")?).map_err(|_| invalid("Pangate-Request-Id"))?;
    let key = one(headers, "idempotency-key").map_err(|()| invalid("Idempotency-Key"))?;
    if key.is_some_and(|key| key.is_empty() || key.len() > 255) {
        return Err(invalid("Idempotency-Key"));
    }
    Ok(Sender::new(tenant, principal, request, key))
}

/// The header's one value, if it has one; two values are an attempt to be read in two ways.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// Runs to the end whatever becomes of the connection: a caller that hangs up must not leave a charge unposted.
async fn finish<F>(desk: &Desk, act: F) -> Result<Answer, Refusal>
where
    F: Future<Output = Result<Answer, Refusal>> + Send + 'static,
{
    desk.under_way.spawn(act).await.unwrap_or(Err(Refusal::Internal))
}

fn request_id(headers: &HeaderMap) -> Option<RequestId> {
    let given = one(headers, "pangate-request-id").ok().flatten().and_then(|id| RequestId::parse(id).ok());
    given.or_else(|| RequestId::mint().ok())
}

fn note(refusal: &Refusal, id: &RequestId) {
    match refusal {
        Refusal::PanSeen | Refusal::CvcSeen | Refusal::NotAToken => {
            tracing::error!(event = "card_data_reached_the_companion", request_id = %id, code = refusal.kind().1);
        }
        Refusal::Store(cause) => {
            tracing::error!(event = "store_failed", request_id = %id, what = %cause);
        }
        _ => {}
    }
}

fn send(answer: &Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body.clone())));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if answer.replayed {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    if let Some(seconds) = answer.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    if answer.status == 401 {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(methods) = answer.allow {
        headers.insert(ALLOW, HeaderValue::from_static(methods));
    }
    response
}
