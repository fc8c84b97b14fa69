//! The PostgreSQL dialect: the only rooms that know what PostgreSQL's types, states and sessions are.

mod address;
mod argument;
mod connect;
mod kind;
mod numeric;
mod patience;
mod pooler;
mod readers;
mod roles;
mod schema;
mod sole;
mod sqlstate;
pub(crate) mod statement;
pub(crate) mod value;

pub(crate) use connect::Server;
pub(crate) use patience::timed;
pub(crate) use readers::{Readers, Snapshot};
pub(crate) use schema::{open, prepare, stranger};
