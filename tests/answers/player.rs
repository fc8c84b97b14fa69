//! A TLS server that answers with whatever bytes it is told to, and keeps what it heard.

use crate::support::{System, free_port};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What it does with the next payment.
#[derive(Clone)]
pub(crate) enum Plan {
    /// Sends these bytes and hangs up.
    Answer(Vec<u8>),
    /// Sends these bytes and neither goes on nor hangs up.
    Endless(Vec<u8>),
    /// Says nothing and holds the line.
    Silence,
}

/// Heads and bodies of the payments that arrived.
type Heard = Vec<(String, String)>;

/// A system whose companion is played.
pub(crate) struct Player {
    pub(crate) system: System,
    plan: Arc<Mutex<Plan>>,
    heard: Arc<Mutex<Heard>>,
    _folder: tempfile::TempDir,
}

impl Player {
    pub(crate) async fn start() -> Player {
        let folder = tempfile::tempdir().unwrap();
        let (ca, port) = (folder.path().join("ca.pem"), free_port());
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&ca, pair.cert.pem()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(pair.cert.pem().as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(pair.signing_key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let plan = Arc::new(Mutex::new(Plan::Silence));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (acceptor, shared) =
            (TlsAcceptor::from(Arc::new(config)), (Arc::clone(&plan), Arc::clone(&heard)));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(play(acceptor.clone(), tcp, shared.0.clone(), shared.1.clone()));
            }
        });
        let system = System::start_with(|settings| {
            let (before, companion) = settings.split_once("[companion]\n").unwrap();
            let (_, rest) = companion.split_once("token_file").unwrap();
            let ours = format!("url = \"https://localhost:{port}\"\nca = \"{}\"\n", ca.display());
            *settings = format!("{before}[companion]\n{ours}token_file{rest}");
        })
        .await;
        Player { system, plan, heard, _folder: folder }
    }

    /// Says what comes next.
    pub(crate) fn next(&self, plan: Plan) {
        *self.plan.lock().unwrap() = plan;
    }

    /// What arrived so far.
    pub(crate) fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }
}

async fn play(acceptor: TlsAcceptor, tcp: TcpStream, plan: Arc<Mutex<Plan>>, heard: Arc<Mutex<Heard>>) {
    let Ok(mut stream) = acceptor.accept(tcp).await else { return };
    let (mut bytes, mut buffer) = (Vec::new(), [0_u8; 4096]);
    let (head, body) = loop {
        let Ok(read) = stream.read(&mut buffer).await else { return };
        if read == 0 {
            return;
        }
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let plan = if head.starts_with("GET /healthz ") {
        Plan::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec())
    } else {
        heard.lock().unwrap().push((head, body));
        plan.lock().unwrap().clone()
    };
    match plan {
        Plan::Answer(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Plan::Endless(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.flush().await;
            std::future::pending::<()>().await;
        }
        Plan::Silence => std::future::pending::<()>().await,
    }
}
