//! SQLite files: every value of every table, judged with what its column's name suggests.

use super::content;
use std::collections::HashMap;
use std::path::Path;
use sweep::{FieldContext, Hit, Place};

/// What a database came to.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) hits: Vec<(String, Hit)>,
    pub(super) values: u64,
    /// Why not all of it could be searched.
    pub(super) unsearched: Option<String>,
}

/// Reads a SQLite file, without writing to it.
pub(super) async fn search(path: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    let mut contexts: HashMap<String, FieldContext> = HashMap::new();
    let mut each = |cell: store::Cell<'_>| {
        outcome.values += 1;
        let context = match contexts.get(cell.column) {
            Some(context) => *context,
            None => {
                let context = FieldContext::of_name(cell.column);
                contexts.insert(cell.column.to_owned(), context);
                context
            }
        };
        if let Some(hit) = content::judge_value(cell.bytes, context) {
            let column = Place::new(cell.table).child(cell.column);
            outcome.hits.push((format!("table {column}, row {}", cell.row), hit));
        }
    };
    let walked = store::walk_values(path, &mut each).await;
    outcome.unsearched = match walked {
        Ok(0) => None,
        Ok(unread) => Some(format!("{unread} table(s) could not be read; their raw bytes were searched")),
        Err(error) => Some(format!("as a database: {error}; its raw bytes were searched")),
    };
    outcome
}
