//! Which keys there are, what an unknown one was probably meant to be, and how the environment overrides one.

use std::collections::BTreeMap;
use std::path::PathBuf;

const KNOWN: &[(&str, &[&str])] = &[
    (
        "server",
        &[
            "listen",
            "ops_listen",
            "tls_cert",
            "tls_key",
            "realm",
            "connections",
            "requests",
            "body_bytes",
            "body_seconds",
            "drain_seconds",
        ],
    ),
    ("store", &["url", "password_file", "max_readers", "statement_seconds"]),
    ("hsm", &["provider", "socket", "module", "token_label", "pin_file", "workers", "target"]),
    ("hsm.target", &["provider", "socket", "module", "token_label", "pin_file", "workers"]),
    ("companion", &["url", "ca", "token_file"]),
    ("processor", &["kind"]),
    ("policy", &["dir"]),
    ("audit", &["log"]),
    (
        "limits",
        &[
            "principal_per_minute",
            "tenant_per_minute",
            "principal_per_day",
            "tenant_per_day",
            "stranger_per_minute",
        ],
    ),
    ("log", &["level", "file"]),
];

const PREFIX: &str = "PANGATE_";

/// What is wrong with the settings, and where.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file that cannot be read.
    #[error("cannot read {file}: {source}; check the path and its permissions")]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A secret that others may read.
    #[error("{file} can be read by others; run: chmod 600 {file}")]
    TooOpen {
        /// Which.
        file: PathBuf,
    },
    /// Not TOML.
    #[error("line {line} is not TOML: {message}")]
    Malformed {
        /// From one.
        line: usize,
        /// The parser's words.
        message: String,
    },
    /// A key that nobody knows.
    #[error("{place}: unknown key `{key}`; did you mean `{nearest}`?")]
    UnknownKey {
        /// The line, from one, or the environment.
        place: String,
        /// With its section.
        key: String,
        /// Of the same section.
        nearest: String,
    },
    /// A value that does not fit.
    #[error("{place}: {message}")]
    Wrong {
        /// The line, from one, of the value or of the section that lacks one; or the environment.
        place: String,
        /// What was expected.
        message: String,
    },
    /// Real cards must not meet the test processor.
    #[error("processor.kind = \"sandbox\" moves no money and is refused with server.realm = \"live\"")]
    SandboxInLiveRealm,
    /// Who reads the settings must not read the password with them.
    #[error(
        "store.url holds a password; put it into a file of mode 0600 and name that as store.password_file"
    )]
    InlinePassword,
    /// Health and metrics are for this host alone.
    #[error("server.ops_listen must be a loopback address, for instance 127.0.0.1:9443")]
    OpsNotLoopback,
}

pub(super) fn malformed(text: &str, error: &toml::de::Error) -> SettingsError {
    SettingsError::Malformed { line: line_at(text, error.span()), message: error.message().to_owned() }
}

/// A value that does not fit, with the place that it came from. Merged with the environment, values have no place of
/// their own any more; the parser's "in `section.key`" tells it.
pub(super) fn wrong(
    text: &str,
    environment: &BTreeMap<String, String>,
    error: &toml::de::Error,
) -> SettingsError {
    let message = error.to_string().trim().replace('\n', " ");
    let path = message.rsplit_once(" in `").and_then(|(_, path)| path.strip_suffix('`')).unwrap_or_default();
    let (section, key) = path.split_once('.').map_or((path, None), |(section, key)| (section, Some(key)));
    let variable = key.map(|key| format!("{PREFIX}{}__{}", section.to_uppercase(), key.to_uppercase()));
    let place = match (variable.filter(|name| environment.contains_key(name)), key) {
        (Some(variable), _) => format!("environment variable {variable}"),
        (None, Some(key)) => place(line_of(text, Some(section), key)),
        (None, None) => place(line_of(text, None, section)),
    };
    SettingsError::Wrong { place, message }
}

/// What is missing altogether stands on no line.
fn place(line: usize) -> String {
    if line == 0 { "the file".to_owned() } else { format!("line {line}") }
}

fn line_at(text: &str, span: Option<std::ops::Range<usize>>) -> usize {
    let Some(span) = span else { return 0 };
    text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1
}

/// Every section and key must be known.
pub(super) fn check(text: &str, table: &toml::Table) -> Result<(), SettingsError> {
    for (section, value) in table {
        check_section(text, section, value)?;
    }
    Ok(())
}

fn check_section(text: &str, section: &str, value: &toml::Value) -> Result<(), SettingsError> {
    let Some((_, keys)) = KNOWN.iter().find(|(name, _)| *name == section) else {
        let nearest = nearest(section, KNOWN.iter().map(|(name, _)| *name));
        let place = place(line_of(text, None, section));
        return Err(SettingsError::UnknownKey { place, key: section.to_owned(), nearest });
    };
    for (key, value) in value.as_table().into_iter().flatten() {
        if !keys.contains(&key.as_str()) {
            let place = place(line_of(text, Some(section), key));
            let (key, nearest) = (format!("{section}.{key}"), nearest(key, keys.iter().copied()));
            return Err(SettingsError::UnknownKey { place, key, nearest });
        }
        if value.is_table() {
            check_section(text, &format!("{section}.{key}"), value)?;
        }
    }
    Ok(())
}

/// `PANGATE_SECTION__KEY=value` replaces `section.key`, and `PANGATE_HSM__TARGET__KEY` one of `[hsm.target]`. Other variables that start alike are not ours.
pub(super) fn lay_over(
    table: &mut toml::Table,
    environment: &BTreeMap<String, String>,
) -> Result<(), SettingsError> {
    for (name, value) in environment {
        let Some((section, key)) = name.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once("__")) else {
            continue;
        };
        let (section, key) = (section.to_lowercase().replace("__", "."), key.to_lowercase());
        let known = KNOWN.iter().find(|(known, _)| *known == section);
        let Some((_, keys)) = known.filter(|(_, keys)| keys.contains(&key.as_str())) else {
            let all = KNOWN.iter().flat_map(|(s, keys)| keys.iter().map(move |k| format!("{s}.{k}")));
            let key = format!("{section}.{key}");
            let names: Vec<String> = all.collect();
            let nearest = nearest(&key, names.iter().map(String::as_str));
            let place = "environment".to_owned();
            return Err(SettingsError::UnknownKey { place, key: name.clone(), nearest });
        };
        let _ = keys;
        let value = match value.parse::<i64>() {
            Ok(number) => toml::Value::Integer(number),
            Err(_) => toml::Value::String(value.clone()),
        };
        let mut place = Some(&mut *table);
        for name in section.split('.') {
            let entry = place.map(|table| table.entry(name).or_insert_with(|| toml::Table::new().into()));
            place = entry.and_then(toml::Value::as_table_mut);
        }
        if let Some(place) = place {
            place.insert(key, value);
        }
    }
    Ok(())
}

fn line_of(text: &str, section: Option<&str>, name: &str) -> usize {
    let mut current = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            current = Some(header.trim());
            if section.is_none() && current == Some(name) {
                return number + 1;
            }
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        if section.is_some() && current == section && key == name {
            return number + 1;
        }
    }
    0
}

fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> String {
    known.min_by_key(|candidate| distance(wrong, candidate)).unwrap_or_default().to_owned()
}

/// Levenshtein's distance, row by row.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, cb) in row.iter_mut().skip(1).zip(b.chars()) {
            let above = *cell;
            left = (diagonal + usize::from(ca != cb)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
