//! The whole system on loopback for end-to-end tests: hsm-sim, the gateway and the companion as real processes with
//! real TLS, a real database and files of their own. Nothing here stands in for anything.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot be set up must fail"
)]
#![allow(
    dead_code,
    clippy::indexing_slicing,
    unreachable_pub,
    clippy::allow_attributes,
    reason = "each test program uses the part that it needs"
)]

pub mod cards;
pub mod charges;
pub mod clock;
pub mod database;
pub mod disk;
pub mod keys;
pub mod memory;
pub mod needles;
pub mod orders;
pub mod people;
pub mod process;
pub mod raw;
pub mod second;
pub mod wire;
pub mod witness;

use pangate::caller::Role;
use pangate::cli::setup::{self, Authority};
use pangate::credential::Grant;
use pangate::governance;
use pangate::record::Recorder;
use process::Process;
use scratch_postgres::{Cluster, Database};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokens::{Principal, Realm, Tenant};

/// The tenant that the system starts with.
pub const TENANT: &str = "north-clinic";
/// Another tenant on the same gateway.
pub const OTHER: &str = "south-clinic";
/// No tenant: the whole installation.
const WHOLE: &str = "";

/// A running system; dropping it ends its processes and removes its folder.
pub struct System {
    /// Everything the three processes write is below here.
    pub dir: tempfile::TempDir,
    sockets: tempfile::TempDir,
    ports: [u16; 3],
    /// The gateway's database, below `dir`, where it is a file.
    database_file: String,
    /// The gateway's database on a PostgreSQL, where it is on one.
    postgres: Option<Database>,
    /// `https://localhost:PORT` of the gateway.
    pub url: String,
    /// `http://127.0.0.1:PORT` of the loopback listener.
    pub ops: String,
    /// `https://localhost:PORT` of the companion.
    pub claims: String,
    keys: BTreeMap<&'static str, String>,
    /// Account of the seeded statement.
    pub account: String,
    /// The seeded open statement.
    pub statement: String,
    /// More variables for the gateway, from its next start on.
    pub environment: Vec<(&'static str, String)>,
    /// Entries that fit into the HSM's own log.
    device_log: u16,
    hsm: Option<Process>,
    gateway: Option<Process>,
    companion: Option<Process>,
}

/// Whether this run of the tests keeps the gateway's data in PostgreSQL. `tests/run` runs them once on each database.
pub fn on_postgres() -> bool {
    match std::env::var("PANGATE_TEST_DIALECT").as_deref() {
        Ok("postgres") => true,
        Ok("sqlite") | Err(_) => false,
        Ok(other) => panic!("PANGATE_TEST_DIALECT is sqlite or postgres, not {other}"),
    }
}

/// A free port; the listener that found it is gone when this returns. Below the range that the system hands out to
/// clients, so that none of them takes it before the server does.
pub fn free_port() -> u16 {
    scratch_postgres::free_port().unwrap()
}

impl System {
    /// Starts all three and waits until the gateway says that it is ready.
    pub async fn start() -> System {
        System::start_with(|_| {}).await
    }

    /// The same, with changes to `pangate.toml` before the start.
    pub async fn start_with(change: impl FnOnce(&mut String)) -> System {
        let mut system = System::bare();
        system.rise(change).await;
        system
    }

    /// The same, on SQLite whatever this run of the tests is for: for what only a file has.
    pub async fn start_on_sqlite() -> System {
        let mut system = System::bare();
        system.postgres = None;
        system.rise(|_| {}).await;
        system
    }

    /// The same, on that PostgreSQL database whatever this run of the tests is for, with changes to `pangate.toml`.
    pub async fn start_on_postgres(database: Database, change: impl FnOnce(&mut String)) -> System {
        let mut system = System::bare();
        system.postgres = Some(database);
        system.rise(change).await;
        system
    }

    /// From now on the gateway's database is that one; its settings say so at the next start.
    pub fn is_now_on(&mut self, database: Database) {
        let file = self.path("pangate.toml");
        let settings = std::fs::read_to_string(&file).unwrap();
        let url = format!("url = \"{}\"", self.store_url());
        assert!(settings.contains(&url), "{settings}");
        std::fs::write(&file, settings.replace(&url, &format!("url = \"{}\"", database.url))).unwrap();
        self.postgres = Some(database);
    }

    /// The same, with the gateway's database on a disk of its own that has room for that many bytes.
    pub async fn start_on_small_disk(bytes: u32) -> (disk::SmallDisk, System) {
        let mut system = System::bare();
        setup::private_folder(&system.path("disk")).unwrap();
        let disk = disk::SmallDisk::mount(&system.path("disk"), bytes);
        system.database_file = "disk/pangate.db".to_owned();
        system.postgres = None;
        system.rise(|_| {}).await;
        (disk, system)
    }

    /// The same, with an HSM whose own log has room for so many entries.
    pub async fn start_with_device_log(entries: u16) -> System {
        let mut system = System::bare();
        system.device_log = entries;
        system.rise(|_| {}).await;
        system
    }

