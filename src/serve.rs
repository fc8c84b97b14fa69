//! `pangate serve`: read settings, assemble, listen, drain.

mod device_logs;
mod house;
mod reload;

use crate::answer::Code;
use crate::assemble::{self, StartError, assemble};
use crate::edge::{self, Dispatch, Inbound, Limits, Peer};
use crate::gateway::Gateway;
use crate::keys::OpenTarget;
use crate::ops::{self, PartState, Readiness};
use crate::record::Event;
use crate::settings::Settings;
use crate::{front, log, settings};
use arc_swap::ArcSwap;
use audit::{Action, Resource};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokens::RequestId;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The gateway as the edge and the loopback listener see it.
struct Service(Arc<Gateway>);

impl Dispatch for Service {
    fn dispatch(&self, request: Request<Inbound>, peer: Peer) -> BoxFuture<'static, Response<Full<Bytes>>> {
        let gateway = self.0.clone();
        Box::pin(async move { front::answer(&gateway, request, peer).await })
    }

    fn turned_away(&self, code: Code, address: IpAddr, request: RequestId) -> BoxFuture<'static, ()> {
        let gateway = self.0.clone();
        Box::pin(async move { front::turned_away(&gateway, code, address, request).await })
    }
}

impl Readiness for Service {
    fn ready(&self) -> BoxFuture<'static, Vec<PartState>> {
        let gateway = self.0.clone();
        Box::pin(async move { house::parts(&gateway).await })
    }

    fn warnings(&self) -> Vec<ops::Warning> {
        house::warnings(&self.0)
    }

    fn policy(&self) -> Option<String> {
        Some(self.0.governance.now().hash_text())
    }
}

/// Runs the gateway until a signal stops it.
///
/// # Errors
/// [`StartError`], which names the setting to change.
pub async fn run(config: &Path) -> Result<(), StartError> {
    harden();
    let settings = Settings::read(config, &settings::environment())?;
    log::init(&settings.log.level, settings.log.file.as_deref())
        .map_err(|source| StartError::System { what: "log".to_owned(), source })?;
    let gateway = Arc::new(assemble(&settings, target(config)).await?);
    gateway.keys.resume().await.map_err(|error| StartError::Keys(error.to_string()))?;
    let tls = edge::server_config(&settings.server.tls_cert, &settings.server.tls_key)?;
    let listener = listen(settings.server.listen).await?;
    let ops_listener = listen(settings.server.ops_listen).await?;
    let address = |l: &TcpListener| l.local_addr().map(|a| a.to_string()).unwrap_or_default();
    gateway.metrics.watch_store(house::store_activity(gateway.store.clone()));
    house::note(&gateway, Event::success(Action::ServiceStart, Resource::None)).await?;
    let policy = Resource::Policy(gateway.governance.now().hash());
    house::note(&gateway, Event::success(Action::PolicyChange, policy)).await?;
    let hangups = reload::listen()?;
    let ready =
        serde_json::json!({ "ready": true, "listen": address(&listener), "ops": address(&ops_listener) });
    // Whoever started us waits for this line; when nobody listens, serving goes on.
    let _ = writeln!(std::io::stdout().lock(), "{ready}");

    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;
    let service = Arc::new(Service(gateway.clone()));
    let background = tokio::spawn(house::keep(gateway.clone(), stop.clone()));
    let reloads = tokio::spawn(reload::keep(gateway.clone(), hangups, stop.clone()));
    let answered = CancellationToken::new();
    let device_logs = tokio::spawn(device_logs::take(gateway.clone(), answered.clone()));
    let (keys, until) = (gateway.keys.clone(), stop.clone());
    let jobs = tokio::spawn(async move { keys.run(until).await });
    let health =
        tokio::spawn(ops::serve(ops_listener, service.clone(), gateway.metrics.clone(), stop.clone()));
    let limits = Limits {
        connections: settings.server.connections,
        concurrent_requests: settings.server.requests,
        drain: Duration::from_secs(settings.server.drain_seconds),
        ..Limits::default()
    };
    let tls = Arc::new(ArcSwap::from(tls));
    let served = edge::serve(listener, tls, limits, service, gateway.metrics.clone(), stop.clone()).await;
    stop.cancel();
    answered.cancel();
    let _ = tokio::join!(background, reloads, device_logs, jobs, health);
    if house::note(&gateway, Event::success(Action::ServiceStop, Resource::None)).await.is_err() {
        tracing::warn!("the stop could not be recorded");
    }
    gateway.store.clone().close().await;
    served.map_err(|source| StartError::System { what: "listener".to_owned(), source })
}

/// Opens the device of `[hsm.target]` as the settings name it when keys are to move: it is written there while the
/// gateway runs.
fn target(config: &Path) -> Box<OpenTarget> {
    let config = config.to_owned();
    Box::new(move || {
        let settings =
            Settings::read(&config, &settings::environment()).map_err(|error| error.to_string())?;
        assemble::target(&settings).map_err(|error| error.to_string())
    })
}

/// No core file and no debugger of another user: a dump of this process would hold cards (P1).
fn harden() {
    use rustix::process::{DumpableBehavior, Resource as Limit, Rlimit, set_dumpable_behavior, setrlimit};
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Limit::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::System { what: format!("cannot listen on {address}"), source })
}

fn stop_on_signal(stop: CancellationToken) -> Result<(), StartError> {
    let system = |source| StartError::System { what: "signals".to_owned(), source };
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("draining");
        stop.cancel();
    });
    Ok(())
}
