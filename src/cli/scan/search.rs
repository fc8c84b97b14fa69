//! Walks the targets: which file is read how, what is passed by, what could not be read.

use super::content::{self, Reading};
use super::database;
use super::finding::{Finding, Summary, Unsearched, shown};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use sweep::{FieldContext, Hit};

/// A packed file is unpacked in memory up to this size.
const UNPACKED: usize = 256 << 20;
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Why a target cannot be searched at all.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It is not there.
    #[error("{0}: {1}; name a file, a folder or a database URL")]
    Missing(String, io::Error),
    /// A database that this build does not read.
    #[error("postgres:// URLs cannot be searched yet; search a dump, or the files of a stopped server")]
    Postgres,
}

/// One search over any number of targets.
pub struct Search<'a> {
    report: &'a mut (dyn FnMut(&Finding) + Send),
    summary: Summary,
    progress: Progress,
}

impl<'a> Search<'a> {
    /// A search that gives each finding to `report` as it is found.
    pub fn new(report: &'a mut (dyn FnMut(&Finding) + Send)) -> Search<'a> {
        Search { report, summary: Summary::default(), progress: Progress::default() }
    }

    /// Tell on standard error how far it is, when it takes long.
    pub fn tell_progress(&mut self) {
        self.progress.told = Some(Instant::now());
    }

    /// What it came to.
    pub fn finish(self) -> Summary {
        self.summary
    }

    /// Searches a file, a folder with everything in it, or `sqlite:PATH`.
    ///
    /// # Errors
    /// [`TargetError`] when there is nothing to search. What cannot be read within a target is in the summary.
    pub async fn target(&mut self, target: &OsStr) -> Result<(), TargetError> {
        let text = target.to_str().unwrap_or_default();
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Err(TargetError::Postgres);
        }
        let path = match text.strip_prefix("sqlite:") {
            Some(path) => PathBuf::from(path.strip_prefix("//").unwrap_or(path)),
            None => PathBuf::from(target),
        };
        let missing = |error| TargetError::Missing(shown(&path), error);
        if fs::metadata(&path).map_err(missing)?.is_dir() {
            self.folder(path).await;
            return Ok(());
        }
        self.file(&path).await;
        // In a folder the companions of a database are met on the way.
        for suffix in ["-wal", "-journal"] {
            let mut beside = path.clone().into_os_string();
            beside.push(suffix);
            let beside = PathBuf::from(beside);
            if beside.is_file() {
                self.file(&beside).await;
            }
        }
        Ok(())
    }

