//! The last step before a log line leaves: the sweep. Gathers whole lines, lets the clean ones through.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter;
use zeroize::Zeroize;

static WITHHELD: AtomicU64 = AtomicU64::new(0);

/// Lines of this process that were not written because they could have held a card number.
pub fn withheld() -> u64 {
    WITHHELD.load(Ordering::Relaxed)
}

/// Writes swept lines to one sink. Shared by clone.
#[derive(Clone)]
pub struct SweptWriter(Arc<Mutex<Box<dyn Write + Send>>>);

impl SweptWriter {
    /// A writer to that sink.
    pub fn new(sink: impl Write + Send + 'static) -> SweptWriter {
        SweptWriter(Arc::new(Mutex::new(Box::new(sink))))
    }

    fn write_swept(&self, text: &[u8]) {
        let mut out = Vec::with_capacity(text.len());
        for line in text.split_inclusive(|b| *b == b'\n') {
            if sweep::sweep_line(line).is_clean() {
                out.extend_from_slice(line);
            } else {
                WITHHELD.fetch_add(1, Ordering::Relaxed);
                out.extend_from_slice(replacement(line).as_bytes());
            }
        }
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written must not stop a payment.
        let _ = sink.write_all(&out).and_then(|()| sink.flush());
    }
}

/// The fixed line, with the module that tried, which is a word of the program text.
fn replacement(line: &[u8]) -> String {
    let target = serde_json::from_slice::<serde_json::Value>(line)
        .ok()
        .and_then(|line| line.get("target")?.as_str().map(str::to_owned))
        .filter(|target| {
            target.len() <= 64 && target.bytes().all(|b| b.is_ascii_lowercase() || b == b':' || b == b'_')
        })
        .unwrap_or_default();
    format!(
        "{{\"level\":\"ERROR\",\"message\":\"log line withheld\",\"reason\":\"pan_like\",\"target\":\"{target}\"}}\n"
    )
}

impl<'a> MakeWriter<'a> for SweptWriter {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { text: Vec::new(), out: self.clone() }
    }
}

/// One event's text until it is complete.
pub struct Line {
    text: Vec<u8>,
    out: SweptWriter,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.out.write_swept(&self.text);
        }
        self.text.zeroize();
    }
}
