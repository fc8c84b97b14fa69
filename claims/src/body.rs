//! Gathering a message's body within a limit, into memory that is wiped: a body that should not hold a card
//! number may hold one all the same. Frames are polled by hand because `BodyExt` is banned (clippy.toml): its
//! `collect` has no limit and leaves copies that nobody wipes.

use hyper::body::{Body, Bytes};
use std::pin::{Pin, pin};
use zeroize::Zeroizing;

/// Why a body was not gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than the limit.
    #[error("the body is longer than its limit")]
    TooLarge,
    /// The sender broke off.
    #[error("the body broke off")]
    Cut,
}

/// All bytes of `body`, at most `limit`. The caller sets the deadline. Trailers end the body and are dropped.
///
/// # Errors
/// [`BodyError`].
pub async fn gather<B>(body: B, limit: usize) -> Result<Zeroizing<Vec<u8>>, BodyError>
where
    B: Body<Data = Bytes>,
{
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(BodyError::TooLarge);
    }
    let mut body = pin!(body);
    // Room for all of it at once: growing would leave unwiped copies behind.
    let mut gathered = Zeroizing::new(Vec::with_capacity(limit));
    while let Some(frame) = std::future::poll_fn(|context| Pin::as_mut(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|_| BodyError::Cut)?.into_data() else { continue };
        if gathered.len().saturating_add(data.len()) > limit {
            return Err(BodyError::TooLarge);
        }
        gathered.extend_from_slice(&data);
    }
    Ok(gathered)
}

/// Reads on without keeping anything, at most `limit` bytes: a sender that is refused while it still sends would
/// otherwise see its connection reset, and never the answer that says why.
pub async fn discard<B>(body: &mut B, limit: usize)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut left = limit;
    while let Some(Ok(frame)) = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
    {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    #[tokio::test]
    async fn a_body_of_the_limit_is_gathered_and_one_more_byte_is_refused() {
        let body = |length: usize| Full::new(Bytes::from(vec![b'a'; length]));

        assert_eq!(gather(body(16), 16).await.unwrap().len(), 16);
        assert_eq!(gather(body(17), 16).await.unwrap_err(), BodyError::TooLarge);
    }
}
