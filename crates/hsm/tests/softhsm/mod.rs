//! SoftHSM2 for one test: a token directory of its own and, because the library's state is the process's and its
//! settings come from the environment, a process of its own. A test calls [`alone`], which runs the test's body again
//! in a child that sees the directory. SoftHSM2 must be installed: a test without it fails.
#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its own part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use hsm::conformance::TestKeys;
use hsm::pkcs11::{Pkcs11, Pkcs11Settings};
use hsm::{KeyKind, KeyLabel, KeyRef, KeyVersion, Realm};
use secrecy::SecretString;

/// Where Debian keeps the library.
pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// The user's PIN of every test token.
pub(crate) const PIN: &str = "87654321";
/// The label of the token that every test starts with.
pub(crate) const LABEL: &str = "lab";
const SO_PIN: &str = "12345678";
const DIR: &str = "PANGATE_TEST_SOFTHSM_DIR";

/// The keys a gateway needs.
pub(crate) const FOUR: [(KeyLabel, KeyKind); 4] = [
    (KeyLabel::KEK_CARD, KeyKind::Kek256),
    (KeyLabel::MAC_PAN, KeyKind::Mac256),
    (KeyLabel::MAC_REQUEST, KeyKind::Mac256),
    (KeyLabel::SIGN_AUDIT, KeyKind::SignEd25519),
];

/// A token directory, as the test in its own process sees it.
pub(crate) struct SoftHsm {
    dir: PathBuf,
}

/// Runs the body of the test `name` in a process of its own with a fresh token.
pub(crate) fn alone(name: &str, body: impl FnOnce(&SoftHsm)) {
    alone_with(name, |_| {}, body);
}

/// As [`alone`], with more said to the child's environment.
pub(crate) fn alone_with(name: &str, environment: impl FnOnce(&mut Command), body: impl FnOnce(&SoftHsm)) {
    if let Some(dir) = std::env::var_os(DIR) {
        body(&SoftHsm { dir: PathBuf::from(dir) });
        return;
    }
    assert!(Path::new(MODULE).is_file(), "{MODULE} is missing; run: apt-get install softhsm2");
    let dir = tempfile::tempdir().unwrap();
    let softhsm = SoftHsm { dir: dir.path().to_owned() };
    std::fs::create_dir(softhsm.tokens()).unwrap();
    let settings = format!(
        "directories.tokendir = {}/\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n\
         slots.mechanisms = ALL\nlibrary.reset_on_fork = true\n",
        softhsm.tokens().display()
    );
    std::fs::write(softhsm.settings_file(), settings).unwrap();
    softhsm.init_token(LABEL);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture"]).env(DIR, dir.path());
    child.env("SOFTHSM2_CONF", softhsm.settings_file());
    environment(&mut child);
    let output = child.output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Counts are for everybody to see, not only when a test fails: past the test runner's capture.
    for line in said.lines().filter(|line| line.contains("conformance:") || line.starts_with("  skipped")) {
        let _ = writeln!(std::io::stdout(), "{line}");
    }
    assert!(
        output.status.success(),
        "{name} failed in its own process ({}):\n{said}\n{complained}",
        output.status
    );
    assert!(said.contains("1 passed"), "{name} is not the test's own name");
}

impl SoftHsm {
    /// The directory of all tokens.
    pub(crate) fn tokens(&self) -> PathBuf {
        self.dir.join("tokens")
    }

    /// A path beside it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn settings_file(&self) -> PathBuf {
        self.dir.join("softhsm2.conf")
    }

    /// Makes a token.
    pub(crate) fn init_token(&self, label: &str) {
        let arguments = ["--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN];
        self.run("softhsm2-util", &arguments);
    }

    /// Lets a vendor's tool do something to the token, in another process.
    pub(crate) fn tool(&self, arguments: &[&str]) -> String {
        let entry = ["--module", MODULE, "--token-label", LABEL, "--login", "--pin", PIN];
        self.run("pkcs11-tool", &[&entry[..], arguments].concat())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output =
            Command::new(program).args(arguments).env("SOFTHSM2_CONF", self.settings_file()).output();
        let output =
            output.unwrap_or_else(|error| panic!("{program}: {error}; run: apt-get install softhsm2 opensc"));
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {complained}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The settings of a device on a token of this directory.
    pub(crate) fn settings(&self, label: &str, pin: &str) -> Pkcs11Settings {
        Pkcs11Settings {
            module: PathBuf::from(MODULE),
            token_label: label.to_owned(),
            pin: SecretString::from(pin),
            realm: Realm::Test,
        }
    }

    /// A device on a token, nothing asked of it yet.
    pub(crate) fn device(&self, label: &str) -> Pkcs11 {
        Pkcs11::new(self.settings(label, PIN)).unwrap()
    }

    /// A device on the first token, with its realm and the four keys.
    pub(crate) fn prepared(&self) -> Pkcs11 {
        let device = self.device(LABEL);
        device.prepare(&FOUR).unwrap();
        device
    }

    /// The token directory goes away.
    pub(crate) fn take_away(&self) {
        std::fs::rename(self.tokens(), self.path("away")).unwrap();
    }

    /// And comes back.
    pub(crate) fn bring_back(&self) {
        std::fs::rename(self.path("away"), self.tokens()).unwrap();
    }
}

/// The first version of a key.
pub(crate) fn first(label: KeyLabel) -> KeyRef {
    label.at(KeyVersion::FIRST)
}

/// The four keys, as the conformance suite wants them.
pub(crate) fn conformance_keys() -> TestKeys {
    TestKeys {
        realm: Realm::Test,
        kek: first(KeyLabel::KEK_CARD),
        mac: first(KeyLabel::MAC_PAN),
        other_mac: first(KeyLabel::MAC_REQUEST),
        sign: first(KeyLabel::SIGN_AUDIT),
    }
}
