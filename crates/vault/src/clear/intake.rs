//! Reads a body to its end, bounded in size and time, into memory that is wiped. The only place in the tree that
//! takes frames off a body: card bytes exist nowhere before they exist here.

use crate::error::VaultError;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use http_body::Body;
use http_body_util::BodyExt;
use std::pin::pin;
use std::time::Duration;
use sweep::Limits;
use sweep::document::MediaType;
use tokio::time::Instant;
use zeroize::{Zeroize, Zeroizing};

/// A whole body, still unread: it can be drafted or given back searched, never looked at.
pub struct Intake {
    pub(in crate::clear) content_type: Option<String>,
    pub(in crate::clear) body: Zeroizing<Vec<u8>>,
    pub(in crate::clear) trailers: HeaderMap,
}

impl Intake {
    /// Bytes after undoing the content encoding.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// The content type as it was sent, which is one of the three that are read.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }
}

/// Gathers a request's body. A body needs one of the three content types; none is needed where there is no body.
pub(crate) async fn intake<B>(
    headers: &HeaderMap,
    body: B,
    limits: &Limits,
    deadline: Duration,
) -> Result<Intake, VaultError>
where
    B: Body<Data = Bytes>,
{
    let content_type = only(headers, &CONTENT_TYPE)?;
    if let Some(text) = &content_type {
        readable(text)?;
    }
    let (raw, trailers) = gather(body, limits.body, deadline).await?;
    let body = decoded(headers, raw, limits)?;
    if content_type.is_none() && !body.is_empty() {
        return Err(VaultError::UnsupportedMediaType);
    }
    Ok(Intake { content_type, body, trailers })
}

/// Undoes the content encoding, if one is named.
pub(in crate::clear) fn decoded(
    headers: &HeaderMap,
    raw: Zeroizing<Vec<u8>>,
    limits: &Limits,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let mut codings = vec![];
    for value in headers.get_all(CONTENT_ENCODING) {
        codings.push(value.to_str().map_err(|_| VaultError::UnsupportedMediaType)?);
    }
    // An answer to HEAD names the coding of a body that it does not have.
    if codings.is_empty() || raw.is_empty() {
        return Ok(raw);
    }
    Ok(sweep::decode::content(Some(&codings.join(",")), &raw, limits)?)
}

/// Exactly one of the three types, UTF-8, and no parameter that we would not honour.
fn readable(content_type: &str) -> Result<(), VaultError> {
    let media = MediaType::parse(content_type)?;
    let multipart = media.is("multipart/form-data");
    if !(multipart || media.is("application/json") || media.is("application/x-www-form-urlencoded")) {
        return Err(VaultError::UnsupportedMediaType);
    }
    let charset = media.parameter("charset");
    if charset.is_some_and(|name| !name.eq_ignore_ascii_case("utf-8")) {
        return Err(VaultError::UnsupportedMediaType);
    }
    let known =
        usize::from(charset.is_some()) + usize::from(multipart && media.parameter("boundary").is_some());
    let named = content_type.split(';').skip(1).filter(|part| !part.trim().is_empty()).count();
    // A parameter that only the reader behind us understands could change what the body means to it.
    if named == known && (!multipart || media.parameter("boundary").is_some()) {
        Ok(())
    } else {
        Err(VaultError::UnsupportedMediaType)
    }
}

/// The one value of a header that may come once; two would let two readers choose differently.
fn only(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, VaultError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(VaultError::UnsupportedMediaType);
    }
    value.to_str().map(|text| Some(text.to_owned())).map_err(|_| VaultError::UnsupportedMediaType)
}

