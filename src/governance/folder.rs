//! The files of the folder, read once: what is hashed is what is parsed.

use super::{Faults, companion_record};
use policy::{Fault, Policy};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The files that a new folder starts with.
pub const SHIPPED: &[(&str, &str)] = &[
    (Policy::RULES, include_str!("../../policy/access.cedar")),
    (Policy::SCHEMA, include_str!("../../policy/schema.cedarschema")),
    ("people/requirements.toml", include_str!("../../policy/people/requirements.toml")),
    ("routes.toml", include_str!("../../policy/routes.toml")),
    ("keys.toml", include_str!("../../policy/keys.toml")),
];

/// Bytes of one file, files, and folders within folders: far more than people write.
const BYTES: u64 = 1024 * 1024;
const FILES: usize = 4096;
const DEPTH: usize = 4;

/// The texts of the folder by their names.
#[derive(Debug, Clone)]
pub struct Folder {
    files: BTreeMap<String, String>,
}

impl Folder {
    /// Reads every file below `folder`; hidden ones, whose names begin with a dot, are none of the policy.
    ///
    /// # Errors
    /// [`Faults`] when the folder or a file cannot be read, is no text, or is larger than people write.
    pub fn read(folder: &Path) -> Result<Folder, Faults> {
        let mut files = BTreeMap::new();
        let mut faults = Vec::new();
        walk(folder, "", DEPTH, &mut files, &mut faults);
        if faults.is_empty() { Ok(Folder { files }) } else { Err(Faults(faults)) }
    }

    /// A file's text.
    ///
    /// # Errors
    /// The fault of a missing file, which says what to run.
    pub fn text(&self, name: &str) -> Result<&str, Fault> {
        self.files.get(name).map(String::as_str).ok_or_else(|| {
            let remedy = "write the shipped one with: pangate policy init --config pangate.toml";
            Fault::new(name, "the file is missing from the policy folder", remedy)
        })
    }

    /// The files whose names begin so, in order.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let found = self.files.iter().filter(move |(name, _)| name.starts_with(prefix));
        found.map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// SHA-256 over the whole folder, as anybody can repeat it: the hash of the lines that `sha256sum` prints for the
    /// files in order of their names.
    ///
    /// ```text
    /// cd policy && find * -type f -not -path '*/.*' | LC_ALL=C sort | xargs sha256sum | sha256sum
    /// ```
    pub fn hash(&self) -> [u8; 32] {
        let mut lines = String::new();
        for (name, text) in &self.files {
            let _ = writeln!(lines, "{}  {name}", hex(&Sha256::digest(text.as_bytes())));
        }
        Sha256::digest(lines.as_bytes()).into()
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn walk(
    folder: &Path,
    above: &str,
    depth: usize,
    files: &mut BTreeMap<String, String>,
    faults: &mut Vec<Fault>,
) {
    let readable = "let the gateway's user read it";
    let shown = if above.is_empty() { folder.display().to_string() } else { above.to_owned() };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return faults.push(Fault::new(&shown, format!("cannot be read: {error}"), readable)),
    };
    for entry in entries {
        let Ok(entry) = entry else { continue };
        let Ok(name) = entry.file_name().into_string() else {
            faults.push(Fault::new(&shown, "a file's name is no UTF-8", "rename it"));
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let (path, name) = (entry.path(), format!("{above}{name}"));
        // Links are followed: orchestrators mount files as links.
        match std::fs::metadata(&path) {
            Ok(data) if data.is_dir() && depth > 0 => {
                walk(&path, &format!("{name}/"), depth - 1, files, faults);
            }
            Ok(data) if data.is_file() && files.len() < FILES => match read(&path) {
                Ok(text) => drop(files.insert(name, text)),
                Err(error) => faults.push(Fault::new(&name, format!("cannot be read: {error}"), readable)),
            },
            Ok(_) => {
                let problem = "is no file, is nested too deep, or is one too many";
                faults.push(Fault::new(&name, problem, "move it out of the policy folder"));
            }
            Err(error) => faults.push(Fault::new(&name, format!("cannot be read: {error}"), readable)),
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // Never waits: a pipe that was put in a file's place is nobody's policy.
    let file = OpenOptions::new().read(true).custom_flags(nonblocking()).open(path)?;
    file.take(BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(text)
}

fn nonblocking() -> i32 {
    i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0)
}

/// Writes the record of a companion at that host, unless there is a record of any vendor.
///
/// # Errors
/// The system's word.
pub fn write_companion(folder: &Path, host: &str) -> io::Result<Option<&'static str>> {
    let vendors = folder.join("vendors");
    std::fs::create_dir_all(&vendors)?;
    if std::fs::read_dir(&vendors)?.next().is_some() {
        return Ok(None);
    }
    let path = vendors.join("companion.toml");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(companion_record(host).as_bytes())?;
    file.sync_all()?;
    Ok(Some("vendors/companion.toml"))
}

/// Writes the shipped files that are missing in `folder`; gives their names. What is there is left alone.
///
/// # Errors
/// The system's word.
pub fn write_missing(folder: &Path) -> io::Result<Vec<&'static str>> {
    let mut written = Vec::new();
    for (name, text) in SHIPPED {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        match OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                written.push(*name);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
