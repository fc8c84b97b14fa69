//! Who may do what inside the database (PCI DSS 7.2.1, least privilege): three group roles that logins are made members
//! of. The gateway can append to its logs and cannot rewrite them; the auditor reads logs, ledgers and masked cards, and
//! no sealed byte. The migrator owns the tables.

use super::sqlstate::read_error;
use super::statement;
use crate::StoreError;
use crate::prepared::RoleStanding;
use crate::tables::TABLES;
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use std::sync::LazyLock;

/// Roles that logins are made members of: `GRANT pangate_gateway TO some_login`.
const CREATE: [(&str, &str); 3] = [
    ("pangate_migrator", "CREATE ROLE pangate_migrator NOLOGIN"),
    ("pangate_gateway", "CREATE ROLE pangate_gateway NOLOGIN"),
    ("pangate_auditor", "CREATE ROLE pangate_auditor NOLOGIN"),
];

/// What an auditor's login reads instead of the tables: masked cards, and money as decimals.
const VIEWS: [&str; 3] = ["card_list", "charge_book", "refund_book"];
/// The driver's own table, by which everybody knows the schema's version.
const VERSIONS: &str = "_sqlx_migrations";

/// A message of several statements is one transaction: nobody is without rights in between. What an earlier release or
/// somebody by hand granted beyond this is taken back.
static GRANT: LazyLock<String> = LazyLock::new(|| {
    let mut sql = String::from(
        "GRANT USAGE, CREATE ON SCHEMA public TO pangate_migrator; \
         GRANT USAGE ON SCHEMA public TO pangate_gateway, pangate_auditor",
    );
    for name in ours() {
        sql.push_str(&format!("; REVOKE ALL ON {name} FROM PUBLIC, pangate_gateway, pangate_auditor"));
    }
    for table in &TABLES {
        let (name, gateway) = (table.name(), table.gateway);
        sql.push_str(&format!("; GRANT {gateway} ON {name} TO pangate_gateway"));
        if table.auditor {
            sql.push_str(&format!("; GRANT SELECT ON {name} TO pangate_auditor"));
        }
    }
    for view in VIEWS {
        sql.push_str(&format!("; GRANT SELECT ON {view} TO pangate_auditor"));
    }
    sql.push_str(&format!("; GRANT SELECT ON {VERSIONS} TO pangate_gateway, pangate_auditor"));
    sql
});

/// Every relation that the migrations make.
fn ours() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(crate::Table::name).chain(VIEWS).chain([VERSIONS])
}

/// A table of the schema that no migration of ours made, if there is one.
pub(super) async fn stranger(connection: &mut PgConnection) -> Result<Option<String>, StoreError> {
    let rows = statement::fetch_all(
        connection,
        "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename",
        Vec::new(),
    )
    .await?;
    let found = rows.iter().map(|row| row.text("name")).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().find(|found| !ours().any(|name| name == found)))
}

/// What was done about roles and rights.
pub(super) struct Granted {
    pub(super) roles: Vec<(&'static str, RoleStanding)>,
    pub(super) handed_over: u64,
    pub(super) not_handed_over: u64,
    pub(super) granted: bool,
}

/// Makes the roles where this login may, gives the tables to the migrator's, and grants the others what they need.
/// Where a role is missing nothing is granted: the owner of the tables is then the only one who can work with them.
///
/// # Errors
/// [`StoreError::Denied`] when a table is neither this login's nor of a role that it is a member of: the server would
/// answer its grants with no more than a warning.
pub(super) async fn grant(connection: &mut PgConnection) -> Result<Granted, StoreError> {
    let own = owned(connection).await?;
    let mut roles = Vec::new();
    for (role, create) in CREATE {
        roles.push((role, make(connection, role, create).await?));
    }
    if roles.iter().any(|(_, standing)| *standing == RoleStanding::Missing) {
        return Ok(Granted { roles, handed_over: 0, not_handed_over: 0, granted: false });
    }
    statement::control(connection, GRANT.as_str()).await?;
    let (mut handed_over, mut not_handed_over) = (0, 0);
    for name in own {
        // Made of the program's own constants alone; on a view it says the same.
        let sql = format!("ALTER TABLE {name} OWNER TO pangate_migrator");
        match connection.execute(AssertSqlSafe(sql)).await.map_err(|error| read_error(error).error) {
            Ok(_) => handed_over += 1,
            Err(StoreError::Denied) => not_handed_over += 1,
            Err(error) => return Err(error),
        }
    }
    // The schema may be somebody else's, and then only its owner's grants count.
    let row = statement::fetch_optional(
        connection,
        "SELECT has_schema_privilege('pangate_migrator', 'public', 'CREATE') \
         AND has_schema_privilege('pangate_gateway', 'public', 'USAGE') \
         AND has_schema_privilege('pangate_auditor', 'public', 'USAGE') AS granted",
        Vec::new(),
    )
    .await?
    .ok_or(StoreError::Unavailable)?;
    Ok(Granted { roles, handed_over, not_handed_over, granted: row.integer("granted")? == 1 })
}

async fn make(
    connection: &mut PgConnection,
    role: &'static str,
    create: &'static str,
) -> Result<RoleStanding, StoreError> {
    let there = "SELECT 1 AS n FROM pg_roles WHERE rolname = $1";
    if statement::fetch_optional(connection, there, vec![role.into()]).await?.is_some() {
        return Ok(RoleStanding::There);
    }
    match statement::control(connection, create).await.map_err(StoreError::from) {
        Ok(()) => Ok(RoleStanding::Made),
        // Another database of this server may just have made it.
        Err(StoreError::Conflict | StoreError::Statement { .. }) => Ok(RoleStanding::There),
        Err(StoreError::Denied) => Ok(RoleStanding::Missing),
        Err(error) => Err(error),
    }
}

/// The tables and views that the migrator's role does not own yet, every one of which has to be ours to give.
async fn owned(connection: &mut PgConnection) -> Result<Vec<&'static str>, StoreError> {
    let rows = statement::fetch_all(
        connection,
        "SELECT relname::text AS name, pg_has_role(relowner, 'USAGE') AS mine, \
         pg_get_userbyid(relowner) = 'pangate_migrator' AS given \
         FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace \
         WHERE nspname = current_schema() AND relkind IN ('r', 'v', 'p')",
        Vec::new(),
    )
    .await?;
    let mut own = Vec::new();
    for row in &rows {
        let found = row.text("name")?;
        let Some(name) = ours().find(|name| *name == found) else { continue };
        if row.integer("mine")? == 0 {
            return Err(StoreError::Denied);
        }
        if row.integer("given")? == 0 {
            own.push(name);
        }
    }
    Ok(own)
}