/// Takes the frames off a body until its end, its limit or the deadline, and wipes each frame that is ours alone.
/// What hyper shares between frames is wiped by the process's allocator when it is freed.
#[expect(clippy::disallowed_methods, reason = "this is the one room that gathers a body, into wiped memory")]
pub(in crate::clear) async fn gather<B>(
    body: B,
    limit: usize,
    deadline: Duration,
) -> Result<(Zeroizing<Vec<u8>>, HeaderMap), VaultError>
where
    B: Body<Data = Bytes>,
{
    let until = Instant::now().checked_add(deadline).ok_or(VaultError::BodyTimeout)?;
    let announced = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
    if announced.is_some_and(|size| size > limit) {
        return Err(VaultError::TooLarge);
    }
    let mut body = pin!(body);
    let mut bytes = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(4096).min(limit)));
    let mut trailers = HeaderMap::new();
    loop {
        let next = tokio::time::timeout_at(until, body.frame()).await.map_err(|_| VaultError::BodyTimeout)?;
        let Some(frame) = next else { return Ok((bytes, trailers)) };
        match frame.map_err(|_| VaultError::BodyBroken)?.into_data() {
            Ok(data) => {
                if data.len() > limit.saturating_sub(bytes.len()) {
                    return Err(VaultError::TooLarge);
                }
                append(&mut bytes, &data);
                if let Ok(mut own) = data.try_into_mut() {
                    own.zeroize();
                }
            }
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
}

/// A vector that grows by itself would leave its old bytes behind; this one wipes them.
fn append(bytes: &mut Zeroizing<Vec<u8>>, data: &[u8]) {
    if bytes.capacity() - bytes.len() < data.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((bytes.len() + data.len()) * 2));
        larger.extend_from_slice(bytes);
        *bytes = larger;
    }
    bytes.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http_body_util::Full;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    async fn read(pairs: &[(&'static str, &'static str)], body: &'static [u8]) -> Result<Intake, VaultError> {
        let limits = Limits { body: 64, ..Limits::default() };
        intake(&headers(pairs), Full::new(Bytes::from_static(body)), &limits, Duration::from_secs(1)).await
    }

    #[tokio::test]
    async fn the_three_types_are_read_and_nothing_else() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=abc",
            "multipart/form-data; boundary=\"abc\"; charset=utf-8",
        ] {
            assert!(read(&[("content-type", good)], b"x").await.is_ok(), "{good}");
        }
        for bad in [
            "text/plain",
            "application/xml",
            "application/json; charset=utf-7",
            "application/json; charset=utf-16",
            "application/json; version=1",
            "application/json, text/plain",
            "application/problem+json",
            "multipart/form-data",
            "multipart/mixed; boundary=abc",
            "",
        ] {
            let refused = read(&[("content-type", bad)], b"x").await.err();
            assert_eq!(refused, Some(VaultError::UnsupportedMediaType), "{bad}");
        }
        assert_eq!(read(&[], b"x").await.err(), Some(VaultError::UnsupportedMediaType));
        assert!(read(&[], b"").await.is_ok());
        let mut twice = headers(&[("content-type", "application/json")]);
        twice.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = Full::new(Bytes::new());
        let refused = intake(&twice, body, &Limits::default(), Duration::from_secs(1)).await.err();
        assert_eq!(refused, Some(VaultError::UnsupportedMediaType));
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        let json = [("content-type", "application/json")];
        assert!(read(&json, &[b'x'; 64]).await.is_ok());
        assert_eq!(read(&json, &[b'x'; 65]).await.err(), Some(VaultError::TooLarge));
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up_at_its_deadline() {
        struct Never;
        impl Body for Never {
            type Data = Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
                std::task::Poll::Pending
            }
        }
        let json = headers(&[("content-type", "application/json")]);
        let refused = intake(&json, Never, &Limits::default(), Duration::from_millis(20)).await.err();
        assert_eq!(refused, Some(VaultError::BodyTimeout));
    }

    #[tokio::test]
    async fn an_encoding_that_lies_is_refused() {
        let pairs = [("content-type", "application/json"), ("content-encoding", "gzip")];
        assert_eq!(read(&pairs, b"not gzip").await.err(), Some(VaultError::Undecodable));
        let pairs = [("content-type", "application/json"), ("content-encoding", "compress")];
        assert_eq!(read(&pairs, b"x").await.err(), Some(VaultError::UnsupportedMediaType));
    }
}

static_assertions::assert_not_impl_any!(Intake: std::fmt::Debug, Clone, AsRef<[u8]>, serde::Serialize);
