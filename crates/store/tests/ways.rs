//! The ways to a database that are taken and those that are refused: poolers, and TLS.
#![expect(clippy::unwrap_used, reason = "setup that fails is a failed test")]

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use scratch_postgres::{Bouncer, Cluster, Database};
use std::path::PathBuf;
use store::{Settings, Store, StoreError};
use support::load::{self, Load, Told};

mod support;

fn pooled(cluster: &Cluster, database: &Database, mode: &str) -> (Bouncer, String) {
    let bouncer = cluster.pooled(mode).unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/{}", bouncer.port(), database.name);
    (bouncer, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_session_mode_is_like_no_pooler() {
    let cluster = Cluster::start("").unwrap();
    let database = cluster.database().unwrap();
    let (_bouncer, url) = pooled(&cluster, &database, "session");
    let settings = Settings { sole: Some(3), ..Settings::default() };
    let store = Store::open(&url, settings).await.unwrap();
    load::charge(&store).await.unwrap();
    let told = Told::default();
    let running = Load::start(&store, "pooled", &told);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    running.stop().await;
    assert_eq!(told.failures(), []);
    let counted = load::counted(&store, &told).await;
    assert!(counted.acknowledged > 50 && counted.missing.is_empty(), "{counted:?}");
    // The lock on the name is let go of with the session, not with the pooler's own.
    assert_eq!(Store::open(&url, settings).await.map(|_| ()), Err(StoreError::Taken));
    store.close().await;
    Store::open(&url, settings).await.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_changes_sessions_between_transactions_is_refused_with_what_to_change() {
    let cluster = Cluster::start("").unwrap();
    let database = cluster.database().unwrap();
    for mode in ["transaction", "statement"] {
        let (_bouncer, url) = pooled(&cluster, &database, mode);
        // Again and again: what an earlier try left in the pooler's sessions changes nothing.
        for _ in 0..5 {
            let refused = Store::open(&url, Settings::default()).await.map(|_| ()).unwrap_err();
            assert_eq!(refused, StoreError::Pooler, "{mode}");
            assert!(refused.to_string().contains("set pool_mode = session"), "{refused}");
        }
    }
}

/// An authority of one's own, with its certificate in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Certificate and key of a server of that name.
    fn server(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

#[tokio::test]
async fn a_server_is_believed_by_its_own_name_and_authority_alone() {
    let (ours, other) = (Authority::new(), Authority::new());
    let cluster = Cluster::start("").unwrap();
    let Database { name, .. } = cluster.database().unwrap();
    let open = async |parameters: &str| {
        let url = format!("postgres://postgres@localhost:{}/{name}{parameters}", cluster.port());
        Store::open(&url, Settings::default()).await
    };
    let verified =
        |authority: &Authority| format!("?sslmode=verify-full&sslrootcert={}", authority.file().display());

    let (certificate, key) = ours.server("localhost");
    cluster.secure(&certificate, &key).unwrap();
    let store = open(&verified(&ours)).await.unwrap();
    let sql = "SELECT version AS tls FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl";
    let row = store.look(sql, Vec::new()).await.unwrap().unwrap();
    assert_eq!(row.text("tls").as_deref(), Ok("TLSv1.3"));
    load::add(&store, "sealed").await.unwrap();
    store.close().await;

    assert_eq!(open(&verified(&other)).await.map(|_| ()), Err(StoreError::Tls), "another authority's word");
    assert_eq!(
        open("?sslmode=verify-full").await.map(|_| ()),
        Err(StoreError::Tls),
        "the public authorities' word"
    );
    assert_eq!(open("").await.map(|_| ()), Err(StoreError::Login), "the server itself asks for TLS");

    let (certificate, key) = ours.server("db.example");
    cluster.secure(&certificate, &key).unwrap();
    assert_eq!(open(&verified(&ours)).await.map(|_| ()), Err(StoreError::Tls), "another server's name");
}

#[tokio::test]
async fn a_server_without_tls_is_not_written_to_by_whoever_asks_for_it() {
    let cluster = Cluster::start("").unwrap();
    let Database { name, .. } = cluster.database().unwrap();
    let url = format!("postgres://postgres@localhost:{}/{name}?sslmode=verify-full", cluster.port());
    assert_eq!(Store::open(&url, Settings::default()).await.map(|_| ()), Err(StoreError::Tls));
}

#[tokio::test]
async fn a_host_elsewhere_is_not_even_asked_without_verified_tls() {
    for weaker in ["disable", "allow", "prefer", "require", "verify-ca"] {
        // The address is one that nobody has (RFC 5737): a connection attempt would end otherwise.
        let url = format!("postgres://gate@192.0.2.1/vault?sslmode={weaker}");
        assert_eq!(
            Store::open(&url, Settings::default()).await.map(|_| ()),
            Err(StoreError::Tls),
            "{weaker}"
        );
    }
}
