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

/// One text that adds rows to several tables, and ends in an error when a row found no place.
pub(crate) struct Whole {
    pub(crate) sql: String,
    /// The sheets in the order of the text's parameters.
    pub(crate) sheets: Vec<&'static Sheet>,
}

/// The error with which a text of [`Whole`] ends when a row found no place: PostgreSQL's division by zero.
pub(crate) const NO_PLACE: &str = "22012";

/// SQLite: one layer of a transaction that adds the same number of rows to each sheet. `first` begins the transaction,
/// `last` commits it; a row without a place breaks the rule of the session's table `placed` in between.
pub(crate) fn layer_of_sqlite(sheets: &[&'static Sheet], count: usize, first: bool, last: bool) -> String {
    let mut sql = String::with_capacity(8192);
    if first {
        sql.push_str("BEGIN IMMEDIATE; ");
    }
    for sheet in sheets {
        sheet.insert_of_sqlite(&mut sql, count);
        let _ = write!(sql, "; INSERT INTO temp.placed SELECT 0 WHERE changes() <> {count}; ");
    }
    if last {
        sql.push_str("COMMIT");
    }
    sql
}

impl Whole {
    /// PostgreSQL: one statement, which is a transaction by itself where none is open. After the columns of every sheet
    /// it takes how many rows there are in all.
    pub(crate) fn postgres(sheets: Vec<&'static Sheet>) -> Whole {
        let (mut sql, mut parameter) = (String::with_capacity(2048), 0);
        for (at, sheet) in sheets.iter().enumerate() {
            let _ = write!(sql, "{} a{at} AS (", if at == 0 { "WITH" } else { "," });
            sheet.insert_of_postgres(&mut sql, parameter);
            sql.push_str(" RETURNING 1)");
            parameter += sheet.columns.len();
        }
        let placed = (0..sheets.len())
            .map(|at| format!("(SELECT count(*) FROM a{at})"))
            .collect::<Vec<_>>()
            .join(" + ");
        let _ = write!(sql, " SELECT 1 / (CASE WHEN {placed} = ${} THEN 1 ELSE 0 END) AS n", parameter + 1);
        Whole { sql, sheets }
    }
}

impl Sheet {
    /// The statement that adds `count` rows. PostgreSQL gets one array for each column, SQLite one parameter for each
    /// value. Made of the program's own constants alone.
    pub(crate) fn statement(&self, dialect: Dialect, count: usize) -> String {
        let mut sql = String::with_capacity(512);
        match dialect {
            Dialect::Sqlite => self.insert_of_sqlite(&mut sql, count),
            Dialect::Postgres => self.insert_of_postgres(&mut sql, 0),
        }
        sql
    }

    fn names(&self) -> String {
        self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }

    /// `first`: how many parameters the text has before this one's.
    fn insert_of_postgres(&self, sql: &mut String, first: usize) {
        self.insert_into(sql, &format!("(${}::text[])[1]", first + 1));
        let arrays = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| format!("${}::{}[]", first + at + 1, postgres_type(column.kind)))
            .collect::<Vec<_>>()
            .join(", ");
        let _ = write!(sql, " FROM unnest({arrays}) WITH ORDINALITY AS n ({}, nth)", self.names());
        self.where_needed(sql, Dialect::Postgres);
    }

    /// Its parameters have no numbers: looking numbers up takes the square of a long statement's time.
    pub(crate) fn insert_of_sqlite(&self, sql: &mut String, count: usize) {
        // Read twice where rows are numbered, and cheaper than kept.
        let _ = write!(sql, "WITH n ({}, nth) AS NOT MATERIALIZED (VALUES ", self.names());
        for row in 1..=count {
            sql.push_str(if row == 1 { "(" } else { ", (" });
            for _ in self.columns {
                sql.push_str("?, ");
            }
            let _ = write!(sql, "{row})");
        }
        sql.push_str(") ");
        let group = self.numbered.map(|numbered| format!("(SELECT {} FROM n LIMIT 1)", numbered.within));
        self.insert_into(sql, &group.unwrap_or_default());
        sql.push_str(" FROM n");
        self.where_needed(sql, Dialect::Sqlite);
    }

    fn insert_into(&self, sql: &mut String, group: &str) {
        let _ = write!(sql, "INSERT INTO {} ({}", self.table, self.names());
        if let Some(numbered) = self.numbered {
            let _ = write!(sql, ", {}", numbered.column);
        }
        let own =
            self.columns.iter().map(|column| format!("n.{}", column.name)).collect::<Vec<_>>().join(", ");
        let _ = write!(sql, ") SELECT {own}");
        if let Some(Numbered { column, within }) = self.numbered {
            let _ = write!(
                sql,
                ", COALESCE((SELECT MAX({column}) + 1 FROM {} WHERE {within} = {group}), 0) + n.nth - 1",
                self.table
            );
        }
    }

    fn where_needed(&self, sql: &mut String, dialect: Dialect) {
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
            "WITH n (log, at, nth) AS NOT MATERIALIZED (VALUES (?, ?, 1), (?, ?, 2)) \
             INSERT INTO entry (log, at, position) SELECT n.log, n.at, \
             COALESCE((SELECT MAX(position) + 1 FROM entry WHERE log = (SELECT log FROM n LIMIT 1)), 0) + n.nth - 1 \
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