    async fn folder(&mut self, root: PathBuf) {
        let mut waiting = vec![root];
        while let Some(folder) = waiting.pop() {
            let mut entries: Vec<_> = match fs::read_dir(&folder) {
                Ok(entries) => entries.filter_map(Result::ok).collect(),
                Err(error) => {
                    self.unsearched(&folder, error.to_string());
                    continue;
                }
            };
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => {
                        self.name(&path);
                        waiting.push(path);
                    }
                    Ok(kind) if kind.is_file() => self.file(&path).await,
                    Ok(_) => {
                        self.name(&path);
                        self.summary.passed_by += 1;
                    }
                    Err(error) => self.unsearched(&path, error.to_string()),
                }
            }
        }
    }

    async fn file(&mut self, path: &Path) {
        self.name(path);
        let head = match self.bytes(path) {
            Ok(head) => head,
            // A file that went away between listing and opening holds nothing any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.unsearched(path, error.to_string()),
        };
        self.summary.files += 1;
        match Container::of(&head) {
            Some(Container::Sqlite) => self.database(path).await,
            Some(Container::Packed(coding)) => self.packed(path, coding),
            Some(Container::Opaque(name)) => {
                self.unsearched(path, format!("{name} is not opened; unpack it and search what comes out"));
            }
            None => {}
        }
    }

    /// Searches a file's bytes and gives back its first few.
    fn bytes(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let mut head = Vec::new();
        (&mut file).take(16).read_to_end(&mut head)?;
        file.rewind()?;
        let mut watched = Watched { file, progress: std::mem::take(&mut self.progress) };
        let read =
            content::search(&mut watched, Reading::of(&head), &mut |place, hit| self.hit(path, place, hit));
        self.progress = watched.progress;
        self.summary.bytes += read?;
        Ok(head)
    }

    async fn database(&mut self, path: &Path) {
        let outcome = database::search(path).await;
        for (place, hit) in outcome.hits {
            self.hit(path, place, &hit);
        }
        self.summary.values += outcome.values;
        if let Some(reason) = outcome.unsearched {
            self.unsearched(path, reason);
        }
    }

    fn packed(&mut self, path: &Path, coding: &'static str) {
        let limits = sweep::Limits { body: UNPACKED, ratio: 1000, ..sweep::Limits::default() };
        let unpacked = match fs::read(path) {
            Err(error) => return self.unsearched(path, error.to_string()),
            Ok(packed) => sweep::decode::content(Some(coding), &packed, &limits),
        };
        let content = match unpacked {
            Ok(content) => content,
            Err(error) => return self.unsearched(path, format!("{coding}: {}", error.code())),
        };
        let searched = content::search(&mut content.as_slice(), Reading::of(&content), &mut |place, hit| {
            self.hit(path, format!("inside {coding}, {place}"), hit);
        });
        if let Err(error) = searched {
            self.unsearched(path, error.to_string());
        }
        if let Some(Container::Packed(_) | Container::Opaque(_)) = Container::of(&content) {
            self.unsearched(path, format!("{coding}: an archive inside an archive is not opened"));
        }
    }

    /// A name can hold a card number as well as a content can.
    fn name(&mut self, path: &Path) {
        let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        if let Some(hit) = content::judge(&name, FieldContext::Plain) {
            self.hit(path, "file name".to_owned(), &hit);
        }
    }

    fn hit(&mut self, path: &Path, place: String, hit: &Hit) {
        if content::gave_up(hit) {
            return self.unsearched(path, format!("{place}: too many encodings inside each other"));
        }
        self.summary.findings += 1;
        (self.report)(&Finding::new(path, place, hit));
    }

    fn unsearched(&mut self, path: &Path, reason: String) {
        self.summary.unsearched.push(Unsearched { path: shown(path), reason });
    }
}

/// How far it is, told now and then on standard error.
#[derive(Default)]
struct Progress {
    /// When it was last told; never, when nobody wants to know.
    told: Option<Instant>,
    bytes: u64,
}

/// A file whose reading is counted.
struct Watched {
    file: File,
    progress: Progress,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let Progress { told, bytes } = &mut self.progress;
        *bytes += u64::try_from(count).unwrap_or(0);
        if told.is_some_and(|told| told.elapsed() >= PROGRESS_EVERY) {
            let _ = writeln!(io::stderr().lock(), "pangate: scan: {} MB searched so far", *bytes >> 20);
            *told = Some(Instant::now());
        }
        Ok(count)
    }
}

/// What a file is beyond its bytes, by its first few (file(1)'s magic).
enum Container {
    Sqlite,
    Packed(&'static str),
    Opaque(&'static str),
}

impl Container {
    fn of(head: &[u8]) -> Option<Container> {
        let known: [(&[u8], Container); 8] = [
            (b"SQLite format 3\0", Container::Sqlite),
            (b"\x1f\x8b", Container::Packed("gzip")),
            (b"\x28\xb5\x2f\xfd", Container::Packed("zstd")),
            (b"PK\x03\x04", Container::Opaque("a zip archive")),
            (b"\xfd7zXZ\0", Container::Opaque("an xz file")),
            (b"BZh", Container::Opaque("a bzip2 file")),
            (b"7z\xbc\xaf\x27\x1c", Container::Opaque("a 7z archive")),
            (b"%PDF-", Container::Opaque("a PDF")),
        ];
        known.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, container)| container)
    }
}
