//! The file that a log is taken away into: one JSON document a line, entries as the device encoded them, and after each
//! run the head that the device signed. Only ever appended to.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hsm_sim::ceremony::{from_hex, to_hex};
use hsm_sim::client::{SignedHead, Start};
use hsm_sim::log::{Entry, LogCounts};
use serde::{Deserialize, Serialize};

use super::super::Failure;

/// Such a file.
pub(super) struct Archive {
    path: PathBuf,
    lines: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    /// An entry: what it says, for people, and its bytes, which count.
    Entry { text: String, bytes: String },
    /// A signed head.
    Head {
        device: String,
        last: u64,
        acknowledged: u64,
        unlogged_boots: u32,
        unlogged_events: u32,
        hash: String,
        key: String,
        signature: String,
    },
}

impl Archive {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(failed(path, "open"))?;
        let mut lines = Vec::new();
        for (number, line) in (1_u64..).zip(BufReader::new(file).lines()) {
            let line = line.map_err(failed(path, "read"))?;
            let read = serde_json::from_str(&line);
            lines.push(
                read.map_err(|_| Failure::new(format!("{}: line {number} is none of ours", path.display())))?,
            );
        }
        Ok(Self { path: path.to_owned(), lines })
    }

    pub(super) fn open_or_make(path: &Path) -> Result<Self, Failure> {
        if path.exists() { Self::open(path) } else { Ok(Self { path: path.to_owned(), lines: Vec::new() }) }
    }

    /// Every entry, in order.
    pub(super) fn entries(&self) -> Result<Vec<Vec<u8>>, Failure> {
        let entries = self.lines.iter().filter_map(|line| match line {
            Line::Entry { bytes, .. } => Some(unhex(bytes)),
            Line::Head { .. } => None,
        });
        entries.collect::<Option<_>>().ok_or_else(|| self.broken())
    }

    /// The number of the last entry; 0 when there is none.
    pub(super) fn last(&self) -> Result<u64, Failure> {
        let entries = self.entries()?;
        let last = entries.last().map(|bytes| Entry::decode(bytes).ok_or_else(|| self.broken()));
        Ok(last.transpose()?.map_or(0, |entry| entry.seq))
    }

    /// The last signed head.
    pub(super) fn head(&self) -> Result<SignedHead, Failure> {
        let head = self.lines.iter().rev().find_map(|line| match line {
            Line::Head {
                device,
                last,
                acknowledged,
                unlogged_boots,
                unlogged_events,
                hash,
                key,
                signature,
            } => {
                let counts = LogCounts {
                    last: *last,
                    acknowledged: *acknowledged,
                    unlogged_boots: *unlogged_boots,
                    unlogged_events: *unlogged_events,
                };
                Some(from_hex(device).zip(from_hex(hash)).zip(from_hex(key)).zip(from_hex(signature)).map(
                    |(((serial, head), public), signature)| SignedHead {
                        serial,
                        counts,
                        head,
                        public,
                        signature,
                    },
                ))
            }
            Line::Entry { .. } => None,
        });
        head.flatten().ok_or_else(|| self.broken())
    }

    /// Where its entries begin.
    pub(super) fn start(&self, head: &SignedHead) -> Result<Start, Failure> {
        super::first_start(head, &self.entries()?)
    }

    /// Appends entries; they are on disk when this returns.
    pub(super) fn append(&mut self, entries: &[Vec<u8>]) -> Result<(), Failure> {
        let lines = entries.iter().map(|bytes| Line::Entry {
            text: Entry::decode(bytes).map_or_else(String::new, |entry| entry.to_string()),
            bytes: to_hex(bytes),
        });
        self.write(lines.collect())
    }

    /// Appends the signed head of all that is in it.
    pub(super) fn seal(&mut self, head: &SignedHead) -> Result<(), Failure> {
        self.write(vec![Line::Head {
            device: to_hex(&head.serial),
            last: head.counts.last,
            acknowledged: head.counts.acknowledged,
            unlogged_boots: head.counts.unlogged_boots,
            unlogged_events: head.counts.unlogged_events,
            hash: to_hex(&head.head),
            key: to_hex(&head.public),
            signature: to_hex(&head.signature),
        }])
    }

    fn write(&mut self, lines: Vec<Line>) -> Result<(), Failure> {
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(failed(&self.path, "open"))?;
        let mut text = Vec::new();
        for line in &lines {
            serde_json::to_writer(&mut text, line).map_err(Failure::new)?;
            text.push(b'\n');
        }
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed(&self.path, "write"))?;
        self.lines.extend(lines);
        Ok(())
    }

    fn broken(&self) -> Failure {
        Failure::new(format!(
            "{}: this is no whole archive of a device's log; it was altered",
            self.path.display()
        ))
    }
}

fn failed(path: &Path, act: &'static str) -> impl Fn(std::io::Error) -> Failure {
    let path = path.display().to_string();
    move |error| Failure::new(format!("cannot {act} {path}: {error}"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes =
        pairs.iter().map(|pair| std::str::from_utf8(pair).ok().and_then(from_hex::<1>).map(|[byte]| byte));
    if rest.is_empty() { bytes.collect() } else { None }
}
