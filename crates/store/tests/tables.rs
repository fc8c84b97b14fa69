//! The list of tables is the schema: a table or column that a migration makes and the list forgets would be left
//! behind by a move, and granted to nobody.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up must fail")]

mod support;

use std::collections::BTreeMap;
use store::{
    Column, Dialect, Fetch, Key, Kind, Rows, Settings, Store, StoreError, TABLES, Table, Value, arrive,
    move_of,
};
use support::Place;

/// Column by column: table, name, type, and the place in the primary key (0 for none).
async fn schema(store: &mut Store) -> BTreeMap<String, Vec<(String, String, i64)>> {
    let sql = store.dialect().of(
        "SELECT m.name AS relation, c.name AS name, c.type AS type, c.pk AS key FROM sqlite_schema m \
         JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' \
         AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
        "SELECT c.table_name::text AS relation, c.column_name::text AS name, c.data_type::text AS type, \
         COALESCE(k.ordinal_position, 0)::int8 AS key FROM information_schema.columns c \
         JOIN information_schema.tables t ON t.table_name = c.table_name AND t.table_schema = c.table_schema \
         LEFT JOIN (information_schema.key_column_usage k JOIN information_schema.table_constraints p \
           ON p.constraint_name = k.constraint_name AND p.constraint_type = 'PRIMARY KEY') \
           ON k.table_name = c.table_name AND k.column_name = c.column_name \
         WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.table_name <> '_sqlx_migrations'",
    );
    let mut tables: BTreeMap<String, Vec<(String, String, i64)>> = BTreeMap::new();
    for row in store.fetch_all(sql, Vec::new()).await.unwrap() {
        let column = (row.text("name").unwrap(), row.text("type").unwrap(), row.integer("key").unwrap());
        tables.entry(row.text("relation").unwrap()).or_default().push(column);
    }
    tables
}

fn type_of(column: &Column, dialect: Dialect) -> &'static str {
    match column.kind {
        Kind::Integer => dialect.of("INTEGER", "bigint"),
        Kind::Small => dialect.of("INTEGER", "smallint"),
        Kind::Text => dialect.of("TEXT", "text"),
        Kind::Bytes => dialect.of("BLOB", "bytea"),
        Kind::Time => dialect.of("INTEGER", "timestamp with time zone"),
    }
}

fn listed(table: &Table, dialect: Dialect) -> Vec<(String, String, i64)> {
    let key = |name: &str| {
        table.key.iter().position(|key| *key == name).map_or(0, |at| i64::try_from(at).unwrap() + 1)
    };
    let columns = table.sheet.columns.iter();
    let mut columns: Vec<_> = columns
        .map(|column| (column.name.to_owned(), type_of(column, dialect).to_owned(), key(column.name)))
        .collect();
    columns.sort();
    columns
}

async fn every_table_and_column_of_the_schema_is_listed(place: Place) {
    let mut store = Store::open(&place.url(), Settings::default()).await.unwrap();
    let mut found = schema(&mut store).await;
    for table in &TABLES {
        let mut columns = found.remove(table.name()).unwrap_or_default();
        columns.sort();
        assert_eq!(columns, listed(table, store.dialect()), "{}", table.name());
    }
    assert!(found.is_empty(), "not listed, so a move would leave them behind: {:?}", found.keys());
    store.close().await;
}

async fn a_table_is_read_in_pages_of_its_keys_order_whatever_the_keys_are(place: Place) {
    let store = Store::open(&place.url(), Settings::default()).await.unwrap();
    let table = TABLES.iter().find(|table| table.name() == "setting").unwrap();
    // Case, length, accents and signs sort otherwise under most languages' rules than by their bytes.
    let names = ["B", "a", "Z", "aa", "é", "e", "-a", "_", "ab", "a b", "Ω", "z"];
    let mut rows = Rows::new();
    for name in names {
        rows.add(&table.sheet, vec![name.into(), "v".into()]);
    }
    store.add(rows).await.unwrap();
    let mut sorted: Vec<&str> = names.to_vec();
    sorted.sort_unstable();
    for most in [1, 5, 100] {
        let (mut after, mut read): (Option<Key>, Vec<String>) = (None, Vec::new());
        loop {
            let page = table.page(&mut store.clone(), after.as_ref(), most).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.key(table));
            for record in page {
                let Value::Text(name) = record.into_values().swap_remove(0) else { panic!("a name is text") };
                read.push(name);
            }
        }
        assert_eq!(read, sorted, "in pages of {most}");
    }
    assert_eq!(table.count(&mut store.clone()).await.unwrap(), names.len() as u64);
    store.close().await;
}

