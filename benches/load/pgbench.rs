//! The baseline of PostgreSQL: what its own `pgbench` inserts, a row of the same bytes with two unique indexes, one or
//! many a durable commit.

use scratch_postgres::Cluster;
use std::time::Duration;

const ROW: &str = "INSERT INTO raw (token, fingerprint, envelope) VALUES \
    ('tok_test_' || md5(random()::text), sha256(random()::text::bytea), decode(repeat('07', 256), 'hex'));\n";

/// Makes the table.
pub(crate) fn prepare(cluster: &Cluster, database: &str) {
    let table = "CREATE TABLE raw (token text PRIMARY KEY, fingerprint bytea UNIQUE, envelope bytea)";
    cluster.sql(database, table).unwrap();
}

/// Rows a second of so many clients with so many rows a commit.
pub(crate) fn inserts(
    cluster: &Cluster,
    database: &str,
    clients: usize,
    rows: usize,
    length: Duration,
) -> f64 {
    let script = if rows == 1 { ROW.to_owned() } else { format!("BEGIN;\n{}END;\n", ROW.repeat(rows)) };
    let said = cluster.pgbench(database, clients, length.as_secs(), &script).unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix("tps = ")).unwrap();
    let transactions: f64 = line.split(' ').next().unwrap().parse().unwrap();
    transactions * f64::from(u32::try_from(rows).unwrap())
}
