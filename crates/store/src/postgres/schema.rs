//! Bringing the schema up to date, by whoever may; and knowing when it is.

use super::sqlstate::read_error;
use super::{Server, roles, statement};
use crate::StoreError;
use sqlx::PgConnection;
use sqlx::migrate::{MigrateError, Migrator};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/postgres");

/// A writing connection to a database whose schema is this release's. A login that may only read and write data is
/// enough when the schema is up to date.
///
/// # Errors
/// [`StoreError::NewerSchema`], [`StoreError::OlderSchema`] when this login may not migrate,
/// [`StoreError::Migration`], or what the server refuses with.
pub(crate) async fn prepare(server: &Server) -> Result<PgConnection, StoreError> {
    let mut connection = server.writer().await?;
    let standing = tokio::time::timeout(server.patience, standing(&mut connection)).await;
    if standing.unwrap_or(Err(StoreError::Unavailable))? == Standing::Older {
        // A migration may take longer than a request's statement.
        statement::control(&mut connection, "SET statement_timeout = 0; SET lock_timeout = 0").await?;
        migrate(&mut connection).await?;
        roles::grant(&mut connection).await?;
        // With this session's limits gone, a new one takes its place.
        drop(connection);
        connection = server.writer().await?;
    }
    Ok(connection)
}

#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Older,
    Same,
}

async fn standing(connection: &mut PgConnection) -> Result<Standing, StoreError> {
    let there = statement::fetch_optional(
        connection,
        "SELECT 1 AS n FROM information_schema.tables WHERE table_name = '_sqlx_migrations' \
         AND table_schema = current_schema()",
        Vec::new(),
    )
    .await?;
    if there.is_none() {
        return Ok(Standing::Older);
    }
    let applied = statement::fetch_all(
        connection,
        "SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version",
        Vec::new(),
    )
    .await?;
    let mut known = MIGRATIONS.iter().filter(|migration| migration.migration_type.is_up_migration());
    for row in &applied {
        let (version, checksum) = (row.integer("version")?, row.bytes("checksum")?);
        match known.next() {
            None => return Err(StoreError::NewerSchema),
            Some(ours) if ours.version < version => return Err(StoreError::Migration),
            Some(ours) if ours.version > version || *ours.checksum != *checksum => {
                return Err(StoreError::Migration);
            }
            Some(_) => {}
        }
    }
    Ok(if known.next().is_some() { Standing::Older } else { Standing::Same })
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