support::on_both! {
    every_table_and_column_of_the_schema_is_listed,
    a_table_is_read_in_pages_of_its_keys_order_whatever_the_keys_are,
}

async fn write(store: &Store, sql: &'static str) -> Result<u64, StoreError> {
    store.commit(move |work| Box::pin(async move { work.execute(sql, Vec::new()).await })).await
}

const WRITES: [&str; 5] = [
    "INSERT INTO setting (name, value) VALUES ('new', 'x')",
    "INSERT INTO setting (name, value) VALUES ('old', 'x') ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    "INSERT INTO setting (name, value) VALUES ('new', 'x') ON CONFLICT DO NOTHING",
    "UPDATE setting SET value = 'x' WHERE name = 'old'",
    "DELETE FROM setting WHERE name = 'old'",
];

#[tokio::test]
async fn a_fence_holds_against_a_store_that_was_open_before_and_one_that_opens_after() {
    let place = Place::sqlite();
    let running = Store::open(&place.url(), Settings::default()).await.unwrap();
    write(&running, "INSERT INTO setting (name, value) VALUES ('old', 'kept')").await.unwrap();
    let mover = Store::open(&place.url(), Settings::default()).await.unwrap();
    mover.fence("one").await.unwrap();
    let later = Store::open(&place.url(), Settings::default()).await.unwrap();
    for store in [&running, &later] {
        for sql in WRITES {
            assert_eq!(write(store, sql).await, Err(StoreError::Moved), "{sql}");
        }
        let sheet = &TABLES.iter().find(|table| table.name() == "sandbox_book").unwrap().sheet;
        let mut rows = Rows::new();
        rows.add(
            sheet,
            vec!["k".into(), "k".into(), 1.into(), "USD".into(), "o".into(), "r".into(), 1.into()],
        );
        assert_eq!(store.add(rows).await, Err(StoreError::Moved));
        let kept = store.look("SELECT value FROM setting WHERE name = 'old'", Vec::new()).await.unwrap();
        assert_eq!(kept.unwrap().text("value").unwrap(), "kept", "reading goes on");
    }
    mover.leave("one").await.unwrap();
    mover.lift_fence().await.unwrap();
    for sql in WRITES {
        assert!(write(&running, sql).await.is_ok(), "{sql}");
    }
}

#[tokio::test]
async fn a_database_opens_to_nobody_before_the_vault_has_arrived_in_it() {
    let place = Place::postgres();
    let mover = Store::open(&place.url(), Settings { arriving: true, ..Settings::default() }).await.unwrap();
    mover.expect_arrival("one").await.unwrap();
    let purpose = &TABLES.iter().find(|table| table.name() == "purpose").unwrap().sheet;
    let row = |id: i64| {
        let mut values: Vec<Value> = vec![id.into(), "t".into(), "tok".into(), "stored_card".into()];
        values.extend([Value::Null, Value::Null, "r".into(), 1.into(), Value::Null, Value::Null]);
        values
    };
    let mut rows = Rows::new();
    rows.add(purpose, row(41));
    mover.add(rows).await.unwrap();
    assert_eq!(Store::open(&place.url(), Settings::default()).await.err(), Some(StoreError::Arriving));
    assert_eq!(mover.expect_arrival("two").await, Err(StoreError::Conflict), "it is not empty any more");
    let arrived: Result<(), StoreError> =
        mover.commit(|work| Box::pin(async move { arrive(work, "one").await })).await;
    arrived.unwrap();
    let mut store = Store::open(&place.url(), Settings::default()).await.unwrap();
    assert_eq!(move_of(&mut store).await.unwrap().unwrap().id, "one");
    write(
        &store,
        "INSERT INTO purpose (tenant, token, kind, request, opened_at) \
                   VALUES ('t', 'tok', 'stored_card', 'r', now())",
    )
    .await
    .unwrap();
    let next = store.look("SELECT MAX(id) AS n FROM purpose", Vec::new()).await.unwrap().unwrap();
    assert_eq!(next.integer("n").unwrap(), 42, "the counter goes on after the last row");
}
