//! A card room over a real HSM daemon and a real database file, with a clock that tests move by hand.

use bytes::Bytes;
use hsm::{Hsm, HsmQueue, QueueSettings};
use hsm_sim::client::SimClient;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::Full;
use secrecy::SecretString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use store::{Store, StoreError, Work};
use tempfile::TempDir;
use tokens::{Realm, Tenant};
use vault::{CardProblem, CardsShape, Clock, DataKeyLimits, Intake, Settings, Settled, Vault, VaultError};

pub(crate) use officers::Officers;

// The bench reads this file from another folder.
#[path = "support/meanwhile.rs"]
pub(crate) mod meanwhile;
#[path = "support/officers.rs"]
mod officers;

/// 2026-11-23.
pub(crate) const NOW: i64 = 1_795_392_000_000_000;
const PIN: &str = "135790-tests";

/// What an act of a test does with its transaction.
pub(crate) type Acting<'w, T> = Pin<Box<dyn Future<Output = Result<T, VaultError>> + Send + 'w>>;

#[derive(Default)]
pub(crate) struct Hand(AtomicI64);

impl Hand {
    pub(crate) fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now_us(&self) -> i64 {
        NOW + self.0.load(Ordering::Relaxed)
    }
    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed).unsigned_abs())
    }
}

/// The HSM daemon, ended with the test.
pub(crate) struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct House {
    pub(crate) vault: Vault,
    pub(crate) store: Store,
    pub(crate) clock: Arc<Hand>,
    pub(crate) hsm: HsmQueue,
    daemon: Option<Daemon>,
    pub(crate) dir: TempDir,
}

impl House {
    /// A house over a device in this process, whose keys the officers of the test may change.
    pub(crate) async fn with_officers() -> (House, Officers) {
        House::with_limits(DataKeyLimits::default()).await
    }

    /// As [`House::with_officers`], with other bounds for its data keys.
    pub(crate) async fn with_limits(limits: DataKeyLimits) -> (House, Officers) {
        let dir = TempDir::new().unwrap();
        let officers = Officers::of_a_new_device();
        let hsm = officers.queue();
        let store = store_at(&dir.path().join("vault.db")).await;
        let clock = Arc::new(Hand::default());
        let settings = Settings { data_keys: limits, ..Settings::new(Realm::Test) };
        let vault = Vault::with_clock(hsm.clone(), store.clone(), settings, clock.clone());
        (House { vault, store, clock, hsm, daemon: None, dir }, officers)
    }

    /// Another card room over the same device and another database, such as a restored backup.
    pub(crate) async fn over(&self, database: &Path) -> Vault {
        let store = store_at(database).await;
        Vault::with_clock(self.hsm.clone(), store, Settings::new(Realm::Test), self.clock.clone())
    }

