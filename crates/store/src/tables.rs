//! Every table of the schema, once: what a move copies and compares, and what the database's roles may do with it.
//!
//! A test compares this list with the schema of both databases, so that no new table can be left behind.

use crate::{Column, Kind, Sheet};
use std::sync::OnceLock;

/// One table.
pub struct Table {
    /// Its name and columns, as rows are added to it.
    pub sheet: Sheet,
    /// The columns of its primary key, by which it is read in order.
    pub key: &'static [&'static str],
    /// The key column that the database counts up by itself.
    pub counter: Option<&'static str>,
    /// Rows that are this database's own and stay in it, as an SQL condition.
    pub stays: Option<&'static str>,
    /// What the gateway may do with it.
    pub(crate) gateway: &'static str,
    /// Whether the auditor reads it.
    pub(crate) auditor: bool,
    texts: OnceLock<Texts>,
}

/// The statements that read one table; made once of the program's own constants.
pub(crate) struct Texts {
    /// The first `$1` rows.
    pub(crate) first: String,
    /// The next rows after the key in the first parameters; the last parameter says how many.
    pub(crate) next: String,
    /// The last row's key.
    pub(crate) last: String,
    /// How many rows.
    pub(crate) count: String,
    /// PostgreSQL: lets the counter go on after the last row.
    pub(crate) go_on: String,
}

/// Ledgers and logs that are only added to.
const APPEND: &str = "SELECT, INSERT";
/// Rows that change and stay.
const KEEP: &str = "SELECT, INSERT, UPDATE";
/// Rows that come and go.
const ALL: &str = "SELECT, INSERT, UPDATE, DELETE";

macro_rules! table {
    ($name:ident [$($key:ident),+] $gateway:ident, auditor: $auditor:literal, counter: $counter:expr, stays: $stays:expr;
     $($column:ident $kind:ident,)+) => {
        Table {
            sheet: Sheet {
                table: stringify!($name),
                columns: &[$(Column { name: stringify!($column), kind: Kind::$kind },)+],
                needs: None,
                numbered: None,
            },
            key: &[$(stringify!($key)),+],
            counter: $counter,
            stays: $stays,
            gateway: $gateway,
            auditor: $auditor,
            texts: OnceLock::new(),
        }
    };
}

