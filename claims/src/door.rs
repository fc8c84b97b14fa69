//! The door: TLS, limits on connections and times, and a drain that leaves no payment half done.

use crate::routes::{self, Desk};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

const CONNECTIONS: usize = 512;
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
const HEADER_TIME: Duration = Duration::from_secs(15);
const DRAIN_TIME: Duration = Duration::from_secs(15);
const STREAMS: u32 = 128;
const HEADER_BYTES: u32 = 16 * 1024;

/// The door cannot open.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Certificate and key do not fit, or the provider lacks a protocol version.
    #[error(
        "server.tls_cert and server.tls_key cannot be used: the key must belong to the first certificate"
    )]
    Tls(#[source] rustls::Error),
    /// The address cannot be bound.
    #[error("server.listen cannot be bound: the port is taken or not allowed")]
    Listen(#[source] std::io::Error),
}

/// A bound listener with its certificate.
pub struct Door {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    address: SocketAddr,
}

impl Door {
    /// Binds. TLS 1.3 and 1.2 only, by aws-lc-rs, HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// [`DoorError`].
    pub async fn open(
        listen: SocketAddr,
        certificates: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, DoorError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(DoorError::Tls)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(DoorError::Tls)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind(listen).await.map_err(DoorError::Listen)?;
        let address = listener.local_addr().map_err(DoorError::Listen)?;
        Ok(Door { listener, acceptor: TlsAcceptor::from(Arc::new(tls)), address })
    }

    /// Where it listens, with the port that was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then takes no more, lets what is under way end, and closes the database.
    pub async fn serve(self, desk: Arc<Desk>, stop: impl Future<Output = ()>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let graceful = GracefulShutdown::new();
        tokio::pin!(stop);
        loop {
            // Without room nobody is let in, and the kernel's queue holds who waits.
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = accept(&self.listener, &room) => accepted,
            };
            match accepted {
                Some((stream, permit)) => {
                    let connection = converse(
                        stream,
                        self.acceptor.clone(),
                        Arc::clone(&desk),
                        graceful.watcher(),
                        permit,
                    );
                    tokio::spawn(connection);
                }
                // Out of file descriptors, most likely: a pause instead of a spin.
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        drop(self.listener);
        let drained = async {
            graceful.shutdown().await;
            desk.under_way.close();
            desk.under_way.wait().await;
        };
        if tokio::time::timeout(DRAIN_TIME, drained).await.is_err() {
            tracing::warn!(event = "drain_cut", seconds = DRAIN_TIME.as_secs());
        }
        desk.database.close().await;
    }
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, permit))
}

async fn converse(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    desk: Arc<Desk>,
    watcher: Watcher,
    _permit: OwnedSemaphorePermit,
) {
    // Nagle would hold small answers back.
    let _ = stream.set_nodelay(true);
    // A client that never speaks would keep its place for ever.
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await else {
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let desk = Arc::clone(&desk);
        async move { Ok::<Response<_>, Infallible>(routes::handle(desk, request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(usize::try_from(HEADER_BYTES).unwrap_or(16 * 1024))
        .max_headers(64);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    // Errors here are the peer's: a reset, a broken frame. There is nobody left to tell.
    let _ = watcher.watch(connection).await;
}
