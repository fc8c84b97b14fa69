//! A companion of one test: its folder, its process, its gateway stub, a client that calls it.

use crate::stub::Stub;
use reqwest::{Client, RequestBuilder, Response};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tokens::{Realm, RequestId, Token};

pub(crate) const GATEWAY_TOKEN: &str = "the-gateway-presents-this";
pub(crate) const READER_TOKEN: &str = "staff-tools-present-this";
pub(crate) const CHARGE_KEY: &str = "the-companion-charges-by-this";

pub(crate) struct House {
    pub(crate) folder: TempDir,
    pub(crate) stub: Stub,
    pub(crate) client: Client,
    pub(crate) account: String,
    pub(crate) statement: String,
    process: Option<Child>,
    url: String,
}

impl House {
    /// A seeded companion of tenant `north`, serving.
    pub(crate) async fn open() -> House {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, their_pem, _) = certificate();
        let (_, our_pem, our_key) = certificate();
        let stub = Stub::start(theirs).await;
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("gateway-ca.pem", &their_pem);
        write("server.pem", &our_pem);
        write("server.key", &our_key);
        write("gateway.token", GATEWAY_TOKEN);
        write("reader.token", &format!("{READER_TOKEN}\n"));
        write("charge.key", CHARGE_KEY);
        write(
            "claims.toml",
            &format!(
                r#"
[server]
listen = "127.0.0.1:0"
tls_cert = "server.pem"
tls_key = "server.key"
[store]
url = "sqlite:claims.db"
[gateway]
url = "https://{}"
ca = "gateway-ca.pem"
key_file = "charge.key"
timeout_ms = 3000
[access]
gateway_token_file = "gateway.token"
reader_token_file = "reader.token"
"#,
                stub.address
            ),
        );
        let client = client(&our_pem, &[]);
        let mut house = House {
            folder,
            stub,
            client,
            account: String::new(),
            statement: String::new(),
            process: None,
            url: String::new(),
        };
        assert_eq!(house.run(&["init"]).0, 0);
        (house.account, house.statement) = house.seed("north");
        house.start();
        house
    }

    /// Another demonstration account.
    pub(crate) fn seed(&self, tenant: &str) -> (String, String) {
        let (code, out) = self.run(&["seed", "--tenant", tenant, "--format", "json"]);
        assert_eq!(code, 0);
        let seeded: Value = serde_json::from_str(&out).unwrap();
        (text(&seeded["account"]), text(&seeded["statement"]))
    }

    /// Runs a command to its end: exit code and standard output.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String) {
        let done = Command::new(env!("CARGO_BIN_EXE_claims"))
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .output();
        let done = done.unwrap();
        (done.status.code().unwrap(), String::from_utf8(done.stdout).unwrap())
    }

    pub(crate) fn start(&mut self) {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log.jsonl"));
        let mut process = Command::new(env!("CARGO_BIN_EXE_claims"))
            .args(["serve", "--config"])
            .arg(self.config())
            .stdout(Stdio::piped())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["ready"], true);
        self.url = format!("https://{}", text(&ready["listen"]));
        self.process = Some(process);
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// SIGTERM; the exit code once it has drained.
    pub(crate) fn terminate(&mut self) -> i32 {
        let mut process = self.process.take().unwrap();
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&process),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        process.wait().unwrap().code().unwrap()
    }

    /// A request with the gateway's credential and headers, for tenant `north`.
    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client
            .post(format!("{}{path}", self.url))
            .bearer_auth(GATEWAY_TOKEN)
            .header("pangate-tenant", "north")
            .header("pangate-principal", "portal")
            .header("pangate-request-id", RequestId::mint().unwrap().as_str())
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(READER_TOKEN)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The body of a payment of `amount` on the seeded statement.
    pub(crate) fn payment(&self, amount: &str) -> Value {
        json!({
            "account": self.account,
            "statement": self.statement,
            "amount": amount,
            "currency": "USD",
            "card": { "number": token(), "brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030 },
        })
    }

    pub(crate) async fn pay(&self, key: &str, body: &Value) -> (u16, Value) {
        let sent = self.post("/portal/payments").header("idempotency-key", key).json(body).send().await;
        read(sent.unwrap()).await
    }

    pub(crate) async fn balance(&self) -> String {
        let path = format!("/v1/statements/{}", self.statement);
        let (status, body) = read(self.get(&path).send().await.unwrap()).await;
        assert_eq!(status, 200);
        text(&body["balance"])
    }

    /// Whether any file that the companion wrote holds these bytes.
    pub(crate) fn holds(&self, needle: &str) -> bool {
        std::fs::read_dir(self.folder.path()).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
        })
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("claims.toml")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

pub(crate) fn token() -> String {
    Token::mint(Realm::Test).unwrap().as_str().to_owned()
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Status and JSON body.
pub(crate) async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

fn certificate() -> (ServerConfig, String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (tls, made.cert.pem(), made.signing_key.serialize_pem())
}

/// A client that trusts this certificate alone and offers these protocols.
pub(crate) fn client(pem: &str, protocols: &[&str]) -> Client {
    use rustls_pki_types::pem::PemObject;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let mut tls =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    tls.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Client::builder().tls_backend_preconfigured(tls).build().unwrap()
}
