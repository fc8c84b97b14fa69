//! Reading a whole table in pages, in the order of its primary key, which is the same on every database: texts are
//! compared by their bytes, numbers by their size.

use crate::{Fetch, StoreError, Table, Value};

/// One row of a table, its values in the order of the table's columns.
pub struct Record(Vec<Value>);

/// The key of a record, after which reading goes on.
#[derive(Clone)]
pub struct Key(Vec<Value>);

impl Record {
    /// Its key.
    pub fn key(&self, table: &Table) -> Key {
        let named = |name: &str| table.sheet.columns.iter().position(|column| column.name == name);
        let values = table.key.iter().filter_map(|name| self.0.get(named(name)?).cloned());
        Key(values.collect())
    }

    /// Its values, as [`crate::Rows`] takes them.
    pub fn into_values(self) -> Vec<Value> {
        self.0
    }

    /// Writes its values in the one spelling that they have on every database: for a digest.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        for value in &self.0 {
            let (kind, bytes): (u8, &[u8]) = match value {
                Value::Null => (0, &[]),
                Value::Integer(number) => (1, &number.to_be_bytes()),
                Value::Text(text) => (2, text.as_bytes()),
                Value::Bytes(bytes) => (3, bytes),
            };
            out.push(kind);
            // A length ahead of every value: no two rows share a spelling.
            out.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            out.extend_from_slice(bytes);
        }
    }
}

impl Table {
    /// Up to `most` records after `after`, or from the first on.
    ///
    /// # Errors
    /// Any [`StoreError`] of the statement, or [`StoreError::Corrupt`].
    pub async fn page(
        &'static self,
        source: &mut impl Fetch,
        after: Option<&Key>,
        most: u32,
    ) -> Result<Vec<Record>, StoreError> {
        let (sql, mut args) = match after {
            None => (self.texts().first.as_str(), Vec::new()),
            Some(key) => (self.texts().next.as_str(), key.0.clone()),
        };
        args.push(most.into());
        let rows = source.fetch_all(sql, args).await?;
        rows.iter()
            .map(|row| {
                self.sheet
                    .columns
                    .iter()
                    .map(|column| row.value(column))
                    .collect::<Result<_, _>>()
                    .map(Record)
            })
            .collect()
    }

    /// The key of the last record, or none when there is no record.
    ///
    /// # Errors
    /// Any [`StoreError`] of the statement, or [`StoreError::Corrupt`].
    pub async fn last_key(&'static self, source: &mut impl Fetch) -> Result<Option<Key>, StoreError> {
        let row = source.fetch_optional(self.texts().last.as_str(), Vec::new()).await?;
        row.map(|row| self.key_columns().map(|column| row.value(column)).collect::<Result<_, _>>().map(Key))
            .transpose()
    }

    /// How many records there are.
    ///
    /// # Errors
    /// Any [`StoreError`] of the statement.
    pub async fn count(&'static self, source: &mut impl Fetch) -> Result<u64, StoreError> {
        let row = source.fetch_optional(self.texts().count.as_str(), Vec::new()).await?;
        let count = row.ok_or(StoreError::Corrupt { column: "n" })?.integer("n")?;
        u64::try_from(count).map_err(|_| StoreError::Corrupt { column: "n" })
    }
}
