//! Finding and running the server's programs.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What did not work, with the program's own words.
#[derive(Debug)]
pub struct Trouble(pub(crate) String);

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

/// The folder with `initdb`, `postgres`, `pg_ctl` and `pg_basebackup`: the newest of Debian's.
fn folder() -> Result<PathBuf, Trouble> {
    let missing = || Trouble("no PostgreSQL server programs: install the package postgresql".to_owned());
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map_err(|_| missing())?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("postgres").exists())
        .collect();
    found.sort_by_key(|bin| {
        bin.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse::<u32>().ok())
    });
    found.pop().ok_or_else(missing)
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// One of the server's programs, as the server's user, with no environment of ours that would redirect it.
pub(crate) fn program(name: &str) -> Result<Command, Trouble> {
    Ok(installed(folder()?.join(name)))
}

/// The same for a program that is elsewhere.
pub(crate) fn installed(path: impl AsRef<Path>) -> Command {
    // When the thread that started it ends, so does the program: a killed test leaves no server behind.
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=KILL");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.arg("--").arg(path.as_ref());
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|name| name.starts_with("PG")) {
            command.env_remove(variable);
        }
    }
    command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    command
}

/// Makes a folder that the server's user owns.
pub(crate) fn owned_folder(path: &Path) -> Result<(), Trouble> {
    let mut command = Command::new("install");
    command.args(["-d", "-m", "0700"]);
    if is_root() {
        command.args(["-o", "postgres", "-g", "postgres"]);
    }
    run(command.arg(path)).map(|_| ())
}

/// Gives a file to the server's user alone.
pub(crate) fn owned_file(path: &Path, text: &[u8]) -> Result<(), Trouble> {
    let trouble = |error: std::io::Error| Trouble(format!("{}: {error}", path.display()));
    fs::write(path, text).map_err(trouble)?;
    run(Command::new("chmod").arg("0600").arg(path))?;
    if is_root() {
        run(Command::new("chown").arg("postgres:postgres").arg(path))?;
    }
    Ok(())
}

/// Runs a program to its end and gives what it wrote.
pub(crate) fn run(command: &mut Command) -> Result<String, Trouble> {
    let done = command.output().map_err(|error| Trouble(format!("{command:?}: {error}")))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    } else {
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        Err(Trouble(format!("{command:?} ended with {}: {words}", done.status)))
    }
}
