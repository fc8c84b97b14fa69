//! Bulk insert of cards: copies of the one card that is there, each with a token and a fingerprint of its own, and of
//! its consent. Indexes are put aside meanwhile and made again, as anybody does who loads so much. Only the copied card
//! could ever be opened: an envelope is bound to its token. What is read of the others is what stands beside it.

use super::READ;
use crate::progress;
use scratch_postgres::Cluster;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use std::path::Path;
use std::sync::Arc;
use tokens::{Realm, Token};

/// Cards of one step.
const STEP: u64 = 250_000;

/// What every copy has of the original. Its token comes from `fresh`, its fingerprint from there as well.
const SAME: &str = "fingerprint_version, reusable, envelope, data_key_id, brand, last4, exp_month, exp_year, format, \
                    metadata, created_at, expires_at";
const CONSENT: &str = "kind, amount_minor, currency, request, opened_at, expires_at";

/// A vault on PostgreSQL that is filled.
pub(super) struct Filling<'a> {
    cluster: &'a Cluster,
    database: &'a str,
    cards: u64,
    /// From the tokens in `fresh`: cards, and their consents.
    copies: [String; 2],
    sample: Sample,
}

impl<'a> Filling<'a> {
    /// Fills the vault, in which there is one card, to `cards`.
    pub(super) fn fill(cluster: &'a Cluster, database: &'a str, cards: u64) -> Filling<'a> {
        let original = cluster.sql(database, "SELECT token FROM card").unwrap();
        let copies = [
            format!(
                "INSERT INTO card (tenant, token, fingerprint, {SAME}) SELECT tenant, fresh.token, \
                 CASE WHEN fingerprint IS NOT NULL THEN sha256(fresh.token::bytea) END, {SAME} FROM card, fresh \
                 WHERE card.token = '{original}'",
            ),
            format!(
                "INSERT INTO purpose (tenant, token, {CONSENT}) SELECT tenant, fresh.token, {CONSENT} \
                 FROM purpose, fresh WHERE purpose.token = '{original}'"
            ),
        ];
        let mut filling = Filling { cluster, database, cards, copies, sample: Sample::of(cards) };
        filling.without_indexes();
        filling
    }

    /// As when the vault has gone on for a while: most leaves of its indexes have changed since the checkpoint.
    pub(super) fn settle(&mut self) {
        // About a hundred entries to a leaf: three tokens for each.
        self.add(self.cards / 30);
    }

    pub(super) fn tokens(&self) -> Arc<Vec<String>> {
        Arc::new(self.sample.taken.clone())
    }

    fn sql(&self, sql: &str) -> String {
        self.cluster.sql(self.database, sql).unwrap()
    }

    fn without_indexes(&mut self) {
        // The primary key of `purpose` only grows and stays.
        let of_ours =
            "WHERE schemaname = 'public' AND tablename IN ('card', 'purpose') AND indexname !~ '_pkey$'";
        let indexes = self.sql(&format!("SELECT indexdef FROM pg_indexes {of_ours}"));
        let names = self.sql(&format!("SELECT string_agg(indexname, ', ') FROM pg_indexes {of_ours}"));
        self.sql(&format!("DROP INDEX {names}"));
        self.sql("ALTER TABLE card DROP CONSTRAINT card_pkey");
        self.add(self.cards - 1);
        progress("  indexes");
        self.sql("ALTER TABLE card ADD PRIMARY KEY (tenant, token)");
        for index in indexes.lines() {
            self.sql(index);
            self.sql("CHECKPOINT");
        }
        self.sql("VACUUM (ANALYZE) card, purpose");
        self.sql("CHECKPOINT");
    }

    fn add(&mut self, cards: u64) {
        for (at, step) in steps(cards).enumerate() {
            let [cards_of, consents_of] = &self.copies;
            let [fresh, copy] = ["CREATE TEMP TABLE fresh (token text)", "COPY fresh FROM STDIN"];
            let sample = &mut self.sample;
            let mint = |copy: &mut dyn std::io::Write| {
                for _ in 0..step {
                    writeln!(copy, "{}", sample.mint())?;
                }
                Ok(())
            };
            self.cluster.feed(self.database, &[fresh, copy, cards_of, consents_of], mint).unwrap();
            progress(&format!("  {} of {} cards on PostgreSQL", self.sample.minted + 1, self.cards));
            // The log is not to take more room than the cards.
            if at % 8 == 7 {
                self.sql("CHECKPOINT");
            }
        }
    }
}

/// The same in a file that no gateway has open.
pub(super) async fn sqlite(file: &Path, cards: u64) -> Vec<String> {
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .pragma("synchronous", "OFF")
        .pragma("cache_size", "-1000000")
        .connect()
        .await
        .unwrap();
    let listed = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL \
                  AND tbl_name IN ('card', 'purpose')";
    let listed = sqlx::query(listed).fetch_all(&mut connection).await.unwrap();
    let indexes: Vec<(String, String)> = listed.iter().map(|row| (row.get("name"), row.get("sql"))).collect();
    for (name, _) in &indexes {
        run(&mut connection, format!("DROP INDEX {name}")).await;
    }
    let original = sqlx::query("SELECT token FROM card").fetch_one(&mut connection).await.unwrap();
    let original: String = original.get("token");
    run(&mut connection, "CREATE TEMP TABLE fresh (token TEXT)".to_owned()).await;
    let mut sample = Sample::of(cards);
    for step in steps(cards - 1) {
        let mut fresh: Vec<String> = (0..step).map(|_| sample.mint()).collect();
        // The table is kept in the order of its tokens.
        fresh.sort_unstable();
        let fresh = serde_json::to_string(&fresh).unwrap();
        let given = "INSERT INTO fresh SELECT value FROM json_each($1)";
        sqlx::query(given).bind(fresh).execute(&mut connection).await.unwrap();
        let copies = format!(
            "BEGIN; INSERT INTO card (tenant, token, fingerprint, {SAME}) SELECT tenant, fresh.token, \
             CASE WHEN fingerprint IS NOT NULL THEN randomblob(32) END, {SAME} FROM fresh, card \
             WHERE card.token = '{original}'; \
             INSERT INTO purpose (tenant, token, {CONSENT}) SELECT tenant, fresh.token, {CONSENT} FROM fresh, purpose \
             WHERE purpose.token = '{original}'; DELETE FROM fresh; COMMIT",
        );
        run(&mut connection, copies).await;
        progress(&format!("  {} of {cards} cards on SQLite", sample.minted));
    }
    progress("  indexes");
    for (_, sql) in indexes {
        run(&mut connection, sql).await;
    }
    run(&mut connection, "ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)".to_owned()).await;
    sample.taken
}

async fn run(connection: &mut SqliteConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

/// New tokens, of which some are remembered.
struct Sample {
    every: u64,
    minted: u64,
    taken: Vec<String>,
}

impl Sample {
    fn of(cards: u64) -> Sample {
        Sample { every: (cards / READ).max(1), minted: 0, taken: Vec::new() }
    }

    fn mint(&mut self) -> String {
        let token = Token::mint(Realm::Test).unwrap().as_str().to_owned();
        if self.minted.is_multiple_of(self.every) {
            self.taken.push(token.clone());
        }
        self.minted += 1;
        token
    }
}

fn steps(cards: u64) -> impl Iterator<Item = u64> {
    (0..cards.div_ceil(STEP)).map(move |step| STEP.min(cards - step * STEP))
}
