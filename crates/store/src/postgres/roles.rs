//! Who may do what inside the database (PCI DSS 7.2.1, least privilege): three group roles that logins are made members
//! of. The gateway can append to its logs and cannot rewrite them; the auditor reads logs, ledgers and masked cards, and
//! no sealed byte.

use super::statement;
use crate::StoreError;
use sqlx::PgConnection;

/// Roles that logins are made members of: `GRANT pangate_gateway TO some_login`.
const CREATE: [(&str, &str); 3] = [
    ("pangate_migrator", "CREATE ROLE pangate_migrator NOLOGIN"),
    ("pangate_gateway", "CREATE ROLE pangate_gateway NOLOGIN"),
    ("pangate_auditor", "CREATE ROLE pangate_auditor NOLOGIN"),
];

const GRANT: &str = "\
    GRANT USAGE, CREATE ON SCHEMA public TO pangate_migrator; \
    GRANT USAGE ON SCHEMA public TO pangate_gateway, pangate_auditor; \
    GRANT SELECT ON _sqlx_migrations TO pangate_gateway, pangate_auditor; \
    GRANT SELECT, INSERT, UPDATE ON data_key, card, job, approval, setting, credential TO pangate_gateway; \
    GRANT SELECT, INSERT, UPDATE, DELETE ON purpose, idempotency, charge, refund, sandbox_book TO pangate_gateway; \
    GRANT SELECT, INSERT ON audit_entry, device_log TO pangate_gateway; \
    GRANT SELECT, INSERT, UPDATE (ended) ON signing_key TO pangate_gateway; \
    GRANT SELECT, INSERT, UPDATE ON device_log_timeline TO pangate_gateway; \
    GRANT SELECT ON audit_entry, device_log, device_log_timeline, signing_key, job, setting, card_list, charge_book, refund_book TO pangate_auditor";

/// Makes the roles where this login may, and grants them what they need. Where it may not, and they are not there,
/// nothing is granted: the owner of the tables is then the only one who can work with them.
pub(super) async fn grant(connection: &mut PgConnection) -> Result<(), StoreError> {
    for (role, create) in CREATE {
        let there = statement::fetch_optional(
            connection,
            "SELECT 1 AS n FROM pg_roles WHERE rolname = $1",
            vec![role.into()],
        )
        .await?;
        if there.is_some() {
            continue;
        }
        match statement::control(connection, create).await.map_err(StoreError::from) {
            // Another database of this server may just have made it.
            Ok(()) | Err(StoreError::Conflict | StoreError::Statement { .. }) => {}
            Err(StoreError::Denied) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(statement::control(connection, GRANT).await?)
}
