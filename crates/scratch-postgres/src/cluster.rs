//! One server with its data folder: start, stop, kill, and a database of one's own on it.

use crate::programs::{Trouble, owned_file, owned_folder, program, run};
use crate::{free_port, scratch, unique};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// Where `tests/run` says that a server for all test programs is: its socket folder and port, as `FOLDER:PORT`.
const SHARED: &str = "PANGATE_TEST_POSTGRES";
/// How long a server may take to start or stop on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. It ends, and its folder goes, when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) home: PathBuf,
    pub(crate) port: u16,
    server: Option<Child>,
}

/// One database, for one test; its server must outlive it.
#[derive(Debug, Clone)]
pub struct Database {
    /// `postgres://…` for the owner of the database, over the loopback.
    pub url: String,
    /// Its name.
    pub name: String,
}

impl Cluster {
    /// Makes and starts a server with PostgreSQL's own defaults, and `settings` (lines of `postgresql.conf`) on top.
    ///
    /// # Errors
    /// [`Trouble`] with the words of the program that failed.
    pub fn start(settings: &str) -> Result<Cluster, Trouble> {
        let home = scratch("postgres");
        owned_folder(&home)?;
        run(program("initdb")?
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "-D"])
            .arg(home.join("data")))?;
        let mut cluster = Cluster { home, port: free_port()?, server: None };
        cluster.configure(settings)?;
        cluster.resume()?;
        Ok(cluster)
    }

    /// A database on the server that all test programs of a run share, or on one of this process where there is none.
    ///
    /// # Errors
    /// [`Trouble`] with the words of the program that failed.
    pub fn shared_database() -> Result<Database, Trouble> {
        static OWN: OnceLock<Result<Cluster, String>> = OnceLock::new();
        if let Ok(shared) = std::env::var(SHARED) {
            let wrong = || Trouble(format!("{SHARED} is FOLDER:PORT"));
            let (folder, port) = shared.rsplit_once(':').ok_or_else(wrong)?;
            return database(Path::new(folder), port.parse().map_err(|_| wrong())?);
        }
        match OWN.get_or_init(Cluster::for_this_process) {
            Ok(cluster) => cluster.database(),
            Err(words) => Err(Trouble(words.clone())),
        }
    }

    /// A server that ends with this process: statics are not dropped, so a thread that lives as long holds it.
    fn for_this_process() -> Result<Cluster, String> {
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let _ = tell.send(Cluster::start("").map_err(|trouble| trouble.to_string()));
            loop {
                thread::park();
            }
        });
        told.recv().map_err(|_| "the thread that starts the server ended".to_owned())?
    }

    /// A new, empty database with a name of its own.
    ///
    /// # Errors
    /// [`Trouble`] with the words of `psql`.
    pub fn database(&self) -> Result<Database, Trouble> {
        database(&self.home, self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with the server's socket; the data is in `data` below.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Runs SQL as the superuser and gives the bare answer, columns parted by `|`.
    ///
    /// # Errors
    /// [`Trouble`] with the words of `psql`.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, Trouble> {
        psql(&self.home, self.port, database, sql)
    }

    /// Runs `pgbench` with a script of ours and gives what it printed; statements are kept prepared.
    ///
    /// # Errors
    /// [`Trouble`] with the words of `pgbench`.
    pub fn pgbench(
        &self,
        database: &str,
        clients: usize,
        seconds: u64,
        script: &str,
    ) -> Result<String, Trouble> {
        let file = self.home.join("pgbench.sql");
        owned_file(&file, script.as_bytes())?;
        run(program("pgbench")?
            .args(["-n", "-M", "prepared", "-U", "postgres", "-h"])
            .arg(&self.home)
            .args(["-p", &self.port.to_string(), "-c", &clients.to_string(), "-j", "2"])
            .args(["-T", &seconds.to_string(), "-f"])
            .arg(&file)
            .arg(database))
    }

    /// Runs statements one after the other in one session as the superuser; a `COPY … FROM STDIN` among them reads what
    /// `write` writes.
    ///
    /// # Errors
    /// [`Trouble`] with the words of `psql`, or when it did not read to the end.
    pub fn feed(
        &self,
        database: &str,
        statements: &[&str],
        write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(), Trouble> {
        let mut command = session(&self.home, self.port, database)?;
        for statement in statements {
            command.args(["-c", statement]);
        }
        let trouble = |error: std::io::Error| Trouble(error.to_string());
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut session = piped.spawn().map_err(trouble)?;
        let written = session.stdin.take().map_or(Ok(()), |input| {
            let mut input = BufWriter::new(input);
            write(&mut input).and_then(|()| input.flush())
        });
        let done = session.wait_with_output().map_err(trouble)?;
        if !done.status.success() {
            return Err(Trouble(String::from_utf8_lossy(&done.stderr).into_owned()));
        }
        written.map_err(trouble)
    }

    /// The ids of the server's processes, itself first; none when it does not run.
    pub fn processes(&self) -> Vec<u32> {
        let server = self.server.iter().map(Child::id);
        server.flat_map(|server| std::iter::once(server).chain(workers(server))).collect()
    }

    /// Starts the server on the same data and port, and waits until it answers.
    ///
    /// # Errors
    /// [`Trouble`] when it does not start within a minute.
    pub fn resume(&mut self) -> Result<(), Trouble> {
        let log = self.home.join("server.log");
        owned_file(&log, b"")?;
        let output = fs::OpenOptions::new()
            .append(true)
            .open(&log)
            .map_err(|error| Trouble(format!("{}: {error}", log.display())))?;
        let twin = output.try_clone().map_err(|error| Trouble(error.to_string()))?;
        let mut server = program("postgres")?
            .arg("-D")
            .arg(self.home.join("data"))
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(twin))
            .spawn()
            .map_err(|error| Trouble(error.to_string()))?;
        let end = Instant::now() + PATIENCE;
        while self.sql("postgres", "SELECT 1").is_err() {
            if Instant::now() > end || !matches!(server.try_wait(), Ok(None)) {
                return Err(Trouble(fs::read_to_string(&log).unwrap_or_default()));
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.server = Some(server);
        Ok(())
    }

    /// Stops the server in order: connections are cut, what was committed is written.
    pub fn stop(&mut self) {
        self.end("INT");
    }

    /// Kills the server as a power failure of its process would.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    fn end(&mut self, signal: &str) {
        let Some(mut server) = self.server.take() else { return };
        let workers = workers(server.id());
        let _ = send(signal, server.id());
        let _ = server.wait();
        if signal == "KILL" {
            // The workers of a killed server notice by themselves; its folder is not free before that.
            let end = Instant::now() + Duration::from_secs(5);
            while workers.iter().any(|worker| runs(*worker)) && Instant::now() < end {
                thread::sleep(Duration::from_millis(5));
            }
            for worker in workers.into_iter().filter(|worker| runs(*worker)) {
                let _ = send(signal, worker);
            }
            let _ = fs::remove_file(self.home.join("data/postmaster.pid"));
        }
    }

    /// Sends a signal such as `STOP` or `CONT` to one of the server's processes, by the id that `pg_backend_pid()` or
    /// `pg_stat_activity` tells.
    ///
    /// # Errors
    /// [`Trouble`] when no process of this server has that id.
    pub fn signal(&self, signal: &str, worker: u32) -> Result<(), Trouble> {
        let ours = self.server.as_ref().is_some_and(|server| workers(server.id()).contains(&worker));
        if ours {
            send(signal, worker)
        } else {
            Err(Trouble(format!("{worker} is no process of this server")))
        }
    }

    /// Adds lines to `postgresql.conf`; they count from the next start on, or after `SELECT pg_reload_conf()`.
    ///
    /// # Errors
    /// [`Trouble`] when the file cannot be written.
    pub fn configure(&self, settings: &str) -> Result<(), Trouble> {
        let path = self.home.join("data/postgresql.conf");
        let mut text = fs::read_to_string(&path).map_err(|error| Trouble(error.to_string()))?;
        let home = self.home.display();
        let _ = write!(
            text,
            "\nlisten_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{home}'\n{settings}\n",
            self.port
        );
        owned_file(&path, text.as_bytes())
    }

    /// Lets everybody but the superuser in with a password only (SCRAM), and reads the rules again.
    ///
    /// # Errors
    /// [`Trouble`] when the file cannot be written, or with the words of `psql`.
    pub fn demand_passwords(&self) -> Result<(), Trouble> {
        let rules = "local all postgres trust\nhost all postgres 127.0.0.1/32 trust\n\
                     host all all 127.0.0.1/32 scram-sha-256\n";
        owned_file(&self.home.join("data/pg_hba.conf"), rules.as_bytes())?;
        self.sql("postgres", "SELECT pg_reload_conf()").map(|_| ())
    }

    /// Takes connections over TCP by TLS alone from now on, with this certificate and key (PEM).
    ///
    /// # Errors
    /// [`Trouble`] when a file cannot be written, or the words of `psql`.
    pub fn secure(&self, certificate: &str, key: &str) -> Result<(), Trouble> {
        let data = self.home.join("data");
        owned_file(&data.join("server.crt"), certificate.as_bytes())?;
        owned_file(&data.join("server.key"), key.as_bytes())?;
        owned_file(&data.join("pg_hba.conf"), b"local all all trust\nhostssl all all 127.0.0.1/32 trust\n")?;
        self.configure("ssl = on")?;
        self.sql("postgres", "SELECT pg_reload_conf()")?;
        let end = Instant::now() + PATIENCE;
        while self.sql("postgres", "SHOW ssl")? != "on" {
            if Instant::now() > end {
                return Err(Trouble("the server does not take its certificate".to_owned()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn at(home: PathBuf, port: u16) -> Cluster {
        Cluster { home, port, server: None }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end("QUIT");
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// The processes that a server has started.
fn workers(server: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

fn runs(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

fn send(signal: &str, process: u32) -> Result<(), Trouble> {
    run(Command::new("kill").args(["-s", signal, &process.to_string()])).map(|_| ())
}

fn database(folder: &Path, port: u16) -> Result<Database, Trouble> {
    let name = format!("test_{}", unique());
    psql(folder, port, "postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"))?;
    Ok(Database { url: format!("postgres://postgres@127.0.0.1:{port}/{name}"), name })
}

fn psql(folder: &Path, port: u16, database: &str, sql: &str) -> Result<String, Trouble> {
    let answer = run(session(folder, port, database)?.args(["-c", sql]))?;
    Ok(answer.trim_end().to_owned())
}

/// `psql` as the superuser, bare answers, ended by the first error.
fn session(folder: &Path, port: u16, database: &str) -> Result<Command, Trouble> {
    let mut command = program("psql")?;
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]).arg(folder);
    command.args(["-p", &port.to_string(), "-d", database]);
    Ok(command)
}
