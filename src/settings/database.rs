//! `[store]`: which database, with what login, and how much of it.

use super::{SettingsError, secret};
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use store::{Dialect, Prepared, Store, StoreError};

/// How long one statement of a move may take.
const MOVE_PATIENCE: Duration = Duration::from_secs(60);

/// `[store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://USER@HOST[:PORT][,HOST[:PORT]…]/DATABASE[?PARAMETERS]`.
    pub url: String,
    /// File that holds the login's password, mode 0600.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Connections for reading, 1 to 256.
    #[serde(default = "defaults::max_readers")]
    pub max_readers: u32,
    /// Seconds that one statement may take, 1 to 60.
    #[serde(default = "defaults::statement_seconds")]
    pub statement_seconds: u64,
}

mod defaults {
    pub(super) fn max_readers() -> u32 {
        8
    }
    pub(super) fn statement_seconds() -> u64 {
        5
    }
}

/// Why the database did not open.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The password file.
    #[error("store.password_file: {0}")]
    Password(#[from] SettingsError),
    /// The database itself.
    #[error("store.url: {0}")]
    Store(#[from] StoreError),
}

impl Database {
    /// A database by its URL alone, with everything else as it is by default.
    pub fn at(url: String) -> Database {
        Database {
            url,
            password_file: None,
            max_readers: defaults::max_readers(),
            statement_seconds: defaults::statement_seconds(),
        }
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`DatabaseError`], which names the setting to change.
    pub async fn open(&self) -> Result<Store, DatabaseError> {
        self.open_as(store::Settings::default()).await
    }

    /// Brings its schema, roles and rights up to date.
    ///
    /// # Errors
    /// [`DatabaseError`], which names the setting to change.
    pub async fn prepare(&self) -> Result<Prepared, DatabaseError> {
        Ok(Store::prepare(&self.address()?, store::Settings::default()).await?)
    }

    /// PostgreSQL: a table in it that is none of pangate's, if there is one.
    ///
    /// # Errors
    /// [`DatabaseError`], which names the setting to change.
    pub async fn stranger(&self) -> Result<Option<String>, DatabaseError> {
        Ok(Store::stranger(&self.address()?, store::Settings::default()).await?)
    }

    /// Opens it for a move of the vault, which asks for more at a time than a request does. `log` is the audit log of
    /// the gateway that moves, where it moves to.
    ///
    /// # Errors
    /// [`DatabaseError`], which names the setting to change.
    pub async fn open_for_move(&self, log: Option<&audit::LogName>) -> Result<Store, DatabaseError> {
        let bounds = store::Settings {
            busy_timeout: MOVE_PATIENCE / 4,
            act_timeout: MOVE_PATIENCE,
            lock_timeout: MOVE_PATIENCE / 4,
            sole: log.map(sole),
            arriving: true,
            ..store::Settings::default()
        };
        Ok(Store::open(&self.address()?, bounds).await?)
    }

    /// Opens it for the gateway whose audit log has that name, which no other running gateway may have.
    ///
    /// # Errors
    /// [`DatabaseError`], which names the setting to change.
    pub async fn open_for(&self, log: &audit::LogName) -> Result<Store, DatabaseError> {
        let bounds = store::Settings { sole: Some(sole(log)), ..store::Settings::default() };
        let mut store = self.open_as(bounds).await?;
        // A fence refuses every write; what starts on a vault that moved is told so before it listens.
        if store.dialect() == Dialect::Sqlite && store::move_of(&mut store).await?.is_some() {
            store.close().await;
            return Err(StoreError::Moved.into());
        }
        Ok(store)
    }

    async fn open_as(&self, bounds: store::Settings) -> Result<Store, DatabaseError> {
        let statement = Duration::from_secs(self.statement_seconds.clamp(1, 60));
        let bounds = store::Settings {
            max_readers: self.max_readers.clamp(1, 256),
            act_timeout: statement,
            lock_timeout: statement / 2,
            ..bounds
        };
        Ok(Store::open(&self.address()?, bounds).await?)
    }

    /// The URL with the password of its file in it.
    fn address(&self) -> Result<String, SettingsError> {
        let (Some(file), Some((scheme, rest))) = (&self.password_file, self.url.split_once("://")) else {
            return Ok(self.url.clone());
        };
        let password = secret(file)?;
        let password: String = password.expose_secret().bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (user, hosts) = rest.split_once('@').unwrap_or(("pangate", rest));
        Ok(format!("{scheme}://{user}:{password}@{hosts}"))
    }

    /// Whether a password stands in the URL itself, where everybody reads it who reads the settings.
    pub fn holds_a_password(&self) -> bool {
        let authority = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = authority.split(['/', '?']).next().unwrap_or_default();
        let inline = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
        let parameter = self
            .url
            .split_once('?')
            .is_some_and(|(_, parameters)| parameters.split('&').any(|one| one.starts_with("password=")));
        inline || parameter
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        self.password_file = self.password_file.take().map(|file| folder.join(file));
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            self.url = format!("sqlite:{}", folder.join(path).display());
        }
    }
}

/// The number by which the database knows that log.
fn sole(log: &audit::LogName) -> i64 {
    // FNV-1a, 64 bits: which names share a number is of no account, as long as equal names do.
    let hash = log.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_comes_from_its_file_and_any_character_may_stand_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "p@ss/w:rd\n").unwrap();
        let mut database = Database::at("postgres://gate@db1,db2:5433/vault?sslmode=verify-full".to_owned());
        database.password_file = Some(file.clone());
        assert!(matches!(database.address(), Err(SettingsError::TooOpen { .. })));
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(
            database.address().unwrap(),
            "postgres://gate:%70%40%73%73%2F%77%3A%72%64@db1,db2:5433/vault?sslmode=verify-full"
        );
    }

    #[test]
    fn a_password_in_the_url_is_seen() {
        let holds = |url: &str| Database::at(url.to_owned()).holds_a_password();
        assert!(holds("postgres://gate:secret@db/vault"));
        assert!(holds("postgres://gate@db/vault?password=secret"));
        assert!(!holds("postgres://gate@db:5433/vault"));
        assert!(!holds("postgres:///vault?host=/run/postgresql&user=gate"));
        assert!(!holds("sqlite:pangate.db"));
    }
}
