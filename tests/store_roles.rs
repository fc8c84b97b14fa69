//! `pangate store prepare` and the roles that it makes, over the wire to a PostgreSQL that demands passwords: each login
//! can do its work, and nothing else.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

mod support;

use scratch_postgres::{Cluster, Database};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use store::{Settings, Store, StoreError};
use support::process::tried;
use support::wire::Answer;
use support::{System, TENANT, cards};

/// A server on which `owner` owns the database `vault`, and logins that are members of no role yet.
struct Site {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

const LOGINS: [&str; 4] = ["owner", "second_owner", "gate", "watch"];

impl Site {
    fn new() -> Site {
        let cluster = Cluster::start("").unwrap();
        let site = Site { cluster, folder: tempfile::tempdir().unwrap() };
        for login in LOGINS {
            // What a URL would have to escape, to see that the file is taken as it is.
            let password = format!("p@ss:/{login}?#");
            site.sql("postgres", &format!("CREATE ROLE {login} LOGIN PASSWORD '{password}'"));
            pangate::cli::setup::write_secret(&site.password(login), &password).unwrap();
        }
        site.sql("postgres", "CREATE DATABASE vault OWNER owner TEMPLATE template0");
        site.cluster.demand_passwords().unwrap();
        site
    }

    fn sql(&self, database: &str, sql: &str) -> String {
        self.cluster.sql(database, sql).unwrap()
    }

    fn password(&self, login: &str) -> PathBuf {
        self.folder.path().join(login)
    }

    fn url(&self, login: &str) -> String {
        format!("postgres://{login}@127.0.0.1:{}/vault", self.cluster.port())
    }

    fn prepare(&self, login: &str) -> (i32, String) {
        let (url, password) = (self.url(login), self.password(login).display().to_string());
        let arguments = ["store", "prepare", "--url", &url, "--password-file", &password, "--format", "json"];
        tried("pangate", &arguments, &[])
    }

    /// Makes the roles, prepares, and gives each login its role.
    fn prepared(&self) {
        for role in ["migrator", "gateway", "auditor"] {
            self.sql("vault", &format!("CREATE ROLE pangate_{role} NOLOGIN"));
        }
        self.sql("vault", "GRANT pangate_migrator TO owner, second_owner; GRANT pangate_gateway TO gate");
        self.sql("vault", "GRANT pangate_auditor TO watch");
        let (status, said) = self.prepare("owner");
        assert_eq!(status, 0, "{said}");
    }

    /// What a login gets from a statement.
    async fn asks(&self, login: &str, sql: &'static str) -> Result<(), StoreError> {
        let password = std::fs::read_to_string(self.password(login)).unwrap();
        let escaped: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let url = self.url(login).replace(&format!("//{login}@"), &format!("//{login}:{escaped}@"));
        let store = Store::open(&url, Settings::default()).await?;
        let answer: Result<u64, StoreError> =
            store.commit(move |work| Box::pin(async move { work.execute(sql, Vec::new()).await })).await;
        store.close().await;
        answer.map(|_| ())
    }

