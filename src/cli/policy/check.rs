//! `pangate policy check`: every file of the folder, as `pangate serve` would read it.

use crate::cli::{Format, fail, say};
use crate::governance::{Bundle, Fault, Folder, Notice};
use crate::keys::{KeyPolicy, PolicyError};
use crate::record::now_us;
use crate::routes::Routes;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

pub(super) fn run(dir: &Path, officers: bool, format: Format) -> ExitCode {
    let folder = match Folder::read(dir) {
        Ok(folder) => folder,
        Err(faults) => return report(&faults.0, None, format),
    };
    let bundle = Bundle::of(&folder);
    let mut faults = bundle.as_ref().err().map(|faults| faults.0.clone()).unwrap_or_default();
    if let Err(error) = Routes::read(dir) {
        faults.push(error.fault(folder.text("routes.toml").unwrap_or_default()));
    }
    if let Err(error) = KeyPolicy::read(dir, officers) {
        faults.push(fault_of_keys(&error));
    }
    faults.dedup();
    report(&faults, bundle.as_ref().ok(), format)
}

fn fault_of_keys(error: &PolicyError) -> Fault {
    let file = "keys.toml";
    match error {
        PolicyError::Unreadable { source, .. } => {
            Fault::new(file, format!("cannot be read: {source}"), "let the gateway's user read it")
        }
        PolicyError::Wrong { line, message, .. } => {
            Fault::new(file, message.as_str(), "correct the line").at(*line)
        }
    }
}

fn report(faults: &[Fault], bundle: Option<&Bundle>, format: Format) -> ExitCode {
    let hash = bundle.map(Bundle::hash_text);
    let now = now_us().div_euclid(1_000_000);
    let due = bundle.map(|bundle| bundle.notices(now)).unwrap_or_default();
    match format {
        Format::Json => say(&json!({
            "ok": faults.is_empty(),
            "sha256": hash,
            "faults": faults.iter().map(value).collect::<Vec<_>>(),
            "due": due.iter().map(due_value).collect::<Vec<_>>(),
        })
        .to_string()),
        Format::Text => {
            for fault in faults {
                say(&fault.to_string());
            }
            for notice in &due {
                say(&format!("due: {} ({}): {}", notice.subject, notice.file, notice.text));
            }
            match hash {
                Some(hash) if faults.is_empty() => say(&format!("in order; sha256 {hash}")),
                _ => {
                    let count = faults.len();
                    let faults = if count == 1 { "1 fault".to_owned() } else { format!("{count} faults") };
                    return fail(format, &format!("{faults} in the policy folder"), 1);
                }
            }
        }
    }
    ExitCode::from(u8::from(!faults.is_empty()))
}

fn due_value(notice: &Notice) -> Value {
    json!({ "code": notice.code, "file": notice.file, "subject": notice.subject, "text": notice.text })
}

fn value(fault: &Fault) -> Value {
    json!({ "file": fault.file, "line": fault.line, "problem": fault.problem, "remedy": fault.remedy })
}
