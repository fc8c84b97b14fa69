//! The diagnostic log: JSON lines, each searched for card numbers before it is written. A line that could hold one
//! is replaced by a fixed line and counted; the search is the last step, so nothing can be logged around it.

mod writer;

pub use writer::{SweptWriter, withheld};

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::PanicHookInfo;
use std::path::Path;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

/// Our own crates. All others are held at `warn`: at `debug` an HTTP or TLS library logs what it reads.
const OURS: [&str; 8] = ["pangate", "audit", "hsm", "hsm_sim", "store", "sweep", "tokens", "vault"];

/// Starts the log at `level` (`error`, `warn`, `info`, `debug` or `trace`), on standard error or in a file that is
/// appended to and that only its owner may read. Also makes panics speak through the log.
///
/// # Errors
/// An unknown level, a file that cannot be opened, or a log that was started before.
pub fn init(level: &str, file: Option<&Path>) -> io::Result<()> {
    let level: Level = level.parse().map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, "log.level must be error, warn, info, debug or trace")
    })?;
    let writer = match file {
        Some(file) => SweptWriter::new(OpenOptions::new().create(true).append(true).mode(0o600).open(file)?),
        None => SweptWriter::new(io::stderr()),
    };
    tracing::subscriber::set_global_default(subscriber(level, writer))
        .map_err(|_| io::Error::new(io::ErrorKind::AlreadyExists, "the log was started before"))?;
    std::panic::set_hook(Box::new(report));
    Ok(())
}

/// A subscriber that writes through the sweep; for [`init`] and for tests.
pub fn subscriber(level: Level, writer: SweptWriter) -> impl Subscriber + Send + Sync {
    let targets = Targets::new()
        .with_default(LevelFilter::from_level(level.min(Level::WARN)))
        .with_targets(OURS.map(|target| (target, level)));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(writer);
    tracing_subscriber::registry().with(targets).with(lines)
}

/// A panic's message may quote what was being worked on, so only its place is told.
fn report(panic: &PanicHookInfo<'_>) {
    let (file, line) = panic.location().map_or(("unknown", 0), |place| (place.file(), place.line()));
    tracing::error!(file, line, "panic");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(act: impl FnOnce()) -> String {
        let sink = Sink::default();
        tracing::subscriber::with_default(subscriber(Level::INFO, SweptWriter::new(sink.clone())), act);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const PAN: &str = "4111111111111111";

    #[test]
    fn an_ordinary_line_is_written_as_json_with_its_request_id() {
        let text = logged(|| {
            let span = tracing::info_span!("request", request_id = "req_abcdefghijklmnopqrstuvwx");
            span.in_scope(|| tracing::info!(code = "ok", status = 201, micros = 5123, "canary"));
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["message"], "canary");
        assert_eq!(line["status"], 201);
        assert_eq!(line["span"]["request_id"], "req_abcdefghijklmnopqrstuvwx");
    }

    #[test]
    fn p1_a_line_that_could_hold_a_card_number_is_withheld_and_counted() {
        let before = withheld();
        let (left, right) = PAN.split_at(8);
        for text in [
            logged(|| tracing::info!("card {PAN} refused")),
            logged(|| tracing::info!("card 4111 1111 1111 1111 refused")),
            logged(|| tracing::info!(number = PAN, "refused")),
            logged(|| tracing::info!(number = 4_111_111_111_111_111_u64, "refused")),
            logged(|| tracing::info!(first = left, second = right, "refused")),
            logged(|| {
                let span = tracing::info_span!("request", note = PAN);
                span.in_scope(|| tracing::info!("refused"));
            }),
        ] {
            assert!(!text.contains("1111") && !text.contains("refused"), "{text}");
            let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
            assert_eq!(line["message"], "log line withheld");
            assert_eq!(line["reason"], "pan_like");
            assert_eq!(line["target"], "pangate::log::tests");
        }
        assert!(withheld() >= before + 6);
    }

    #[test]
    fn the_lines_around_a_withheld_one_are_written() {
        let text = logged(|| {
            tracing::info!("before");
            tracing::info!("{PAN}");
            tracing::info!("after");
        });
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("before") && text.contains("after") && !text.contains(PAN));
    }

    #[test]
    fn libraries_stay_below_the_level_at_which_they_log_what_they_read() {
        let text = logged(|| {
            tracing::info!(target: "hyper::proto", "headers");
            tracing::warn!(target: "hyper::proto", "trouble");
        });
        assert!(!text.contains("headers") && text.contains("trouble"));
    }

    #[test]
    fn an_unknown_level_is_refused() {
        assert_eq!(init("loud", None).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
