//! Rows that are only added: what many requests add to one table goes down in one statement.
//!
//! An act asks the database something and goes by the answer, so acts run one after the other. Most tokens need no
//! answer: their rows are known before the transaction begins. A [`Sheet`] says how a table is added to, and [`Rows`]
//! are one request's additions: they become durable together, or none of them does.

use crate::{Dialect, Value};
use std::fmt::Write;

/// The most rows in one statement.
pub(crate) const MOST_ROWS: usize = 64;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number of up to 64 bits.
    Integer,
    /// A whole number of up to 16 bits.
    Small,
    /// UTF-8 text.
    Text,
    /// Bytes.
    Bytes,
    /// Unix microseconds.
    Time,
}

/// One column of a sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// A column that counts the rows within a group without a gap, from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// The column with the number.
    pub column: &'static str,
    /// The column that names the group; it has to be the sheet's first, and one store writes to one group only.
    pub within: &'static str,
}

/// A row of another table without which a row must not come to be, and which stays until the transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The other table.
    pub table: &'static str,
    /// Its key.
    pub key: &'static str,
    /// The sheet's column that names it.
    pub column: &'static str,
    /// What else must hold for it, as SQL over its columns.
    pub condition: &'static str,
}

/// How rows are added to a table. A row whose key is taken, or that lacks what it needs, finds no place.
#[derive(Debug, PartialEq, Eq)]
pub struct Sheet {
    /// The table.
    pub table: &'static str,
    /// Its columns, in the order of every row's values.
    pub columns: &'static [Column],
    /// What every row needs.
    pub needs: Option<Needs>,
    /// The column that counts, which is not among `columns`.
    pub numbered: Option<Numbered>,
}

/// What one request adds. Starts empty.
#[derive(Default)]
pub struct Rows(Vec<(&'static Sheet, Vec<Value>)>);

impl Rows {
    /// No rows yet.
    pub fn new() -> Rows {
        Rows::default()
    }

    /// Adds one row; the values stand in the order of the sheet's columns.
    pub fn add(&mut self, sheet: &'static Sheet, values: Vec<Value>) {
        debug_assert_eq!(values.len(), sheet.columns.len(), "a row of {} has other columns", sheet.table);
        self.0.push((sheet, values));
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sheets that are written to, each once, in the order of their first row.
    pub(crate) fn sheets<'r>(requests: impl Iterator<Item = &'r Rows>) -> Vec<&'static Sheet> {
        let mut sheets: Vec<&'static Sheet> = Vec::new();
        for (sheet, _) in requests.flat_map(|request| &request.0) {
            if !sheets.iter().any(|known| std::ptr::eq(*known, *sheet)) {
                sheets.push(sheet);
            }
        }
        sheets
    }

    /// The rows of one sheet.
    pub(crate) fn of(&self, sheet: &'static Sheet) -> impl Iterator<Item = &[Value]> {
        self.0.iter().filter(move |(mine, _)| std::ptr::eq(*mine, sheet)).map(|(_, values)| values.as_slice())
    }
}

impl Sheet {
    /// The statement that adds `count` rows. PostgreSQL gets one array for each column, SQLite one parameter for each
    /// value. Made of the program's own constants alone.
    pub(crate) fn statement(&self, dialect: Dialect, count: usize) -> String {
        let mut sql = String::with_capacity(512);
        let names = self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        if dialect == Dialect::Sqlite {
            sql.push_str(&self.values_of_sqlite(&names, count));
        }
        let _ = write!(sql, "INSERT INTO {} ({names}", self.table);
        if let Some(numbered) = self.numbered {
            let _ = write!(sql, ", {}", numbered.column);
        }
        let own =
            self.columns.iter().map(|column| format!("n.{}", column.name)).collect::<Vec<_>>().join(", ");
        let _ = write!(sql, ") SELECT {own}");
        if let Some(Numbered { column, within }) = self.numbered {
            let group = match dialect {
                Dialect::Sqlite => "$1",
                Dialect::Postgres => "($1::text[])[1]",
            };
            let _ = write!(
                sql,
                ", COALESCE((SELECT MAX({column}) + 1 FROM {} WHERE {within} = {group}), 0) + n.nth - 1",
                self.table
            );
        }
        match dialect {
            Dialect::Sqlite => sql.push_str(" FROM n"),
            Dialect::Postgres => {
                let arrays = self
                    .columns
                    .iter()
                    .enumerate()
                    .map(|(at, column)| format!("${}::{}[]", at + 1, postgres_type(column.kind)))
                    .collect::<Vec<_>>()
                    .join(", ");
                let _ = write!(sql, " FROM unnest({arrays}) WITH ORDINALITY AS n ({names}, nth)");
            }
        }
        match self.needs {
            None => sql.push_str(" WHERE true"),
            Some(Needs { table, key, column, condition }) => {
                // The other row is held, so that nobody ends it before this transaction does. SQLite has one writer.
                let hold = dialect.of("", " FOR KEY SHARE");
                let _ = write!(
                    sql,
                    " WHERE EXISTS (SELECT 1 FROM {table} AS held WHERE held.{key} = n.{column} AND {condition}{hold})"
                );
            }
        }
        sql.push_str(" ON CONFLICT DO NOTHING");
        sql
    }

    fn values_of_sqlite(&self, names: &str, count: usize) -> String {
        let mut sql = format!("WITH n ({names}, nth) AS (VALUES ");
        let mut parameter = 0;
        for row in 1..=count {
            sql.push_str(if row == 1 { "(" } else { ", (" });
            for _ in self.columns {
                parameter += 1;
                let _ = write!(sql, "${parameter}, ");
            }
            let _ = write!(sql, "{row})");
        }
        sql.push_str(") ");
        sql
    }
}

fn postgres_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer => "int8",
        Kind::Small => "int2",
        Kind::Text => "text",
        Kind::Bytes => "bytea",
        Kind::Time => "timestamptz",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SHEET: Sheet = Sheet {
        table: "entry",
        columns: &[Column { name: "log", kind: Kind::Text }, Column { name: "at", kind: Kind::Time }],
        needs: Some(Needs { table: "clock", key: "at", column: "at", condition: "stopped IS NULL" }),
        numbered: Some(Numbered { column: "position", within: "log" }),
    };

    #[test]
    fn each_database_gets_its_own_manner() {
        assert_eq!(
            SHEET.statement(Dialect::Sqlite, 2),
            "WITH n (log, at, nth) AS (VALUES ($1, $2, 1), ($3, $4, 2)) INSERT INTO entry (log, at, position) \
             SELECT n.log, n.at, COALESCE((SELECT MAX(position) + 1 FROM entry WHERE log = $1), 0) + n.nth - 1 \
             FROM n WHERE EXISTS (SELECT 1 FROM clock AS held WHERE held.at = n.at AND stopped IS NULL) \
             ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            SHEET.statement(Dialect::Postgres, 2),
            "INSERT INTO entry (log, at, position) SELECT n.log, n.at, \
             COALESCE((SELECT MAX(position) + 1 FROM entry WHERE log = ($1::text[])[1]), 0) + n.nth - 1 \
             FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS n (log, at, nth) \
             WHERE EXISTS (SELECT 1 FROM clock AS held WHERE held.at = n.at AND stopped IS NULL FOR KEY SHARE) \
             ON CONFLICT DO NOTHING"
        );
    }
}
