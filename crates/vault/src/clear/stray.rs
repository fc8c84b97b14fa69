//! The last look. What still reads like a card after the swap does not leave, and only this room makes the types
//! that may leave: `Scrubbed` towards the companion, `SweptAnswer` back from it.

use super::intake;
use super::message::Head;
use crate::error::VaultError;
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST,
    HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::Full;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use sweep::document::Json;
use sweep::{Exemption, Kind, Limits, Verdict};

/// A message proven free of cards: the bytes that were searched are the bytes that leave. Only the card room makes
/// one, and it is the only thing that the companion's sender takes.
pub struct Scrubbed {
    head: Head,
    content_type: Option<String>,
    body: Bytes,
}

impl Scrubbed {
    /// Searches what is about to leave, and wraps it if nothing is found.
    pub(in crate::clear) fn prove(
        head: Head,
        content_type: Option<String>,
        body: Vec<u8>,
        exempt: &[Exemption],
        limits: &Limits,
    ) -> Result<Scrubbed, VaultError> {
        no_card_in_head(&head)?;
        if !body.is_empty() {
            no_card_in_body(content_type.as_deref(), &body, exempt, limits)?;
        }
        Ok(Scrubbed { head, content_type, body: Bytes::from(body) })
    }

    /// The bytes of the body that will leave, for tests and for what the gateway shows in its demonstration.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The request to the companion: method, path and query as they came, the headers that are about the message,
    /// our own framing and our own credential. Hop-by-hop headers, the caller's credential and cookies stay behind.
    ///
    /// # Errors
    /// [`VaultError::BadTarget`] when `target` has no scheme and authority, or the secret is no header value.
    pub fn into_request(
        self,
        target: &Uri,
        bearer: &SecretString,
    ) -> Result<Request<Full<Bytes>>, VaultError> {
        let bad = |_| VaultError::BadTarget;
        let uri = Uri::builder()
            .scheme(target.scheme_str().ok_or(VaultError::BadTarget)?)
            .authority(target.authority().ok_or(VaultError::BadTarget)?.as_str())
            .path_and_query(self.head.path_and_query.as_str())
            .build()
            .map_err(bad)?;
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.head.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = end_to_end(self.head.headers);
        if let Some(content_type) = self.content_type {
            let value = HeaderValue::try_from(content_type).map_err(|_| VaultError::BadTarget)?;
            request.headers_mut().insert(CONTENT_TYPE, value);
        }
        let mut credential = HeaderValue::try_from(format!("Bearer {}", bearer.expose_secret()))
            .map_err(|_| VaultError::BadTarget)?;
        credential.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, credential);
        Ok(request)
    }
}