    fn bare() -> System {
        let ports @ [port, ops_port, claims_port] = [free_port(), free_port(), free_port()];
        System {
            url: format!("https://localhost:{port}"),
            ops: format!("http://127.0.0.1:{ops_port}"),
            claims: format!("https://localhost:{claims_port}"),
            ports,
            database_file: "pangate.db".to_owned(),
            postgres: on_postgres().then(|| Cluster::shared_database().unwrap()),
            keys: BTreeMap::new(),
            account: String::new(),
            statement: String::new(),
            dir: tempfile::tempdir().unwrap(),
            sockets: tempfile::tempdir().unwrap(),
            environment: Vec::new(),
            device_log: 1024,
            hsm: None,
            gateway: None,
            companion: None,
        }
    }

    async fn rise(&mut self, change: impl FnOnce(&mut String)) {
        self.write_files(change);
        self.issue_keys().await;
        self.seed();
        self.start_hsm();
        self.start_companion();
        self.start_gateway();
        self.wait_ready().await;
    }

    /// The URL of the gateway's database.
    pub fn store_url(&self) -> String {
        match &self.postgres {
            Some(database) => database.url.clone(),
            None => format!("sqlite:{}", self.text(&self.database_file)),
        }
    }

    /// A path below the system's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The API key of `portal`, `staff`, `second-staff`, `auditor`, `admin`, `companion`, `other-portal`, `other-staff`,
    /// `other-companion`, `chief-auditor` (of the whole installation).
    pub fn key(&self, name: &str) -> &str {
        &self.keys[name]
    }

    fn write_files(&self, change: impl FnOnce(&mut String)) {
        let [port, ops, claims] = self.ports;
        for folder in ["tls", "policy", "logs"] {
            setup::private_folder(&self.path(folder)).unwrap();
        }
        let authority = Authority::create(&self.path("tls")).unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        authority.server("gateway", &names).unwrap();
        authority.server("claims", &names).unwrap();
        governance::write_missing(&self.path("policy")).unwrap();
        governance::write_companion(&self.path("policy"), "localhost").unwrap();
        for secret in ["hsm.pin", "ada.pin", "otto.pin", "companion.token", "reader.token"] {
            setup::write_secret(&self.path(secret), &setup::random_secret().unwrap()).unwrap();
        }
        let socket = self.socket();
        let mut settings = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\nops_listen = \"127.0.0.1:{ops}\"\n\
             tls_cert = \"tls/gateway.pem\"\ntls_key = \"tls/gateway.key\"\nrealm = \"test\"\n\
             [store]\nurl = \"{}\"\n\
             [hsm]\nprovider = \"simulator\"\nsocket = \"{}\"\npin_file = \"hsm.pin\"\n\
             [companion]\nurl = \"https://localhost:{claims}\"\nca = \"tls/ca.pem\"\ntoken_file = \"companion.token\"\n\
             [policy]\ndir = \"policy\"\n[audit]\nlog = \"pangate-test\"\n[log]\nlevel = \"debug\"\n",
            self.store_url(),
            socket.display()
        );
        change(&mut settings);
        setup::write_public(&self.path("pangate.toml"), &settings).unwrap();
        let companion = format!(
            "[server]\nlisten = \"127.0.0.1:{claims}\"\ntls_cert = \"{0}/tls/claims.pem\"\ntls_key = \"{0}/tls/claims.key\"\n\
             [store]\nurl = \"sqlite:{0}/claims.db\"\n\
             [gateway]\nurl = \"https://localhost:{port}\"\nca = \"{0}/tls/ca.pem\"\nkey_file = \"{0}/companion.key\"\n\
             [access]\ngateway_token_file = \"{0}/companion.token\"\nreader_token_file = \"{0}/reader.token\"\n",
            self.dir.path().display()
        );
        setup::write_public(&self.path("claims.toml"), &companion).unwrap();
        let (state, pin) = (self.text("hsm"), self.text("hsm.pin"));
        let officers = ["ada", "otto"].map(|name| format!("{name}={}", self.text(&format!("{name}.pin"))));
        let [ada, otto] = officers.each_ref();
        let arguments = ["init", "--state", &state, "--pin-file", &pin, "--realm", "test"];
        let entries = self.device_log.to_string();
        let more = ["--officer", ada, "--officer", otto, "--log-entries", &entries];
        process::run("hsm-sim", &[&arguments[..], &more].concat());
    }

