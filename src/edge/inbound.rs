//! The still unread body of a request. Opaque on purpose: only the card room gathers its bytes, into memory that is
//! wiped.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A body that nobody has read.
#[must_use = "an unread body is the only copy"]
pub struct Inbound(Incoming);

/// The body ended before it was complete, or broke the framing rules on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body broke off before it was complete; send it again")]
pub struct InboundError;

impl Inbound {
    pub(super) fn new(body: Incoming) -> Inbound {
        Inbound(body)
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = InboundError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InboundError>>> {
        // hyper's own error may quote what it stumbled over; it stops here.
        Pin::new(&mut self.0).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|_| InboundError)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
