//! The HTTPS client of the command line: it believes the certificate authority that it is given and nothing else. In the
//! demo it plays portal, staff and auditor.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(20);
const LARGEST_ANSWER: usize = 4 << 20;

/// A pool of connections.
pub(in crate::cli) struct Client(Pool<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// An answer.
pub(in crate::cli) struct Reply {
    pub(in crate::cli) status: u16,
    /// `Null` when it is no JSON.
    pub(in crate::cli) body: Value,
    /// The body as it came.
    pub(in crate::cli) text: String,
}

impl Reply {
    /// A text member, by path from the top.
    pub(in crate::cli) fn text_at(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Client {
    /// A client that trusts the certificates in a PEM file.
    pub(in crate::cli) fn new(authority: &Path) -> Result<Client, String> {
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(authority).map_err(|error| error.to_string())?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| error.to_string())?;
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().build();
        Ok(Client(Pool::builder(TokioExecutor::new()).build(connector)))
    }

    /// Asks.
    pub(in crate::cli) async fn get(&self, url: &str, credential: &str) -> Result<Reply, String> {
        self.send(Method::GET, url, credential, HeaderMap::new(), String::new()).await
    }

    /// Creates, under an idempotency key.
    pub(in crate::cli) async fn post(
        &self,
        url: &str,
        credential: &str,
        key: &str,
        body: &Value,
    ) -> Result<Reply, String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        let key = header::HeaderValue::from_str(key).map_err(|error| error.to_string())?;
        headers.insert("idempotency-key", key);
        self.send(Method::POST, url, credential, headers, body.to_string()).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        credential: &str,
        headers: HeaderMap,
        body: String,
    ) -> Result<Reply, String> {
        let mut request = Request::builder().method(method).uri(url);
        if !credential.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {credential}"));
        }
        let mut request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        request.headers_mut().extend(headers);
        tokio::time::timeout(WITHIN, self.exchange(request))
            .await
            .map_err(|_| format!("{url} did not answer in time"))?
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "answers hold no card number; that they do not is what is checked"
    )]
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, String> {
        let response = self.0.request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Reply { status, body: serde_json::from_str(&text).unwrap_or(Value::Null), text })
    }
}
