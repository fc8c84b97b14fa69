//! What a request may carry, checked on the parsed head of either HTTP version; and which of its headers may travel
//! on. Framing was checked before; the checks here also hold for HTTP/2, where no framing gate stands.

use super::{head, target};
use crate::answer::{Code, Problem};
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Version};

/// Protocol features that nobody needs here and that have carried second requests past gateways (row 63 of the
/// adversarial list): tunnels, upgrades, replayable early data, 100-continue.
const REFUSED: [&str; 5] = ["upgrade", "expect", "early-data", "http2-settings", "proxy-authorization"];

/// Headers that mean one thing only once.
const SINGLE: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::AUTHORIZATION,
    HeaderName::from_static("idempotency-key"),
];

/// The only headers of a caller's that an upstream ever sees.
const FORWARDED: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::USER_AGENT,
    HeaderName::from_static("idempotency-key"),
];

/// Methods that a route may take, as `Allow` names them.
pub(super) const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");

/// Refuses a head that could be read in two ways, or that asks for what is not offered. `most` is the number of
/// headers allowed.
///
/// # Errors
/// The [`Problem`] for the caller, naming the header at fault and never its contents.
pub(super) fn check(parts: &Parts, most: usize) -> Result<(), Problem> {
    method(&parts.method)?;
    if !matches!(parts.version, Version::HTTP_11 | Version::HTTP_2) {
        return Err(Problem::new(Code::ProtocolRefused, "Use HTTP/1.1 or HTTP/2"));
    }
    let headers = &parts.headers;
    if headers.len() > most {
        return Err(Problem::new(Code::HeadersTooLarge, "Send fewer headers"));
    }
    if let Some(name) = REFUSED.into_iter().find(|name| headers.contains_key(*name)) {
        return Err(Problem::new(Code::ProtocolRefused, "Send the request without this header").at(name));
    }
    if let Some(name) = SINGLE.iter().find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
        return Err(ambiguous("Send this header once", name));
    }
    lengths(headers)?;
    connection(headers)?;
    content(headers)?;
    authority(parts)?;
    target::check(&parts.uri)
}

/// Copies the headers that may travel on: a positive list, less what `Connection` names. Everything that speaks of
/// this hop, of who calls (`Authorization`, `Cookie`), of where from (`Forwarded`), or of a body that will be
/// written anew, stays here.
pub fn forwardable(headers: &HeaderMap) -> HeaderMap {
    let nominated: Vec<String> = nominated(headers).map(str::to_ascii_lowercase).collect();
    FORWARDED
        .iter()
        .filter(|name| !nominated.iter().any(|nominated| nominated == name.as_str()))
        .filter_map(|name| headers.get(name).map(|value| (name.clone(), value.clone())))
        .collect()
}

fn method(method: &Method) -> Result<(), Problem> {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => Ok(()),
        Method::CONNECT => Err(Problem::new(Code::ProtocolRefused, "Tunnels are not offered")),
        _ => Err(Problem::new(Code::MethodNotAllowed, "Use GET, HEAD, POST, PUT, PATCH or DELETE")),
    }
}

fn lengths(headers: &HeaderMap) -> Result<(), Problem> {
    let length = headers.get(header::CONTENT_LENGTH);
    if let Some(coding) = headers.get(header::TRANSFER_ENCODING) {
        if length.is_some() {
            return Err(ambiguous(
                "Send Content-Length or Transfer-Encoding, not both",
                &header::CONTENT_LENGTH,
            ));
        }
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(ambiguous(
                "Send no Transfer-Encoding other than chunked",
                &header::TRANSFER_ENCODING,
            ));
        }
    }
    match length {
        Some(length) if length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit) => {
            Err(ambiguous("Send a plain number", &header::CONTENT_LENGTH))
        }
        _ => Ok(()),
    }
}

/// `Connection: authorization` and the like make the next hop drop what this hop relied on.
fn connection(headers: &HeaderMap) -> Result<(), Problem> {
    let wrong = nominated(headers).any(|name| {
        !name.bytes().all(head::is_token)
            || SINGLE.iter().any(|single| name.eq_ignore_ascii_case(single.as_str()))
    });
    let unreadable = headers.get_all(header::CONNECTION).iter().any(|value| value.to_str().is_err());
    if wrong || unreadable {
        return Err(ambiguous("Name no end-to-end header in Connection", &header::CONNECTION));
    }
    Ok(())
}

fn nominated(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// Two types, or more codings than are ever unwrapped.
fn content(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported =
        |detail, name: &HeaderName| Problem::new(Code::UnsupportedMediaType, detail).at(name.as_str());
    if headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().contains(&b',')) {
        return Err(unsupported("Name one content type", &header::CONTENT_TYPE));
    }
    let codings = headers
        .get(header::CONTENT_ENCODING)
        .map_or(0, |value| value.as_bytes().split(|b| *b == b',').count());
    if codings > 2 {
        return Err(unsupported("Compress the body at most twice", &header::CONTENT_ENCODING));
    }
    Ok(())
}

