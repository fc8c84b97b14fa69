//! The SQLite dialect: the only rooms that know what SQLite's locks, pragmas and result codes are.

mod connect;
pub(crate) mod statement;
mod walk;

pub(crate) use connect::{Place, prepare, readers};
pub use walk::{Cell, walk_values};
