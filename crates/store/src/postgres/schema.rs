//! Bringing the schema up to date, by whoever may; and knowing when it is.

use super::roles::{self, Granted};
use super::sqlstate::read_error;
use super::{Server, statement};
use crate::{Dialect, Prepared, StoreError};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, PgConnection};
use std::sync::LazyLock;

/// Without the driver's own lock, which only one vendor's database has: [`alone`] comes before.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("./migrations/postgres");
    migrations.set_locking(false);
    migrations
});

/// A writing connection to a database whose schema is this release's. A login that may only read and write data is
/// enough when the schema is up to date.
///
/// # Errors
/// [`StoreError::NewerSchema`], [`StoreError::OlderSchema`] when this login may not migrate,
/// [`StoreError::Migration`], or what the server refuses with.
pub(crate) async fn open(server: &Server) -> Result<PgConnection, StoreError> {
    let mut connection = server.writer().await?;
    let applied = tokio::time::timeout(server.patience, applied(&mut connection)).await;
    if applied.unwrap_or(Err(StoreError::Unavailable))? < latest() {
        prepare_by(&mut connection).await?;
        // With this session's limits gone, a new one takes its place.
        drop(connection);
        connection = server.writer().await?;
    }
    Ok(connection)
}

/// Brings the schema up to date, makes the roles and grants them their rights, whatever was there before.
///
/// # Errors
/// As [`open`]; [`StoreError::Denied`] when this login owns neither the tables nor the schema.
pub(crate) async fn prepare(server: &Server) -> Result<Prepared, StoreError> {
    let mut connection = server.writer().await?;
    let prepared = prepare_by(&mut connection).await?;
    let _ = connection.close().await;
    Ok(prepared)
}

/// A table in the database that is none of ours, if there is one.
pub(crate) async fn stranger(server: &Server) -> Result<Option<String>, StoreError> {
    let mut connection = server.connect().await?;
    let found = roles::stranger(&mut connection).await?;
    let _ = connection.close().await;
    Ok(found)
}

async fn prepare_by(connection: &mut PgConnection) -> Result<Prepared, StoreError> {
    // A migration may take longer than a request's statement.
    statement::control(connection, "SET statement_timeout = 0; SET lock_timeout = 0").await?;
    alone(connection).await?;
    let from = applied(connection).await?;
    if from < latest() {
        migrate(connection).await?;
    }
    let Granted { roles, handed_over, not_handed_over, granted } = roles::grant(connection).await?;
    Ok(Prepared {
        dialect: Dialect::Postgres,
        from,
        to: latest(),
        roles,
        handed_over,
        not_handed_over,
        granted,
    })
}

/// Two that prepare one database at once would trip over each other's grants. The lock ends with the session.
async fn alone(connection: &mut PgConnection) -> Result<(), StoreError> {
    const NUMBER: i64 = 0x0070_616e_6761_7465;
    let asked =
        statement::fetch_optional(connection, "SELECT pg_advisory_lock($1)", vec![NUMBER.into()]).await;
    match asked.map_err(StoreError::from) {
        // An engine that only speaks PostgreSQL's wire may have no such locks; there the operator sees to it.
        Ok(_) | Err(StoreError::Statement { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn latest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Version of the schema that is there; zero for none. What is there has to be a beginning of what this release knows.
async fn applied(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let there = statement::fetch_optional(
        connection,
        "SELECT 1 AS n FROM information_schema.tables WHERE table_name = '_sqlx_migrations' \
         AND table_schema = current_schema()",
        Vec::new(),
    )
    .await?;
    if there.is_none() {
        return Ok(0);
    }
    let applied = statement::fetch_all(
        connection,
        "SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version",
        Vec::new(),
    )
    .await?;
    let mut known = MIGRATIONS.iter().filter(|migration| migration.migration_type.is_up_migration());
    let mut last = 0;
    for row in &applied {
        let (version, checksum) = (row.integer("version")?, row.bytes("checksum")?);
        match known.next() {
            None => return Err(StoreError::NewerSchema),
            Some(ours) if ours.version != version || *ours.checksum != *checksum => {
                return Err(StoreError::Migration);
            }
            Some(_) => last = version,
        }
    }
    Ok(last)
}

async fn migrate(connection: &mut PgConnection) -> Result<(), StoreError> {
    match MIGRATIONS.run_direct(None, connection, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..)) => {
            Err(StoreError::NewerSchema)
        }
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
            Err(match read_error(error).error {
                // This login may not change the schema; one that may has to.
                StoreError::Denied => StoreError::OlderSchema,
                error if error.is_transient() => error,
                _ => StoreError::Migration,
            })
        }
        Err(_) => Err(StoreError::Migration),
    }
}
