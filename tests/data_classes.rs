//! Whatever is kept and whatever is logged has a class in `policy/data-classes.toml`.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Classes {
    class: BTreeMap<String, Class>,
    column: BTreeMap<String, BTreeMap<String, String>>,
    log: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    means: String,
    logged: bool,
    leaves: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn classes() -> Classes {
    toml::from_str(&std::fs::read_to_string(root().join("policy/data-classes.toml")).unwrap()).unwrap()
}

#[test]
fn every_class_says_what_it_means_and_where_it_may_go() {
    for (name, class) in classes().class {
        assert!(!class.means.is_empty(), "{name}");
        assert!(
            ["never", "token", "phi", "pan"].contains(&class.leaves.as_str()),
            "{name}: {}",
            class.leaves
        );
        // What would be a card's or a key's own is neither logged nor sent, whatever the file is edited to.
        if ["sealed", "secret", "keyed"].contains(&name.as_str()) {
            assert!(!class.logged && class.leaves == "never", "{name}");
        }
    }
}

#[test]
fn every_column_has_a_class() {
    let classes = classes();
    let mut named: BTreeSet<(String, String)> = BTreeSet::new();
    for (table, columns) in &classes.column {
        for (column, class) in columns {
            assert!(classes.class.contains_key(class), "{table}.{column} = {class}: there is no such class");
            named.insert((table.clone(), column.clone()));
        }
    }
    for table in &store::TABLES {
        for column in table.sheet.columns {
            let key = (table.name().to_owned(), column.name.to_owned());
            assert!(named.remove(&key), "{}.{} has no class in policy/data-classes.toml", key.0, key.1);
        }
    }
    assert!(named.is_empty(), "not in the schema: {named:?}");
}

#[test]
fn every_log_field_has_a_class_that_may_be_logged() {
    let classes = classes();
    let mut found = BTreeMap::new();
    for folder in ["src", "crates", "hsm-sim/src", "claims/src"] {
        for file in rust_files(&root().join(folder)) {
            let text = std::fs::read_to_string(&file).unwrap();
            // What unit tests log, no gateway does.
            for field in log_fields(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()) {
                found.entry(field).or_insert(file.clone());
            }
        }
    }
    assert!(
        found.contains_key("request_id") && found.contains_key("error"),
        "the fields are not found: {found:?}"
    );
    for (field, file) in &found {
        let class = classes.log.get(field);
        let class = class.unwrap_or_else(|| panic!("{}: `{field}` has no class", file.display()));
        let class = classes.class.get(class).unwrap_or_else(|| panic!("{field}: there is no class {class}"));
        assert!(class.logged, "{}: `{field}` is of a class that is not logged", file.display());
    }
    let gone: Vec<&String> = classes.log.keys().filter(|field| !found.contains_key(*field)).collect();
    assert!(gone.is_empty(), "nobody logs {gone:?}");
}

#[test]
fn fields_are_found_in_every_spelling() {
    let text = "tracing::info!(code = problem.code(), ?kind, %id, plain, a.b = 1, name = f(x, \"a, b = 3\"), \"text {x}\");
        tracing::warn!(\"no field = here\"); tracing::error!(error = %error, \"(a\"); other!(no = 1);";
    let found = log_fields(text);
    assert_eq!(found, ["code", "kind", "id", "plain", "a.b", "name", "error"]);
}

/// The names of the fields in every event and span of a file.
fn log_fields(text: &str) -> Vec<String> {
    let mut fields = Vec::new();
    for (at, _) in text.match_indices("tracing::") {
        let Some((word, rest)) = text.split_at(at).1.split_once('(') else { continue };
        let levels = ["info!", "warn!", "error!", "debug!", "trace!", "event!", "info_span!", "span!"];
        if !levels.contains(&word.trim_start_matches("tracing::")) {
            continue;
        }
        for argument in arguments(rest) {
            let argument = argument.trim();
            let name = argument.split('=').next().unwrap_or_default().trim();
            let name = name.trim_start_matches(['%', '?']);
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
            if !argument.starts_with('"') && !name.is_empty() && name.chars().all(plain) {
                fields.push(name.to_owned());
            }
        }
    }
    fields
}

/// The arguments of a call whose bracket is open, split at the commas that are its own.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut in_text, mut escaped) = (0_u32, false, false);
    let mut arguments = vec![String::new()];
    for c in text.chars() {
        let last = arguments.last_mut().unwrap();
        if in_text {
            (in_text, escaped) = (escaped || c != '"', !escaped && c == '\\');
            last.push(c);
            continue;
        }
        match c {
            '"' => in_text = true,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return arguments,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        last.push(c);
    }
    arguments
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("tests") {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
