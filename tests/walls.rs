//! The walls: which crate may link which, which module may use which, and what must not compile.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a wall that cannot be seen is down"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every allowed edge between our crates in what is shipped (dev-dependencies are for tests).
const EDGES: &[(&str, &[&str])] = &[
    ("tokens", &[]),
    ("hsm", &[]),
    ("policy", &[]),
    ("store", &[]),
    ("scratch-postgres", &[]),
    ("scale", &[]),
    ("sweep", &["tokens"]),
    ("audit", &["tokens"]),
    ("vault", &["hsm", "store", "sweep", "tokens"]),
    ("hsm-sim", &["hsm"]),
    ("claims", &["sweep", "tokens"]),
    ("pangate", &["audit", "hsm", "hsm-sim", "policy", "store", "sweep", "tokens", "vault"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn shipped_edges() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = packages.iter().map(|p| p["name"].as_str().unwrap()).collect();
    packages
        .iter()
        .map(|package| {
            let edges = package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| dependency["name"].as_str().unwrap())
                .filter(|name| ours.contains(name))
                .map(str::to_owned)
                .collect();
            (package["name"].as_str().unwrap().to_owned(), edges)
        })
        .collect()
}

#[test]
fn crates_link_only_what_the_design_allows() {
    let allowed: BTreeMap<String, BTreeSet<String>> = EDGES
        .iter()
        .map(|(name, edges)| ((*name).to_owned(), edges.iter().map(|edge| (*edge).to_owned()).collect()))
        .collect();
    assert_eq!(shipped_edges(), allowed);
}

#[test]
fn p7_the_companion_reaches_no_vault_code() {
    let edges = shipped_edges();
    let mut reached = BTreeSet::new();
    let mut open = vec!["claims".to_owned()];
    while let Some(name) = open.pop() {
        open.extend(edges[&name].iter().filter(|next| !reached.contains(*next)).cloned());
        reached.insert(name);
    }
    for forbidden in ["vault", "hsm", "hsm-sim", "store", "pangate"] {
        assert!(!reached.contains(forbidden), "claims reaches {forbidden}");
    }
}

/// Only `store` speaks SQL drivers on the gateway's side; only `vault` gathers bodies.
#[test]
fn only_the_store_names_the_database_driver() {
    for (name, folder) in [("pangate", "src"), ("vault", "crates/vault/src"), ("audit", "crates/audit/src")] {
        for file in rust_files(&root().join(folder)) {
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(!text.contains("sqlx::"), "{name}: {} names sqlx", file.display());
        }
    }
}

/// A vendor's library is spoken to in one folder, behind the contract.
#[test]
fn only_the_provider_names_the_pkcs11_binding() {
    for folder in ["src", "crates", "hsm-sim/src", "claims/src"] {
        for file in rust_files(&root().join(folder)) {
            let place = file.strip_prefix(root()).unwrap();
            let allowed = place.starts_with("crates/hsm/src/pkcs11") || place.starts_with("crates/hsm/tests");
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(allowed || !text.contains("cryptoki::"), "{} names the binding", place.display());
        }
    }
}

/// The policy engine is behind one interface, so that another can take its place.
#[test]
fn only_the_policy_crate_names_the_engine() {
    for folder in ["src", "crates", "hsm-sim/src", "claims/src"] {
        for file in rust_files(&root().join(folder)) {
            let place = file.strip_prefix(root()).unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            let allowed = place.starts_with("crates/policy");
            assert!(allowed || !text.contains("cedar_policy::"), "{} names the engine", place.display());
        }
    }
}

/// P6: the simulator's device and state are in the same crate as its client; the gateway names the client alone.
#[test]
fn p6_the_gateway_names_only_the_client_of_the_simulator() {
    for folder in ["src", "crates/vault/src"] {
        for file in rust_files(&root().join(folder)).iter().filter(|file| !is_test_only(file)) {
            let text = std::fs::read_to_string(file).unwrap();
            for (at, _) in text.match_indices("hsm_sim::") {
                assert!(text[at..].starts_with("hsm_sim::client"), "{} names more", file.display());
            }
        }
    }
}

/// Whether the file's parent declares it under `#[cfg(test)]`.
fn is_test_only(file: &Path) -> bool {
    let parent = file.parent().unwrap().with_extension("rs");
    let name = file.file_stem().unwrap().to_string_lossy();
    std::fs::read_to_string(parent).is_ok_and(|text| text.contains(&format!("#[cfg(test)]\nmod {name};")))
}

/// The command line's own client stands on the portal's side; it reads answers, never a card.
#[test]
fn bodies_are_gathered_in_one_place_of_the_gateway() {
    let mut places = Vec::new();
    for folder in ["src", "crates/vault/src"] {
        for file in rust_files(&root().join(folder)) {
            let text = std::fs::read_to_string(&file).unwrap();
            if text.contains("clippy::disallowed_methods") {
                places.push(file.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    let allowed = ["src/cli/client.rs", "crates/vault/src/clear/intake.rs"];
    assert_eq!(places, allowed.map(PathBuf::from));
}

/// `src/lib.rs` lists the modules in calling order: each may use only those below it.
#[test]
fn modules_use_only_what_stands_below_them() {
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let order: Vec<String> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')))
        .map(str::to_owned)
        .collect();
    let place =
        |module: &str| order.iter().position(|name| name == module).unwrap_or_else(|| panic!("{module}?"));
    for module in &order {
        let mut files = rust_files(&root().join("src").join(module));
        files.push(root().join("src").join(format!("{module}.rs")));
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for used in used_modules(&text, &order) {
                assert!(
                    place(&used) >= place(module),
                    "{}: {module} uses {used}, which stands above it",
                    file.display()
                );
            }
        }
    }
}

/// The first path segments after `crate::`, in single and grouped imports.
fn used_modules(text: &str, order: &[String]) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let names: Vec<&str> = if let Some(group) = rest.strip_prefix('{') {
            group.split('}').next().unwrap().split(',').map(str::trim).collect()
        } else {
            vec![rest]
        };
        for name in names {
            let word: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if order.contains(&word) {
                used.insert(word);
            }
        }
    }
    used
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// One mistake a file; each must be refused by the compiler, for the reason that the file's first line gives. The
/// file without a mistake must compile, or the refusals would prove nothing.
#[test]
fn mistakes_at_the_walls_do_not_compile() {
    let mut cases = 0;
    for file in rust_files(&root().join("tests/walls")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let expected = text.lines().next().unwrap().strip_prefix("//! expect: ").unwrap();
        let outcomes: Vec<String> = libraries("vault").iter().map(|vault| compile(&file, vault)).collect();
        let held = outcomes.iter().any(|outcome| match expected {
            "compiles" => outcome.is_empty(),
            code => outcome.contains(&format!("error[{code}]")),
        });
        assert!(held, "{} gives not {expected} but:\n{}", file.display(), outcomes.join("\n"));
        cases += 1;
    }
    assert!(cases >= 9, "only {cases} files were tried");
}

/// What the compiler says about the file; nothing when it compiles. Its output goes to a folder of its own: the
/// compiler renames it into place, and in place of the null device that would break every program on the machine.
fn compile(file: &Path, vault: &Path) -> String {
    let target = Path::new(env!("CARGO_BIN_EXE_pangate")).parent().unwrap();
    let output_folder = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()))
        .args(["--edition", "2024", "--crate-type", "bin", "--emit", "metadata", "--out-dir"])
        .arg(output_folder.path())
        .arg("-L")
        .arg(format!("dependency={}", target.join("deps").display()))
        .arg("--extern")
        .arg(format!("pangate={}", target.join("libpangate.rlib").display()))
        .arg("--extern")
        .arg(format!("vault={}", vault.display()))
        .arg(file)
        .output()
        .unwrap();
    if output.status.success() { String::new() } else { String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// Every build of one of our libraries in the target folder, the newest first.
fn libraries(name: &str) -> Vec<PathBuf> {
    let deps = Path::new(env!("CARGO_BIN_EXE_pangate")).parent().unwrap().join("deps");
    let mut found: Vec<PathBuf> = std::fs::read_dir(deps)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            file.starts_with(&format!("lib{name}-")) && file.ends_with(".rlib")
        })
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().modified().unwrap()));
    found
}

#[test]
fn our_files_are_rooms_of_at_most_400_lines() {
    for folder in ["src", "crates", "hsm-sim", "claims", "tests", "benches"] {
        for file in rust_files(&root().join(folder)) {
            let lines = std::fs::read_to_string(&file).unwrap().lines().count();
            assert!(lines <= 400, "{} has {lines} lines", file.display());
        }
    }
}
