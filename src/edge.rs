//! The door: TLS, connections, HTTP framing, limits and drain. A request leaves here either refused or as one that
//! can be read in one way only, with its body still unread. Who calls and what for is decided further in.

mod accept;
mod connection;
mod framing;
mod gate;
mod head;
mod hygiene;
mod inbound;
mod limits;
mod plain;
mod request;
mod rinse;
mod target;
mod tls;
mod wiped;

pub use accept::{Cut, serve};
pub use hygiene::forwardable;
pub use inbound::{Inbound, InboundError};
pub use limits::Limits;
pub use tls::{ServerTls, TlsError, client_config, server_config};

use crate::answer::Code;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use std::net::{IpAddr, SocketAddr};
use tokens::RequestId;

/// What stands behind the door. It is called once for each request that was let in, on a task of its own, which a
/// client that hangs up does not cancel: an act that has begun runs to its end.
pub trait Dispatch: Send + Sync + 'static {
    /// Answers one request. A panic in here becomes a 500 and the connection lives on.
    fn dispatch(&self, request: Request<Inbound>, peer: Peer) -> BoxFuture<'static, Response<Full<Bytes>>>;

    /// Records what the door itself answered (P10): a request that was not let in, or whose act never came to an
    /// answer. Shed load is not recorded, for that would be the work that is being saved. Nothing by default.
    fn turned_away(&self, code: Code, address: IpAddr, request: RequestId) -> BoxFuture<'static, ()> {
        let _ = (code, address, request);
        Box::pin(std::future::ready(()))
    }
}

/// Who is at the other end of the connection, and the id that this request got.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Address of the TCP connection's other end.
    pub addr: SocketAddr,
    /// What the handshake came to.
    pub tls: TlsFacts,
    /// The request's id, minted here.
    pub request: RequestId,
}

/// The negotiated TLS parameters, as rustls names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1_3` or `TLSv1_2`.
    pub version: &'static str,
    /// Cipher suite.
    pub suite: &'static str,
    /// Key exchange group, such as `X25519MLKEM768`.
    pub group: &'static str,
}