/// One host, whichever way it is named.
fn authority(parts: &Parts) -> Result<(), Problem> {
    let host = parts.headers.get(header::HOST).map(HeaderValue::as_bytes);
    let target = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    if parts.uri.scheme_str().is_some_and(|scheme| scheme != "https") {
        return Err(Problem::new(Code::InvalidTarget, "Send a path, or an absolute https target"));
    }
    let named = match (host, target) {
        (Some(host), Some(target)) if !host.eq_ignore_ascii_case(target) => {
            return Err(ambiguous("Name the same host in the target and in Host", &header::HOST));
        }
        (Some(host), _) => host,
        (None, Some(target)) if parts.version == Version::HTTP_2 => target,
        (None, _) => return Err(ambiguous("Send exactly one Host", &header::HOST)),
    };
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b".-:[]_".contains(b);
    if named.is_empty() || named.len() > 255 || !named.iter().all(plain) {
        return Err(ambiguous("Name one host, with a port at most", &header::HOST));
    }
    Ok(())
}

fn ambiguous(detail: &'static str, name: &HeaderName) -> Problem {
    Problem::new(Code::AmbiguousRequest, detail).at(name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn judge(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<(), Code> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0, 16).map_err(|problem| problem.code())
    }

    #[test]
    fn an_honest_request_passes() {
        assert_eq!(
            judge("POST", "/v1/tokens", &[("host", "a:8443"), ("content-type", "application/json")]),
            Ok(())
        );
        assert_eq!(
            judge(
                "GET",
                "https://a/x",
                &[("host", "A"), ("connection", "keep-alive, TE"), ("te", "trailers")]
            ),
            Ok(())
        );
    }

    #[test]
    fn two_readings_and_unwanted_features_are_refused() {
        use Code::{
            AmbiguousRequest, HeadersTooLarge, InvalidTarget, MethodNotAllowed, ProtocolRefused,
            UnsupportedMediaType,
        };
        let host = ("host", "a");
        for (method, uri, headers, expected) in [
            ("TRACE", "/", vec![host], MethodNotAllowed),
            ("OPTIONS", "/", vec![host], MethodNotAllowed),
            ("CONNECT", "a:1", vec![host], ProtocolRefused),
            ("GET", "/", vec![host, ("upgrade", "websocket")], ProtocolRefused),
            ("POST", "/", vec![host, ("expect", "100-continue")], ProtocolRefused),
            ("GET", "/", vec![host, ("early-data", "1")], ProtocolRefused),
            ("GET", "/", vec![], AmbiguousRequest),
            ("GET", "/", vec![host, host], AmbiguousRequest),
            ("GET", "/", vec![("host", "a,b")], AmbiguousRequest),
            ("GET", "/", vec![("host", "x@a")], AmbiguousRequest),
            ("GET", "https://b/", vec![host], AmbiguousRequest),
            ("GET", "http://a/", vec![host], InvalidTarget),
            (
                "POST",
                "/",
                vec![host, ("content-length", "1"), ("transfer-encoding", "chunked")],
                AmbiguousRequest,
            ),
            ("POST", "/", vec![host, ("content-length", "1"), ("content-length", "1")], AmbiguousRequest),
            ("POST", "/", vec![host, ("transfer-encoding", "gzip, chunked")], AmbiguousRequest),
            ("POST", "/", vec![host, ("connection", "close, Authorization")], AmbiguousRequest),
            ("POST", "/", vec![host, ("content-type", "a/b"), ("content-type", "a/b")], AmbiguousRequest),
            (
                "POST",
                "/",
                vec![host, ("authorization", "Bearer a"), ("authorization", "Bearer b")],
                AmbiguousRequest,
            ),
            ("POST", "/", vec![host, ("idempotency-key", "a"), ("idempotency-key", "b")], AmbiguousRequest),
            ("POST", "/", vec![host, ("content-type", "application/json, text/plain")], UnsupportedMediaType),
            ("POST", "/", vec![host, ("content-encoding", "gzip, gzip, gzip")], UnsupportedMediaType),
            ("GET", "/a/../b", vec![host], InvalidTarget),
            ("GET", "/", [vec![host], vec![("x", "y"); 16]].concat(), HeadersTooLarge),
        ] {
            assert_eq!(judge(method, uri, &headers), Err(expected), "{method} {uri} {headers:?}");
        }
    }

    #[test]
    fn only_listed_headers_travel_on() {
        let request = Request::builder()
            .header("content-type", "application/json")
            .header("accept", "*/*")
            .header("user-agent", "portal")
            .header("idempotency-key", "k")
            .header("authorization", "Bearer secret")
            .header("cookie", "a=b")
            .header("x-forwarded-for", "1.1.1.1")
            .header("forwarded", "for=1.1.1.1")
            .header("content-encoding", "gzip")
            .header("connection", "close, User-Agent")
            .header("pangate-tenant", "forged")
            .body(())
            .unwrap();
        let forwarded = forwardable(request.headers());
        let mut names: Vec<&str> = forwarded.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-type", "idempotency-key"]);
    }
}
