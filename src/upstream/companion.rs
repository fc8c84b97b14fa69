//! The claims-and-statements service. The only thing that can be sent there is a [`Scrubbed`] message, and nothing
//! but its answer, unread, comes back.

use super::egress::{self, Gate, Resolver};
use crate::edge::{TlsError, client_config};
use crate::governance::{Egress, Governance, NoEgress};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use secrecy::SecretString;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use vault::{Scrubbed, VaultError};

/// What a message to the companion is made of: tokens, and the account, statement and note of a patient.
const CARRIES: [Egress; 2] = [Egress::Token, Egress::Phi];
/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// Time from sending to the head of the answer.
const ANSWER: Duration = Duration::from_secs(15);
/// Time for the health check.
const HEALTH: Duration = Duration::from_secs(1);
/// An answer that takes longer than this is waited for only while the companion says that it is well: one that hangs
/// is noticed within seconds, one that works slowly has its time.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long an unused connection is kept; less than any server keeps its side.
const IDLE: Duration = Duration::from_secs(20);
/// Unused connections kept.
const SPARE: usize = 64;

/// A client of the companion: one host, one certificate authority, one credential, no redirects.
pub struct Companion {
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    gate: Gate,
    base: Uri,
    health: Uri,
    bearer: SecretString,
}

/// Why there is no answer. Quotes nothing of what was sent.
#[derive(Debug, thiserror::Error)]
pub enum CompanionError {
    /// No record in `policy/vendors` lets it: nothing left.
    #[error("the companion may not be connected to and nothing was sent: {0}")]
    NoEgress(#[source] NoEgress),
    /// The connection could not be made: nothing left, and a retry is safe.
    #[error("the companion cannot be reached and nothing was sent; start it or check companion.url")]
    NotSent,
    /// It was sent, and no answer came: what it did is not known.
    #[error("the companion gave no answer; whether it acted is not known")]
    Unknown,
    /// The message could not be made into a request.
    #[error("the message could not be prepared for the companion; nothing was sent")]
    Message(#[source] VaultError),
    /// `companion.ca` cannot be used.
    #[error("companion.ca: {0}")]
    Tls(#[from] TlsError),
    /// `companion.url` is no `https://host:port`.
    #[error("companion.url must be https://host:port without a path")]
    Url,
}

impl Companion {
    /// A client for `base`, which believes no certificate but those below `ca`.
    ///
    /// # Errors
    /// [`CompanionError::Url`] or [`CompanionError::Tls`]. The companion itself may still be away.
    pub fn new(
        base: Uri,
        ca: &Path,
        bearer: SecretString,
        governance: Arc<Governance>,
    ) -> Result<Companion, CompanionError> {
        let plain =
            base.scheme_str() == Some("https") && matches!(base.path(), "" | "/") && base.query().is_none();
        let authority = base.authority().filter(|_| plain).ok_or(CompanionError::Url)?;
        let health: Uri = format!("https://{authority}/healthz").parse().map_err(|_| CompanionError::Url)?;
        let gate = Gate::new(governance, &CARRIES);
        let mut tcp = HttpConnector::new_with_resolver(Resolver(gate.clone()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let tls = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(client_config(ca)?)
            .https_only()
            // One request a connection: a lost connection leaves one request in doubt, not all of them.
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(SPARE)
            // A pooled connection that turns out to be dead before a byte was written is replaced by a fresh one.
            .retry_canceled_requests(true)
            .build(tls);
        Ok(Companion { client, gate, base, health, bearer })
    }

    /// Sends and waits for the head of the answer, whatever its status; redirects are answers like any other.
    ///
    /// # Errors
    /// [`CompanionError::NotSent`] when nothing left, [`CompanionError::Unknown`] when no answer came.
    pub async fn send(&self, scrubbed: Scrubbed) -> Result<Response<Incoming>, CompanionError> {
        let request = scrubbed.into_request(&self.base, &self.bearer).map_err(CompanionError::Message)?;
        let mut answer = pin!(self.exchange(request, ANSWER));
        loop {
            match tokio::time::timeout(PATIENCE, answer.as_mut()).await {
                Ok(answer) => return answer,
                Err(_) => tokio::select! {
                    biased;
                    answer = answer.as_mut() => return answer,
                    well = self.reachable() => if !well { return Err(CompanionError::Unknown) },
                },
            }
        }
    }

    /// Whether the companion says that it is well, within a second.
    pub async fn reachable(&self) -> bool {
        let Ok(request) = Request::get(self.health.clone()).body(Full::default()) else { return false };
        self.exchange(request, HEALTH).await.is_ok_and(|response| response.status().is_success())
    }

    /// Whether the policy lets anything go there.
    ///
    /// # Errors
    /// [`NoEgress`], which says what to do.
    pub fn permitted(&self) -> Result<(), NoEgress> {
        self.gate.permits(self.base.host().unwrap_or_default())
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        time: Duration,
    ) -> Result<Response<Incoming>, CompanionError> {
        // Also for a connection that is there already: a record can run out while it lies idle.
        self.permitted().map_err(CompanionError::NoEgress)?;
        match tokio::time::timeout(time, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() && egress::refusal(&error).is_some() => {
                Err(egress::refusal(&error).map_or(CompanionError::NotSent, CompanionError::NoEgress))
            }
            Ok(Err(error)) if error.is_connect() => Err(CompanionError::NotSent),
            Ok(Err(_)) | Err(_) => Err(CompanionError::Unknown),
        }
    }
}