    async fn issue_keys(&mut self) {
        let url = self.store_url();
        let store = store::Store::open(&url, store::Settings::default()).await.unwrap();
        let recorder = Recorder::new(audit::LogName::parse("pangate-test").unwrap());
        for (name, role, tenant) in [
            ("portal", Role::Portal, TENANT),
            ("staff", Role::Staff, TENANT),
            ("second-staff", Role::Staff, TENANT),
            ("auditor", Role::Auditor, TENANT),
            ("admin", Role::Admin, TENANT),
            ("companion", Role::Companion, TENANT),
            ("other-portal", Role::Portal, OTHER),
            ("other-staff", Role::Staff, OTHER),
            ("other-companion", Role::Companion, OTHER),
            ("chief-auditor", Role::Auditor, WHOLE),
        ] {
            let grant = Grant {
                role,
                principal: Principal::parse(name).unwrap(),
                tenant: (tenant != WHOLE).then(|| Tenant::parse(tenant).unwrap()),
            };
            let key = setup::issue(&store, &recorder, Realm::Test, grant).await.unwrap();
            self.keys.insert(name, key.expose_secret().to_owned());
        }
        store.close().await;
        setup::write_secret(&self.path("companion.key"), self.key("companion")).unwrap();
    }

    fn seed(&mut self) {
        let config = self.text("claims.toml");
        process::run("claims", &["init", "--config", &config]);
        let seeded =
            process::run("claims", &["seed", "--config", &config, "--tenant", TENANT, "--format", "json"]);
        let seeded: serde_json::Value = serde_json::from_str(seeded.trim()).expect("seed prints JSON");
        self.account = seeded["account"].as_str().unwrap().to_owned();
        self.statement = seeded["statement"].as_str().unwrap().to_owned();
    }

    /// The HSM's socket; socket paths are short (108 bytes), so it has a folder of its own.
    pub fn socket(&self) -> PathBuf {
        self.sockets.path().join("hsm.sock")
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Starts the HSM and waits for its readiness line.
    pub fn start_hsm(&mut self) {
        let (state, socket) = (self.text("hsm"), self.socket().display().to_string());
        let arguments = ["serve", "--state", &state, "--socket", &socket];
        self.hsm = Some(Process::start("hsm-sim", &arguments, &self.path("logs/hsm-sim.log")));
    }

    /// Starts the gateway and waits for its readiness line.
    pub fn start_gateway(&mut self) {
        let config = self.text("pangate.toml");
        let arguments = ["serve", "--config", &config];
        let log = self.path("logs/pangate.log");
        self.gateway = Some(Process::start_in("pangate", &arguments, &log, &self.environment));
    }

    /// Starts the companion and waits for its readiness line.
    pub fn start_companion(&mut self) {
        let config = self.text("claims.toml");
        self.companion =
            Some(Process::start("claims", &["serve", "--config", &config], &self.path("logs/claims.log")));
    }

    /// The gateway's process.
    pub fn gateway(&mut self) -> &mut Process {
        self.gateway.as_mut().expect("the gateway runs")
    }

    /// The HSM's process.
    pub fn hsm(&mut self) -> &mut Process {
        self.hsm.as_mut().expect("the HSM runs")
    }

    /// The companion's process.
    pub fn companion(&mut self) -> &mut Process {
        self.companion.as_mut().expect("the companion runs")
    }

    /// Waits until `/readyz` says yes.
    pub async fn wait_ready(&self) {
        let client = wire::plain_client();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let ready = client.get(format!("{}/readyz", self.ops)).send().await;
            if ready.is_ok_and(|response| response.status().is_success()) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the system did not become ready; log:\n{}",
                self.gateway_log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The gateway's diagnostic log so far.
    pub fn gateway_log(&self) -> String {
        std::fs::read_to_string(self.path("logs/pangate.log")).unwrap_or_default()
    }

    /// A client that believes the system's authority alone.
    pub fn client(&self) -> reqwest::Client {
        wire::client(&self.path("tls/ca.pem"))
    }

    /// Posts JSON to the gateway with the named key.
    pub async fn post(&self, key: &str, path: &str, body: &serde_json::Value) -> wire::Answer {
        let request = self.client().post(format!("{}{path}", self.url)).bearer_auth(self.key(key)).json(body);
        wire::Answer::of(request).await
    }

    /// Gets from the gateway with the named key.
    pub async fn get(&self, key: &str, path: &str) -> wire::Answer {
        wire::Answer::of(self.client().get(format!("{}{path}", self.url)).bearer_auth(self.key(key))).await
    }

    /// Gets from the companion with the reader's token.
    pub async fn claims_get(&self, path: &str) -> wire::Answer {
        let token = std::fs::read_to_string(self.path("reader.token")).unwrap();
        wire::Answer::of(self.client().get(format!("{}{path}", self.claims)).bearer_auth(token.trim())).await
    }

    /// The body of a portal payment for the seeded statement.
    pub fn payment(&self, number: &str, amount: &str) -> serde_json::Value {
        serde_json::json!({
            "account": self.account, "statement": self.statement, "amount": amount, "currency": "USD",
            "card": { "number": number, "exp_month": 12, "exp_year": 2034, "cvc": cards::cvc_for(number) }
        })
    }

    /// Every file below the system's folder.
    pub fn files(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        walk(self.dir.path(), &mut found);
        found
    }
}
