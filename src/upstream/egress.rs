//! The way out: no connection without a live record in `policy/vendors` for the host and the data that goes there. The
//! record is asked before every request, and again with the addresses to which the host's name led, before a
//! connection is made; what is connected to is what was judged.

use crate::governance::{Egress, Governance, NoEgress};
use crate::record::now_us;
use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec::IntoIter;
use tower_service::Service;

/// What may go where, as the policy says now. Clones share it.
#[derive(Clone)]
pub struct Gate {
    governance: Arc<Governance>,
    classes: &'static [Egress],
}

impl Gate {
    /// A gate for connections on which data of those classes goes.
    pub fn new(governance: Arc<Governance>, classes: &'static [Egress]) -> Gate {
        Gate { governance, classes }
    }

    /// Whether anything may be sent to the host now.
    ///
    /// # Errors
    /// [`NoEgress`], which says what to do.
    pub fn permits(&self, host: &str) -> Result<(), NoEgress> {
        self.governance.now().egress(host, None, self.classes, seconds())
    }

    fn permits_at(&self, host: &str, addresses: &[SocketAddr]) -> Result<(), NoEgress> {
        let addresses: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
        self.governance.now().egress(host, Some(&addresses), self.classes, seconds())
    }
}

fn seconds() -> i64 {
    now_us().div_euclid(1_000_000)
}

/// Resolves names for the connector, and lets no address through that the record does not allow.
#[derive(Clone)]
pub(super) struct Resolver(pub(super) Gate);

impl Service<Name> for Resolver {
    type Response = IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let gate = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            match gate.permits_at(name.as_str(), &found) {
                Ok(()) => Ok(found.into_iter()),
                Err(refused) => {
                    tracing::warn!(
                        code = refused.code(),
                        "a name led where its record does not allow; not connected"
                    );
                    Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, refused))
                }
            }
        })
    }
}

/// The refusal at the bottom of a connector's error, if it is one.
pub(super) fn refusal(error: &(dyn std::error::Error + 'static)) -> Option<NoEgress> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refused) = error.downcast_ref::<NoEgress>() {
            return Some(*refused);
        }
        // An I/O error shows what it carries only by itself.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(refused) = inner.and_then(|inner| inner.downcast_ref::<NoEgress>()) {
            return Some(*refused);
        }
        next = error.source();
    }
    None
}
