//! One durable transaction for the requests that arrived together.
//!
//! A [`Store`] takes acts: closures that read and write through a [`Work`], or plain [`Rows`] that are only added.
//! Those that arrive while a commit is in flight go down together in the next transaction, each alone in its failure,
//! and each is answered only when the database has made it durable. This room knows connections, migrations and
//! transactions; it knows nothing of cards, tokens or audit, and no other room of the gateway names the database
//! driver.

mod act;
mod code;
mod error;
mod failure;
mod fetch;
mod link;
mod moving;
mod postgres;
mod prepared;
mod reader;
mod row;
mod rows;
mod settings;
mod sqlite;
mod store;
mod tables;
mod value;
mod walking;
mod work;
mod writer;

pub use code::SqlCode;
pub use error::StoreError;
pub use fetch::Fetch;
pub use moving::{Move, MoveState, arrive, move_of};
pub use prepared::{Prepared, RoleStanding};
pub use reader::Reader;
pub use row::Row;
pub use rows::{Column, Kind, Needs, Numbered, Rows, Sheet};
pub use settings::{Counters, Dialect, Settings};
pub use sqlite::{Cell, walk_values};
pub use store::Store;
pub use tables::{TABLES, Table};
pub use value::Value;
pub use walking::{Key, Record};
pub use work::Work;
