//! Both databases for one suite: every promise is tried on each.
#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    clippy::print_stdout,
    clippy::allow_attributes,
    reason = "each suite uses a part"
)]

pub(crate) mod load;

use scratch_postgres::{Cluster, Database};
use std::path::Path;
use tempfile::TempDir;

/// A database of its own for one test.
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres(Database),
}

impl Place {
    pub(crate) fn sqlite() -> Place {
        Place::Sqlite(TempDir::new().unwrap())
    }

    pub(crate) fn postgres() -> Place {
        Place::Postgres(Cluster::shared_database().unwrap())
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Place::Sqlite(dir) => format!("sqlite:{}", dir.path().join("pangate.db").display()),
            Place::Postgres(database) => database.url.clone(),
        }
    }

    /// The folder of the file; a server's is its own.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Place::Sqlite(dir) => Some(dir.path()),
            Place::Postgres(_) => None,
        }
    }
}

/// Makes a test of each function, on each database.
macro_rules! on_both {
    ($($name:ident,)*) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::sqlite()).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::postgres()).await;
            })*
        }
    };
}
pub(crate) use on_both;