    pub(crate) async fn open() -> House {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("pin"), PIN).unwrap();
        run(Command::new(binary())
            .arg("init")
            .arg("--state")
            .arg(dir.path().join("hsm"))
            .arg("--pin-file")
            .arg(dir.path().join("pin"))
            .args(["--realm", "test"]));
        let daemon = serve(dir.path());
        let socket = socket(dir.path());
        let hsm = HsmQueue::start(QueueSettings::default(), move || {
            Ok(Box::new(SimClient::connect(&socket, SecretString::from(PIN))) as Box<dyn Hsm>)
        })
        .unwrap();
        let store = store_at(&dir.path().join("vault.db")).await;
        let clock = Arc::new(Hand::default());
        let vault = Vault::with_clock(hsm.clone(), store.clone(), Settings::new(Realm::Test), clock.clone());
        House { vault, store, clock, hsm, daemon: Some(daemon), dir }
    }

    /// The same house with empty memory: no cached keys, no held codes.
    pub(crate) fn reopened(&self) -> Vault {
        Vault::with_clock(
            self.hsm.clone(),
            self.store.clone(),
            Settings::new(Realm::Test),
            self.clock.clone(),
        )
    }

    /// Runs an act in a transaction of its own.
    pub(crate) async fn commit<T, F>(&self, act: F) -> Result<T, VaultError>
    where
        T: Send + 'static,
        F: for<'w> FnOnce(&'w mut Work<'_>) -> Acting<'w, T> + Send + 'static,
    {
        self.store.commit(act).await
    }

    pub(crate) fn stop_hsm(&mut self) {
        self.daemon = None;
    }

    pub(crate) fn start_hsm(&mut self) {
        self.daemon = Some(serve(self.dir.path()));
    }

    pub(crate) async fn data_key(&self, tenant: &Tenant) {
        if let Some(draft) = self.vault.data_key_wanted(tenant).await.unwrap() {
            self.store
                .commit::<_, VaultError, _>(move |work| {
                    Box::pin(async move { draft.settle(work, NOW).await })
                })
                .await
                .unwrap();
        }
    }

    pub(crate) async fn post(
        &self,
        tenant: &Tenant,
        body: &str,
        shape: CardsShape,
    ) -> Result<Vec<Result<Settled, CardProblem>>, VaultError> {
        self.data_key(tenant).await;
        let intake = json(&self.vault, body).await?;
        let draft = self.vault.draft_cards(tenant, intake, shape).await?;
        let now = self.clock.now_us();
        self.store.commit(move |work| Box::pin(async move { draft.settle(work, now).await })).await
    }

    pub(crate) async fn token(&self, tenant: &Tenant, body: &str) -> Result<Settled, VaultError> {
        self.post(tenant, body, CardsShape::One).await?.remove(0)
    }

    /// Changes the database behind the vault's back.
    pub(crate) async fn tamper(&self, sql: &'static str, args: Vec<store::Value>) -> u64 {
        self.store
            .commit::<_, StoreError, _>(move |work| Box::pin(async move { work.execute(sql, args).await }))
            .await
            .unwrap()
    }

    /// Every byte of every file that was written here.
    pub(crate) fn written(&self) -> Vec<u8> {
        fn collect(dir: &Path, bytes: &mut Vec<u8>) {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    collect(&entry.path(), bytes);
                } else if let Ok(content) = std::fs::read(entry.path()) {
                    bytes.extend(content);
                }
            }
        }
        let mut bytes = vec![];
        collect(self.dir.path(), &mut bytes);
        bytes
    }
}

async fn store_at(path: &Path) -> Store {
    let url = format!("sqlite:{}", path.display());
    Store::open(&url, store::Settings::default()).await.unwrap()
}

pub(crate) fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

pub(crate) fn card(number: &str, more: &str) -> String {
    format!(r#"{{"card":{{"number":"{number}","exp_month":12,"exp_year":2030,"cvc":"123"}}{more}}}"#)
}

pub(crate) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap()))
        .collect()
}

pub(crate) async fn json(vault: &Vault, body: &str) -> Result<Intake, VaultError> {
    typed(vault, "application/json", body).await
}

pub(crate) async fn typed(vault: &Vault, content_type: &str, body: &str) -> Result<Intake, VaultError> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    vault.intake(&headers(&[("content-type", content_type)]), body).await
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("run").join("hsm.sock")
}

fn serve(dir: &Path) -> Daemon {
    let socket = socket(dir);
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let child = Command::new(binary())
        .arg("serve")
        .arg("--state")
        .arg(dir.join("hsm"))
        .arg("--socket")
        .arg(&socket)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let daemon = Daemon(child);
    for _ in 0..400 {
        if SimClient::connect(&socket, SecretString::from(PIN)).hello().is_ok() {
            return daemon;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("hsm-sim did not come up within ten seconds");
}

/// The daemon's program: beside this test's own, built first when it is not there.
fn binary() -> PathBuf {
    static BUILT: Once = Once::new();
    let own = std::env::current_exe().unwrap();
    let binary = own.parent().and_then(Path::parent).expect("target/debug/deps").join("hsm-sim");
    BUILT.call_once(|| {
        if !binary.exists() {
            run(Command::new(env!("CARGO"))
                .args(["build", "-p", "hsm-sim"])
                .current_dir(env!("CARGO_MANIFEST_DIR")));
        }
    });
    binary
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