/// All of them; a table stands after those that its rows refer to.
pub static TABLES: [Table; 17] = [
    table! { setting [name] KEEP, auditor: true, counter: None, stays: Some("name = 'store.move'");
        name Text, value Text,
    },
    table! { credential [id] KEEP, auditor: false, counter: None, stays: None;
        id Text, principal Text, role Text, tenant Text, hash Bytes, created_at Time, expires_at Time,
        revoked_at Time, networks Text, routes Text, last_used Time,
    },
    table! { person [principal] KEEP, auditor: false, counter: None, stays: None;
        principal Text, role Text, tenant Text, state Text, password_hash Text, password_former Text,
        must_change Small, setup_until Time, factor Bytes, factor_kek_version Integer, factor_since Time,
        factor_pending Bytes, factor_step Integer, failures Integer, locked_until Time, created_at Time,
        password_changed_at Time, last_login_at Time,
    },
    table! { session [id] ALL, auditor: false, counter: None, stays: None;
        id Text, principal Text, hash Bytes, created_at Time, last_seen Time, expires_at Time, ended_at Time,
        second_factor_at Time,
    },
    table! { data_key [data_key_id] KEEP, auditor: false, counter: None, stays: None;
        data_key_id Bytes, tenant Text, class Text, epoch Integer, status Text, sealed Bytes, kek_label Text,
        kek_version Integer, created_at Time, row_version Integer, uses_reserved Integer, deactivated_at Time,
        destroyed_at Time,
    },
    table! { card [tenant, token] KEEP, auditor: false, counter: None, stays: None;
        tenant Text, token Text, fingerprint Bytes, fingerprint_version Integer, reusable Small, envelope Bytes,
        data_key_id Bytes, brand Text, last4 Text, exp_month Small, exp_year Small, format Text, metadata Text,
        created_at Time, expires_at Time, shredded_at Time, former_fingerprint Bytes,
        former_fingerprint_version Integer, consent Text, consented_at Time,
    },
    table! { purpose [id] ALL, auditor: false, counter: Some("id"), stays: None;
        id Integer, tenant Text, token Text, kind Text, amount_minor Integer, currency Text, request Text,
        opened_at Time, expires_at Time, spent_by Text,
    },
    table! { idempotency [tenant, principal, endpoint, idempotency_key] ALL, auditor: false, counter: None, stays: None;
        tenant Text, principal Text, endpoint Text, idempotency_key Text, request_mac Bytes,
        request_mac_version Integer, state Text, owner Text, status Small, content_type Text, body Bytes,
        location Text, created_at Time, done_at Time,
    },
    table! { charge [id] ALL, auditor: false, counter: None, stays: None;
        id Text, tenant Text, token Text, brand Text, last4 Text, amount_minor Integer, currency Text,
        captured_minor Integer, refunded_minor Integer, status Text, decline_code Text, reference Text,
        idempotency_key Text, principal Text, processor Text, processor_reference Text, created_at Time,
        updated_at Time, capture Small,
    },
    table! { refund [id] ALL, auditor: false, counter: None, stays: None;
        id Text, tenant Text, charge Text, amount_minor Integer, currency Text, reason Text, status Text,
        requested_by Text, approved_by Text, act_hash Bytes, processor_reference Text, created_at Time,
        updated_at Time, approval_expires_at Time, idempotency_key Text, request_hash Bytes,
    },
    table! { sandbox_book [idempotency_key] ALL, auditor: false, counter: None, stays: None;
        idempotency_key Text, kind Text, amount_minor Integer, currency Text, outcome Text, reference Text,
        created_at Time,
    },
    table! { job [id] KEEP, auditor: true, counter: None, stays: None;
        id Text, kind Text, subject Text, state Text, step Text, from_version Integer, to_version Integer,
        cursor Text, done Integer, total Integer, reason Text, owner Text, lease_until Time, requested_by Text,
        approved_by Text, approval Text, outcome Text, created_at Time, updated_at Time, finished_at Time,
    },
    table! { approval [id] KEEP, auditor: false, counter: None, stays: None;
        id Text, act Text, act_hash Bytes, state Text, reason Text, requested_by Text, approved_by Text,
        ticket Bytes, created_at Time, expires_at Time, used_at Time,
    },
    table! { device_log [device, timeline, seq] APPEND, auditor: true, counter: None, stays: None;
        device Text, timeline Integer, seq Integer, entry Bytes, taken_at Time,
    },
    table! { device_log_timeline [device, timeline] KEEP, auditor: true, counter: None, stays: None;
        device Text, timeline Integer, begins_after Integer, reason Text, began_at Time, head_seq Integer, head Bytes,
    },
    // Its triggers let a row end and nothing else.
    table! { signing_key [label, version] KEEP, auditor: true, counter: None, stays: None;
        label Text, version Integer, device Text, algorithm Small, public Bytes, first_seen Time, ended Time,
    },
    table! { audit_entry [log, position] APPEND, auditor: true, counter: None, stays: None;
        log Text, position Integer, tenant Text, leaf Bytes, leaf_hash Bytes,
    },
];

impl Table {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.sheet.table
    }

    pub(crate) fn texts(&'static self) -> &'static Texts {
        self.texts.get_or_init(|| {
            let columns = self.sheet.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
            let (table, key) = (self.name(), self.key.join(", "));
            let parameters = (1..=self.key.len()).map(|at| format!("${at}")).collect::<Vec<_>>().join(", ");
            let backwards = self.key.iter().map(|column| format!("{column} DESC")).collect::<Vec<_>>().join(", ");
            let moves = self.stays.map(|stays| format!("NOT ({stays})"));
            let only = moves.as_ref().map(|moves| format!(" WHERE {moves}")).unwrap_or_default();
            let and = moves.map(|moves| format!(" AND {moves}")).unwrap_or_default();
            Texts {
                first: format!("SELECT {columns} FROM {table}{only} ORDER BY {key} LIMIT $1"),
                next: format!(
                    "SELECT {columns} FROM {table} WHERE ({key}) > ({parameters}){and} ORDER BY {key} LIMIT ${}",
                    self.key.len() + 1
                ),
                last: format!("SELECT {key} FROM {table}{only} ORDER BY {backwards} LIMIT 1"),
                count: format!("SELECT COUNT(*) AS n FROM {table}{only}"),
                go_on: format!(
                    "SELECT setval(pg_get_serial_sequence('{table}', '{0}'), \
                     COALESCE((SELECT MAX({0}) FROM {table}), 0) + 1, false) AS n",
                    self.counter.unwrap_or_default()
                ),
            }
        })
    }

    /// The columns of the key, with what they hold.
    pub(crate) fn key_columns(&self) -> impl Iterator<Item = &'static Column> {
        let columns = self.sheet.columns;
        self.key.iter().filter_map(move |key| columns.iter().find(|column| column.name == *key))
    }
}