    /// The whole system, with the gateway as the login `gate`.
    async fn system(&self) -> System {
        let url = format!("postgres://postgres@127.0.0.1:{}/vault", self.cluster.port());
        let (as_gate, password) = (self.url("gate"), self.password("gate"));
        let change = |settings: &mut String| {
            *settings = settings.replace(
                &format!("url = \"{url}\""),
                &format!("url = \"{as_gate}\"\npassword_file = {password:?}"),
            );
            assert!(settings.contains("password_file"), "{settings}");
        };
        System::start_on_postgres(Database { url: url.clone(), name: "vault".to_owned() }, change).await
    }
}

fn json_of(said: &str) -> Value {
    serde_json::from_str(said.lines().next().unwrap()).unwrap()
}

#[test]
fn prepare_says_what_it_did_and_what_a_superuser_has_to_run_and_doing_it_again_changes_nothing() {
    let site = Site::new();
    let (status, said) = site.prepare("owner");
    assert_eq!(status, 1, "{said}");
    assert_eq!(json_of(&said)["schema_from"], 0);
    assert_eq!(json_of(&said)["roles"]["pangate_gateway"], "missing");
    for role in ["pangate_migrator", "pangate_gateway", "pangate_auditor"] {
        let statement = format!("CREATE ROLE {role} NOLOGIN;");
        assert!(said.contains(&statement), "{said}");
        site.sql("vault", &statement);
    }

    // No member of the migrator's role yet: its tables stay its own, and everything else is done.
    let (status, said) = site.prepare("owner");
    assert_eq!(status, 0, "{said}");
    let told = json_of(&said);
    assert_eq!((&told["granted"], &told["handed_over"]), (&json!(true), &json!(0)), "{said}");
    assert!(told["not_handed_over"].as_u64().unwrap() > 10, "{said}");

    site.sql("vault", "GRANT pangate_migrator TO owner, second_owner; GRANT pangate_gateway TO gate");
    let told = json_of(&site.prepare("owner").1);
    assert_eq!(told["not_handed_over"], 0);
    let rights = "SELECT relname, relacl, pg_get_userbyid(relowner) FROM pg_class JOIN pg_namespace n \
                  ON n.oid = relnamespace WHERE nspname = 'public' AND relkind IN ('r', 'v') ORDER BY relname";
    let before = site.sql("vault", rights);
    for login in ["owner", "second_owner"] {
        let (status, said) = site.prepare(login);
        let told = json_of(&said);
        assert_eq!((status, &told["handed_over"], &told["granted"]), (0, &json!(0), &json!(true)), "{said}");
        assert_eq!(told["schema_from"], told["schema_to"]);
    }
    assert_eq!(site.sql("vault", rights), before);

    // What was granted by hand beyond what a role needs is taken back.
    site.sql(
        "vault",
        "GRANT SELECT ON card TO pangate_auditor; GRANT DELETE ON audit_entry TO pangate_gateway",
    );
    assert_eq!(site.prepare("second_owner").0, 0);
    assert_eq!(site.sql("vault", rights), before);

    let (status, said) = site.prepare("gate");
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("may not prepare"), "{said}");
    let inline = site.url("owner").replace("owner@", "owner:secret@");
    let (status, said) = tried("pangate", &["store", "prepare", "--url", &inline], &[]);
    assert!(status == 2 && said.contains("--password-file") && !said.contains("secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_role_runs_the_whole_gateway_and_the_auditors_reads_logs_and_books_and_no_envelope() {
    let site = Site::new();
    site.prepared();
    let mut system = site.system().await;

    let payment = system.payment("4242424242424242", "12.50");
    let request =
        system.client().post(format!("{}/portal/payments", system.url)).bearer_auth(system.key("portal"));
    let paid = Answer::of(request.header("Idempotency-Key", "p").json(&payment)).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    let mut made = Vec::new();
    for n in 0..3 {
        let card = json!({ "number": cards::generated(n), "exp_month": 12, "exp_year": 2034, "cvc": "737" });
        let answer = system.post("portal", "/v1/tokens", &json!({ "card": card, "reuse": n == 0 })).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        made.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    let keyed = async |path: &str, key: &str, body: &Value| {
        let request = system.client().post(format!("{}{path}", system.url)).bearer_auth(system.key("staff"));
        Answer::of(request.header("Idempotency-Key", key).json(body)).await
    };
    let charge = json!({ "token": made[0], "amount": "100.00", "currency": "USD" });
    let charge = keyed("/v1/charges", "c", &charge).await;
    assert_eq!(charge.status, 201, "{}\n{}", charge.text, system.gateway_log());
    let refund = json!({ "charge": charge.json()["id"], "amount": "5.00", "reason": "goodwill" });
    let refund = keyed("/v1/refunds", "r", &refund).await;
    assert_eq!(refund.status, 201, "{}", refund.text);
    let shred = system.client().delete(format!("{}/v1/tokens/{}", system.url, made[2]));
    let shred = Answer::of(shred.bearer_auth(system.key("admin"))).await;
    assert!(shred.status.is_success(), "{}\n{}", shred.text, system.gateway_log());
    for name in ["kek/card", "mac/pan", "mac/request", "sign/audit"] {
        let job = system.rotate(name).await;
        system.job_done(job["id"].as_str().unwrap()).await;
    }
    let path = format!("/v1/tenants/{TENANT}/rotate-data-key");
    let job = system.post("admin", &path, &json!({})).await.json();
    system.job_done(job["id"].as_str().unwrap()).await;
    let retired =
        system.two_people("/v1/keys/mac/pan/versions/1/retire", "status mac/pan#1 deactivated").await;
    system.job_done(retired["id"].as_str().unwrap()).await;
    for path in ["/v1/audit/entries", "/v1/keys", "/v1/approvals", "/v1/jobs"] {
        let answer = system.get("auditor", path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    system.gateway().kill_9();
    system.start_gateway();
    system.wait_ready().await;
    let config = system.path("pangate.toml").display().to_string();
    let (status, said) = tried("pangate", &["user", "list", "--config", &config], &[]);
    assert_eq!(status, 0, "{said}");

    let log = system.gateway_log();
    assert!(!log.contains("lacks a right"), "{log}");
    cannot_do_more_than_its_work(&site).await;
    the_auditor_verifies_and_sees_no_card(&site).await;
}

async fn cannot_do_more_than_its_work(site: &Site) {
    for sql in [
        "DELETE FROM audit_entry",
        "UPDATE audit_entry SET tenant = NULL",
        "DELETE FROM device_log",
        "DELETE FROM card",
        "DELETE FROM data_key",
        "DROP TABLE refund",
        "CREATE TABLE mine (a int)",
        "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
    ] {
        assert_eq!(site.asks("gate", sql).await, Err(StoreError::Denied), "{sql}");
    }
}

async fn the_auditor_verifies_and_sees_no_card(site: &Site) {
    let (url, password) = (site.url("watch"), site.password("watch").display().to_string());
    let arguments = ["audit", "verify", "--db", &url, "--password-file", &password, "--format", "json"];
    let (status, said) = tried("pangate", &arguments, &[]);
    assert_eq!(status, 0, "{said}");
    assert!(json_of(&said)["size"].as_u64().unwrap() > 20, "{said}");
    for sql in [
        "SELECT leaf FROM audit_entry",
        "SELECT entry FROM device_log",
        "SELECT last4 FROM card_list",
        "SELECT amount, refunded FROM charge_book",
        "SELECT amount FROM refund_book",
        "SELECT kind FROM job",
    ] {
        assert_eq!(site.asks("watch", sql).await, Ok(()), "{sql}");
    }
    for sql in [
        "SELECT envelope FROM card",
        "SELECT fingerprint FROM card",
        "SELECT sealed FROM data_key",
        "SELECT hash FROM credential",
        "SELECT body FROM idempotency",
        "SELECT ticket FROM approval",
        "INSERT INTO setting (name, value) VALUES ('a', 'b')",
        "DELETE FROM audit_entry",
    ] {
        assert_eq!(site.asks("watch", sql).await, Err(StoreError::Denied), "{sql}");
    }
}

#[tokio::test]
async fn the_guides_statements_make_a_database_whose_logins_can_do_their_work() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/postgres.md")).unwrap();
    let block = guide.split("```sql setup\n").nth(1).unwrap().split("```").next().unwrap();
    let cluster = Cluster::start("").unwrap();
    let site = Site { cluster, folder: tempfile::tempdir().unwrap() };
    for statement in block.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        site.sql("postgres", statement);
    }
    for login in ["vault_owner", "vault_gateway", "vault_auditor"] {
        site.sql("postgres", &format!("ALTER ROLE {login} PASSWORD '{login}'"));
        pangate::cli::setup::write_secret(&site.password(login), login).unwrap();
    }
    site.cluster.demand_passwords().unwrap();
    let (status, said) = site.prepare("vault_owner");
    let told = json_of(&said);
    assert_eq!((status, &told["granted"], &told["not_handed_over"]), (0, &json!(true), &json!(0)), "{said}");
    let append = "INSERT INTO setting (name, value) VALUES ('a', 'b')";
    assert_eq!(site.asks("vault_gateway", append).await, Ok(()));
    assert_eq!(site.asks("vault_auditor", append).await, Err(StoreError::Denied));
    assert_eq!(site.asks("vault_auditor", "SELECT leaf FROM audit_entry").await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_the_right_to_migrate_is_told_what_to_run() {
    let site = Site::new();
    let refused = |system: &System, why: &str| {
        let config = system.path("pangate.toml").display().to_string();
        let (status, said) = tried("pangate", &["serve", "--config", &config], &[]);
        assert!(status == 2 && said.contains("pangate store prepare"), "{why}: {said}");
    };
    assert_eq!(site.asks("gate", "SELECT 1").await, Err(StoreError::OlderSchema), "an empty database");
    site.prepared();
    let mut system = site.system().await;
    system.gateway().terminate();
    // What a new release finds: not all of its migrations have run.
    let kept = "CREATE TABLE kept AS SELECT * FROM _sqlx_migrations";
    site.sql("vault", &format!("{kept}; DELETE FROM _sqlx_migrations"));
    refused(&system, "an older schema");
    site.sql("vault", "INSERT INTO _sqlx_migrations SELECT * FROM kept; DROP TABLE kept");
    system.start_gateway();
    system.wait_ready().await;
}

#[test]
fn init_makes_a_folder_whose_gateway_works_on_postgres() {
    let site = Site::new();
    site.prepared();
    let folder = site.folder.path().join("made");
    init(&site, &folder, "owner.missing", 2);
    std::fs::remove_dir_all(&folder).unwrap();
    let said = init(&site, &folder, "gate", 0);
    assert!(!said.contains("p@ss"), "{said}");
    let settings = std::fs::read_to_string(folder.join("pangate.toml")).unwrap();
    assert!(settings.contains(&site.url("gate")) && settings.contains("password_file"), "{settings}");
    assert!(!folder.join("pangate.db").exists());
    assert_eq!(site.sql("vault", "SELECT role, tenant FROM credential"), "admin|north");
    let config = folder.join("pangate.toml").display().to_string();
    let (status, said) = tried("pangate", &["audit", "verify", "--config", &config], &[]);
    assert!(status == 0 && said.contains("1 entries"), "{said}");
}

/// Runs `pangate init` on the site's database with that file as the password of `gate`.
fn init(site: &Site, folder: &Path, password: &str, expected: i32) -> String {
    let (url, folder) = (site.url("gate"), folder.display().to_string());
    let password = site.password(password).display().to_string();
    let arguments =
        ["init", "--dir", &folder, "--tenant", "north", "--store", &url, "--store-password-file", &password];
    let (status, said) = tried("pangate", &arguments, &[]);
    assert_eq!(status, expected, "{said}");
    said
}
