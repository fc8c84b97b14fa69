//! What preparing a database came to.

use crate::Dialect;

/// What was found and done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The database's kind.
    pub dialect: Dialect,
    /// Version of the schema that was there; zero for none.
    pub from: i64,
    /// Version of the schema that is there now.
    pub to: i64,
    /// The roles by name. A file has none.
    pub roles: Vec<(&'static str, RoleStanding)>,
    /// Tables and views that were given to the migrator's role, so that every member of it may change them.
    pub handed_over: u64,
    /// Tables and views that stay this login's own, because it may not give them to that role.
    pub not_handed_over: u64,
    /// Whether the roles have exactly the rights that this release needs.
    pub granted: bool,
}

/// How it is with a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleStanding {
    /// It was there.
    There,
    /// It was made.
    Made,
    /// It is missing, and this login may not make it.
    Missing,
}
