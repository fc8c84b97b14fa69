//! Clients: over HTTP as a portal would, and raw TLS for what no HTTP library would send.

use http::{HeaderMap, StatusCode};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// One answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// Sends the request and reads the answer.
    pub async fn of(request: reqwest::RequestBuilder) -> Answer {
        Answer::try_of(request).await.expect("an answer arrives")
    }

    /// The same, where the connection may break.
    pub async fn try_of(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|_| panic!("no JSON in a {} answer: {}", self.status, self.text))
    }

    /// The problem's code, or an empty text.
    pub fn code(&self) -> String {
        serde_json::from_str::<serde_json::Value>(&self.text)
            .ok()
            .and_then(|body| body["code"].as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    /// Requires a problem document of that status and code.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code().as_str()), (status, code), "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let body = self.json();
        for field in ["type", "title", "status", "detail", "request_id"] {
            assert!(!body[field].is_null(), "{field} is missing: {body}");
        }
    }
}

fn provider() {
    // A second installation in the same process is refused, which is fine.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client that believes one authority.
pub fn client(ca: &Path) -> reqwest::Client {
    builder(ca).build().expect("a client")
}

/// The same, speaking HTTP/1.1 only.
pub fn client_http1(ca: &Path) -> reqwest::Client {
    builder(ca).http1_only().build().expect("a client")
}

fn builder(ca: &Path) -> reqwest::ClientBuilder {
    provider();
    let pem = std::fs::read(ca).expect("the CA is there");
    let certificate = reqwest::Certificate::from_pem(&pem).expect("the CA is PEM");
    reqwest::Client::builder().tls_certs_only([certificate]).timeout(Duration::from_secs(40))
}

/// A client for the loopback listener.
pub fn plain_client() -> reqwest::Client {
    provider();
    reqwest::Client::builder().tls_certs_only([]).timeout(Duration::from_secs(5)).build().expect("a client")
}

/// A raw TLS connection to `https://localhost:PORT`, offering the given ALPN protocols.
pub async fn raw_tls(url: &str, ca: &Path, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("the CA is there") {
        roots.add(certificate.expect("PEM")).expect("a CA");
    }
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let port = url.rsplit(':').next().expect("a port").parse::<u16>().expect("a port");
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the port is open");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("the handshake succeeds")
}

/// Writes bytes on a raw HTTP/1.1 connection and reads until the peer closes or `wait` has passed.
pub async fn exchange(url: &str, ca: &Path, request: &[u8], wait: Duration) -> Vec<u8> {
    let mut stream = raw_tls(url, ca, &[b"http/1.1"]).await;
    let _ = stream.write_all(request).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(wait, stream.read_to_end(&mut answer)).await;
    answer
}
