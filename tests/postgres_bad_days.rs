//! Bad days of a PostgreSQL: slow, silent, read-only, out of connections, out of disk (tables, log), restarted,
//! migrated by a newer release. Meanwhile every answer comes within its bound and names what is wrong, nothing
//! acknowledged is lost, and service is back by itself within seconds (P4, P9).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot be set up must fail; figures are printed"
)]

#[path = "postgres_bad_days/desk.rs"]
mod desk;
mod support;

use desk::{BOUND, Desk};
use scratch_postgres::{Cluster, Database, Line};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::System;
use support::disk::SmallDisk;

/// A server with a line to it.
fn by_line() -> (Cluster, Line, Database) {
    let cluster = Cluster::start("").unwrap();
    let line = Line::to(cluster.port()).unwrap();
    let Database { url, name } = cluster.database().unwrap();
    let database = Database { url: line.url(&url, cluster.port()), name };
    (cluster, line, database)
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_slow_database_makes_slow_answers_and_one_too_slow_is_named() {
    let (_cluster, line, database) = by_line();
    let mut desk = Desk::open(database).await;
    line.delay(Duration::from_millis(15));
    for _ in 0..5 {
        let kept = desk.keep_card().await;
        assert_eq!(kept.status, 201, "{}", kept.text);
    }
    assert_eq!(desk.charge("slow").await.status, 201);
    line.delay(Duration::from_secs(4));
    desk.away("too slow", &["store_unavailable", "store_slow", "store_busy"]).await;
    line.restore();
    desk.back("too slow").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_silent_database_hangs_no_request() {
    let (_cluster, line, database) = by_line();
    let mut desk = Desk::open(database).await;
    line.silence();
    desk.away("silent", &["store_unavailable", "store_busy"]).await;
    desk.readiness_names(&["store_unavailable", "store_busy"]).await;
    line.restore();
    desk.back("silent").await;
    // As after a firewall's restart: what was open is dead, and nobody was told.
    line.forget();
    // Each of its two kinds of connections is waited for once.
    desk.back_within("forgotten", BOUND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_one_hanging_session_of_the_database_hangs_no_request() {
    let cluster = Cluster::start("").unwrap();
    let database = cluster.database().unwrap();
    let name = database.name.clone();
    let mut desk = Desk::open(database).await;
    let writer = format!(
        "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND datname = '{name}'"
    );
    let writer: u32 = cluster.sql("postgres", &writer).unwrap().parse().unwrap();
    cluster.signal("STOP", writer).unwrap();
    desk.away("hanging session", &["store_unavailable", "store_busy"]).await;
    cluster.signal("CONT", writer).unwrap();
    desk.back("hanging session").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_read_only_database_is_named_and_service_is_back_with_its_end() {
    let cluster = Cluster::start("").unwrap();
    let database = cluster.database().unwrap();
    let name = database.name.clone();
    let mut desk = Desk::open(database).await;
    let end_sessions =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    let set = |value: &str| format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
    cluster.sql("postgres", &set("on")).unwrap();
    cluster.sql("postgres", &end_sessions).unwrap();
    desk.away("read-only", &["store_read_only"]).await;
    desk.readiness_names(&["store_read_only"]).await;
    cluster.sql("postgres", &set("off")).unwrap();
    desk.back("read-only").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_server_that_turns_read_only_under_open_sessions_is_named() {
    let cluster = Cluster::start("").unwrap();
    let mut desk = Desk::open(cluster.database().unwrap()).await;
    let set = |value: &str| {
        cluster
            .sql("postgres", &format!("ALTER SYSTEM SET default_transaction_read_only = {value}"))
            .unwrap();
        cluster.sql("postgres", "SELECT pg_reload_conf()").unwrap();
    };
    set("on");
    tokio::time::sleep(Duration::from_millis(300)).await;
    desk.away("turned read-only", &["store_read_only"]).await;
    set("off");
    desk.back("turned read-only").await;
}

/// Sessions of somebody else.
struct Hogs(Vec<Child>);

impl Hogs {
    /// Asks for that many more, and waits until they have what they get.
    fn more(&mut self, cluster: &Cluster, count: usize) {
        let port = cluster.port().to_string();
        self.0.extend((0..count).map(|_| {
            Command::new("psql")
                .args(["-X", "-q", "-h", "127.0.0.1", "-U", "gate", "-p", &port, "-d", "postgres"])
                .args(["-c", "SELECT pg_sleep(600)"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        }));
        std::thread::sleep(Duration::from_millis(1500));
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_database_without_connections_is_named() {
    let cluster = Cluster::start("max_connections = 20\nsuperuser_reserved_connections = 2").unwrap();
    let database = cluster.database().unwrap();
    cluster.sql("postgres", "CREATE ROLE gate LOGIN").unwrap();
    cluster.sql("postgres", &format!("ALTER DATABASE {} OWNER TO gate", database.name)).unwrap();
    cluster.sql(&database.name, "GRANT ALL ON SCHEMA public TO gate").unwrap();
    let url = database.url.replace("postgres@", "gate@");
    let mut desk = Desk::open(Database { url, name: database.name.clone() }).await;
    // Somebody else's sessions take every place, and those that the gateway loses as well.
    let mut hogs = Hogs(Vec::new());
    hogs.more(&cluster, 30);
    let ours =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", database.name);
    let left = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", database.name);
    // Who is the first to take a place that came free is chance.
    for _ in 0..40 {
        cluster.sql("postgres", &ours).unwrap();
        hogs.more(&cluster, 20);
        if cluster.sql("postgres", &left).unwrap() == "0" {
            break;
        }
    }
    desk.away("no connections", &["store_connections"]).await;
    desk.readiness_names(&["store_connections"]).await;
    drop(hogs);
    let left = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
    cluster.sql("postgres", left).unwrap();
    desk.back("no connections").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_full_disk_of_the_database_is_named_and_room_brings_service_back() {
    let cluster = Cluster::start("").unwrap();
    let database = cluster.database().unwrap();
    let place = cluster.home().join("small");
    std::fs::create_dir(&place).unwrap();
    let disk = SmallDisk::mount(&place, 64 * 1024 * 1024);
    assert!(Command::new("chown").arg("postgres:postgres").arg(&place).status().unwrap().success());
    cluster.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", place.display())).unwrap();
    cluster.sql("postgres", &format!("ALTER DATABASE {} SET TABLESPACE small", database.name)).unwrap();
    let mut desk = Desk::open(database).await;
    disk.fill();
    // What is left of the tables' last pages still takes some.
    let mut full = None;
    for _ in 0..400 {
        let answer = desk.keep_card().await;
        if answer.status != 201 {
            full = Some(answer);
            break;
        }
    }
    full.expect("the disk was never full").is_problem(503, "store_full");
    let mut seen = 0;
    for _ in 0..20 {
        let answer = desk.keep_card().await;
        if answer.status != 201 {
            answer.is_problem(503, "store_full");
            seen += 1;
        }
    }
    assert!(seen > 3, "the disk was hardly full");
    disk.empty();
    desk.back("full disk").await;
    drop(desk);
    drop(cluster);
    drop(disk);
}

/// The server's write-ahead log on a disk of its own that has room for that many bytes.
fn with_small_log(cluster: &mut Cluster, bytes: u32) -> SmallDisk {
    let (log, kept) = (cluster.home().join("data/pg_wal"), cluster.home().join("kept"));
    cluster.stop();
    std::fs::rename(&log, &kept).unwrap();
    std::fs::create_dir(&log).unwrap();
    let disk = SmallDisk::mount(&log, bytes);
    assert!(Command::new("cp").arg("-a").arg(kept.join(".")).arg(&log).status().unwrap().success());
    // The mount's own folder is root's until here.
    assert!(Command::new("chown").arg("postgres:postgres").arg(&log).status().unwrap().success());
    cluster.resume().unwrap();
    disk
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_full_disk_under_the_write_ahead_log_loses_nothing_and_a_restarted_server_is_found() {
    let mut cluster = Cluster::start("min_wal_size = 32MB\nmax_wal_size = 64MB").unwrap();
    let disk = with_small_log(&mut cluster, 160 * 1024 * 1024);
    let mut desk = Desk::open(cluster.database().unwrap()).await;
    disk.fill();
    // Segments that are there already are used up first, one for each card.
    let mut full = None;
    for _ in 0..40 {
        let answer = desk.keep_card().await;
        if answer.status != 201 && answer.code() != "store_busy" {
            full = Some(answer);
            break;
        }
        let _ = cluster.sql("postgres", "SELECT pg_switch_wal()");
    }
    let full = full.expect("the disk was never full");
    assert!(["store_full", "store_unavailable"].contains(&full.code().as_str()), "{}", full.text);
    // PostgreSQL stops itself rather than go on without its log, and cannot start for want of room.
    desk.away("full log", &["store_full", "store_unavailable"]).await;
    desk.readiness_names(&["store_full", "store_unavailable"]).await;
    assert!(cluster.sql("postgres", "SELECT 1").is_err(), "the server goes on without room for its log");
    disk.empty();
    // Its administrator starts it again, whatever is left of it.
    cluster.kill();
    cluster.resume().unwrap();
    desk.back("full log").await;
    drop(desk);
    drop(cluster);
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_restarted_database_costs_a_moment() {
    let mut cluster = Cluster::start("").unwrap();
    let mut desk = Desk::open(cluster.database().unwrap()).await;
    for _ in 0..3 {
        cluster.stop();
        desk.away("stopped", &["store_unavailable"]).await;
        cluster.resume().unwrap();
        desk.back("restarted").await;
    }
    // A restart that nobody asked anything meanwhile costs not one request.
    cluster.stop();
    cluster.resume().unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    for _ in 0..10 {
        let kept = desk.keep_card().await;
        assert_eq!(kept.status, 201, "{}", kept.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_a_newer_release_is_refused_with_what_to_do() {
    let mut system = System::start_on(Cluster::shared_database().unwrap()).await;
    system.gateway().terminate();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', true, '\\x00', 0)";
    // Behind the gateway's back, while the store is still the older one's.
    assert_eq!(system.change(newer, Vec::new()).await, 1);
    let said = system.second_gateway_refused("pangate-newer");
    assert!(said.contains("written by a newer release; start that release, or restore"), "{said}");
}

/// Debian's library that shows a program another clock; the machine's own is let alone.
const OTHER_CLOCK: &str = "faketime/libfaketimeMT.so.1";

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_clock_that_steps_costs_no_request_and_no_row() {
    let mut desk = Desk::open(Cluster::shared_database().unwrap()).await;
    let library =
        std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path().join(OTHER_CLOCK));
    let library = library.into_iter().find(|path| path.exists());
    let library = library.expect("Debian's package libfaketime is installed");
    let clock = desk.system.path("clock");
    // Replaced in one step, so that nobody reads half of it.
    let set = |offset: &str| {
        std::fs::write(clock.with_extension("new"), offset).unwrap();
        std::fs::rename(clock.with_extension("new"), &clock).unwrap();
    };
    set("+0");
    desk.system.gateway().terminate();
    desk.system.environment = vec![
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    desk.system.start_gateway();
    desk.system.wait_ready().await;
    let mut before = desk.last_entry().await;
    for (step, hours) in [("+2h", 2), ("-2h", -4), ("+0", 2)] {
        set(step);
        for n in 0..5 {
            let kept = desk.keep_card().await;
            assert_eq!(kept.status, 201, "{step}: {}", kept.text);
            let key = format!("clock{step}-{n}");
            let (charged, again) = (desk.charge(&key).await, desk.charge(&key).await);
            assert_eq!((charged.status.as_u16(), &charged.text), (201, &again.text), "{step}");
        }
        let after = desk.last_entry().await;
        let minutes = (after - before) / 60_000_000;
        assert!(
            (minutes - 60 * hours).abs() < 12,
            "the clock did not step by {hours} hours: {minutes} minutes"
        );
        before = after;
    }
    desk.back("clock stepped").await;
}