/// The headers that speak of the message and not of the connection or the caller (RFC 9110 §7.6.1).
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    let ours = [
        AUTHORIZATION,
        CONNECTION,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        COOKIE,
        EXPECT,
        HOST,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in named.iter().chain(&ours) {
        headers.remove(name);
    }
    for name in
        ["keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "http2-settings"]
    {
        headers.remove(name);
    }
    headers
}

/// An answer of the companion in which nothing reads like a card.
pub struct SweptAnswer(Response<Bytes>);

impl SweptAnswer {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The headers, hop-by-hop ones and the content encoding removed: the body is decoded.
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The decoded body.
    pub fn body(&self) -> &Bytes {
        self.0.body()
    }

    /// The whole answer.
    pub fn into_response(self) -> Response<Full<Bytes>> {
        self.0.map(Full::new)
    }
}

/// Gathers, decodes and searches the companion's answer: headers, body, trailers. Trailers are not passed on.
pub(crate) async fn sweep_answer<B>(
    mut parts: http::response::Parts,
    body: B,
    limits: &Limits,
    deadline: Duration,
) -> Result<SweptAnswer, VaultError>
where
    B: Body<Data = Bytes>,
{
    if diverts(parts.status) {
        return Err(VaultError::AnswerDiverts);
    }
    let answer = |error| match error {
        VaultError::StrayPan { place } | VaultError::StrayCode { place } => {
            VaultError::StrayInAnswer { place }
        }
        _ => VaultError::AnswerUnreadable,
    };
    let (raw, trailers) = intake::gather(body, limits.body, deadline).await.map_err(answer)?;
    let mut body = intake::decoded(&parts.headers, raw, limits).map_err(answer)?;
    for headers in [&parts.headers, &trailers] {
        no_card_in_headers("/", headers).map_err(answer)?;
    }
    if !body.is_empty() {
        let content_type = parts.headers.get(CONTENT_TYPE).map(HeaderValue::to_str).transpose();
        let content_type = content_type.map_err(|_| VaultError::AnswerUnreadable)?;
        no_card_in_body(content_type, &body, &[], limits).map_err(answer)?;
    }
    // Built anew from what was searched: the reason phrase, which hyper keeps in the extensions, was not.
    let content_type = parts.headers.remove(CONTENT_TYPE);
    let mut answer = Response::new(Bytes::from(std::mem::take(&mut *body)));
    *answer.status_mut() = parts.status;
    *answer.headers_mut() = for_the_caller(end_to_end(parts.headers));
    content_type.map(|value| answer.headers_mut().insert(CONTENT_TYPE, value));
    Ok(SweptAnswer(answer))
}

/// Whether an answer of that status would have its reader leave HTTP, or send the request, card and all, to where the
/// companion points (RFC 9110 §15.4): 307 and 308 always, 301 and 302 as many clients read them. After 303 the reader
/// comes with a GET and empty hands, and 304 points nowhere.
fn diverts(status: StatusCode) -> bool {
    status.is_informational()
        || (status.is_redirection() && !matches!(status, StatusCode::SEE_OTHER | StatusCode::NOT_MODIFIED))
}

/// Headers by which a server speaks for its whole origin, or as the gateway does. The origin is ours, and companions
/// have no say in it: where a browser goes next time, which cookies it keeps, who else may read.
fn for_the_caller(mut headers: HeaderMap) -> HeaderMap {
    const NAMES: [&str; 18] = [
        "alt-svc",
        "clear-site-data",
        "content-security-policy",
        "content-security-policy-report-only",
        "idempotent-replayed",
        "link",
        "nel",
        "permissions-policy",
        "public-key-pins",
        "refresh",
        "report-to",
        "reporting-endpoints",
        "server",
        "service-worker-allowed",
        "set-cookie",
        "strict-transport-security",
        "timing-allow-origin",
        "www-authenticate",
    ];
    const BEGINNINGS: [&str; 3] = ["access-control-", "pangate-", "proxy-"];
    let foreign: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            NAMES.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        })
        .cloned()
        .collect();
    for name in foreign {
        headers.remove(name);
    }
    headers
}

/// Refuses a head in which anything reads like a card: path, query, every header.
pub(in crate::clear) fn no_card_in_head(head: &Head) -> Result<(), VaultError> {
    no_card_in_headers(&head.path_and_query, &head.headers)
}

/// As [`no_card_in_head`], for headers or trailers alone with `/` as the path.
pub(in crate::clear) fn no_card_in_headers(
    path_and_query: &str,
    headers: &HeaderMap,
) -> Result<(), VaultError> {
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    judge(sweep::sweep_head(path_and_query, headers))
}

/// Refuses a body in which anything reads like a card.
pub(in crate::clear) fn no_card_in_body(
    content_type: Option<&str>,
    body: &[u8],
    exempt: &[Exemption],
    limits: &Limits,
) -> Result<(), VaultError> {
    judge(sweep::sweep_message(content_type, None, body, limits, exempt)?)
}

/// Refuses a JSON tree in which anything reads like a card.
pub(in crate::clear) fn no_card_in_json(json: &Json) -> Result<(), VaultError> {
    judge(sweep::sweep_json(json, &[])?)
}

/// What is wrong with a message, unless `swept` found a stray card too: that is said first. Were the field that is
/// merely unknown named instead, its sender would rename it and send the card again.
pub(in crate::clear) fn first(swept: Result<(), VaultError>, error: VaultError) -> VaultError {
    match swept {
        Err(stray @ (VaultError::StrayPan { .. } | VaultError::StrayCode { .. })) => stray,
        _ => error,
    }
}

fn judge(verdict: Verdict) -> Result<(), VaultError> {
    match verdict {
        Verdict::Clean => Ok(()),
        Verdict::Hit(hit) => {
            // The root of a document has no name.
            let place = Some(hit.place.to_string()).filter(|place| !place.is_empty());
            let place = place.unwrap_or_else(|| "the body".to_owned());
            Err(match hit.kind {
                Kind::Pan | Kind::Unmasked => VaultError::StrayPan { place },
                Kind::VerificationCode => VaultError::StrayCode { place },
            })
        }
    }
}

static_assertions::assert_not_impl_any!(Scrubbed: Clone, Default, From<Vec<u8>>, From<Bytes>, std::fmt::Debug);
