//! The stored format, frozen: vectors that an independent implementation made, and what we seal opened by it.

use super::*;
use crate::clear::open::open;
use crate::envelope::Envelope;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;
use tokens::{Tenant, Token};

#[derive(Deserialize, Serialize)]
struct Vector {
    name: String,
    data_key: String,
    data_key_id: String,
    tenant: String,
    token: String,
    number: String,
    salt: String,
    nonce: String,
    envelope: String,
}

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let bytes: Vec<u8> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.try_into().unwrap()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn vectors() -> Vec<Vector> {
    serde_json::from_slice(&std::fs::read(tests().join("vectors/envelope_v1.json")).unwrap()).unwrap()
}

/// A Python with the package `cryptography`, in a virtual environment below the build directory.
fn python() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/envelope-venv");
    let python = home.join("bin/python");
    let ready = || {
        Command::new(&python)
            .args(["-c", "import cryptography"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !ready() {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&home).output().unwrap();
        assert!(made.status.success(), "python3 -m venv failed; install python3-venv");
        let installed =
            Command::new(&python).args(["-m", "pip", "install", "--quiet", "cryptography"]).output().unwrap();
        assert!(
            installed.status.success() && ready(),
            "pip install cryptography failed; a package index is needed"
        );
    }
    python
}

fn independent(verb: &str, file: &Path) -> String {
    let output = Command::new(python())
        .arg(tests().join("independent_envelope.py"))
        .arg(verb)
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_golden_envelope_is_written_and_opened_byte_for_byte() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 6);
    for vector in vectors {
        let (tenant, token) = (Tenant::parse(&vector.tenant).unwrap(), Token::parse(&vector.token).unwrap());
        let binding = Binding { tenant: &tenant, token: &token };
        let (key, id) = (hex::<32>(&vector.data_key), hex::<16>(&vector.data_key_id));
        let draw = Draw { salt: hex(&vector.salt), nonce: hex(&vector.nonce) };
        let pan = Pan::parse(&vector.number).ok().unwrap();

        let sealed = seal_with(&key, &id, &binding, &pan, &draw).unwrap();

        assert_eq!(to_hex(&sealed), vector.envelope, "{}", vector.name);
        let opened = open(&key, &binding, &Envelope::parse(&hex::<LENGTH>(&vector.envelope)).unwrap());
        assert_eq!(opened.ok().unwrap().digits(), vector.number.as_bytes(), "{}", vector.name);
    }
}

#[test]
fn an_independent_implementation_makes_the_same_envelopes_and_opens_ours() {
    let golden = tests().join("vectors/envelope_v1.json");
    let theirs: Vec<Vector> = serde_json::from_str(&independent("seal", &golden)).unwrap();
    let mut ours = vectors();
    assert_eq!(theirs.len(), ours.len());
    for (their, our) in theirs.iter().zip(&mut ours) {
        assert_eq!(their.envelope, our.envelope, "{}", our.name);
        let (tenant, token) = (Tenant::parse(&our.tenant).unwrap(), Token::parse(&our.token).unwrap());
        let pan = Pan::parse(&our.number).ok().unwrap();
        let binding = Binding { tenant: &tenant, token: &token };
        our.envelope = to_hex(&seal(&hex(&our.data_key), &hex(&our.data_key_id), &binding, &pan).unwrap());
        assert_ne!(their.envelope, our.envelope, "a fresh draw");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_json::to_vec(&ours).unwrap()).unwrap();

    let opened = independent("open", file.path());

    let numbers: Vec<&str> = ours.iter().map(|vector| vector.number.as_str()).collect();
    assert_eq!(opened.lines().collect::<Vec<_>>(), numbers);
}
