//! The suite that holds every provider to the contract. It runs against any device, in any process; every case is
//! counted, and a case is skipped only because the provider declared that it lacks the capability.
//! Kept out: anything that knows which provider it is talking to.

mod device;
mod life;
mod macs;
mod sealing;
mod signing;

use crate::context::Context;
use crate::data_key::WrapSuite;
use crate::error::HsmError;
use crate::names::{KeyRef, Realm};
use crate::verbs::{Approval, Capabilities, Capability, Hsm};

/// Makes one device session.
pub type Connect<'a> = &'a dyn Fn() -> Result<Box<dyn Hsm>, HsmError>;

/// Gives the agreement of two to one act on the device, named in the device's own words: `create LABEL`,
/// `rotate LABEL`, `status LABEL#VERSION STATUS`, `destroy LABEL#VERSION`.
pub type Approve<'a> = &'a dyn Fn(&str) -> Approval;

/// The keys of the device under test. All must be active and of the device's own realm.
#[derive(Clone, Debug)]
pub struct TestKeys {
    /// The device's realm.
    pub realm: Realm,
    /// A key that seals data keys.
    pub kek: KeyRef,
    /// A MAC key.
    pub mac: KeyRef,
    /// Another MAC key.
    pub other_mac: KeyRef,
    /// A signing key.
    pub sign: KeyRef,
}

/// One case that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which case.
    pub case: &'static str,
    /// What was seen.
    pub what: String,
}

/// The count of a run. A provider conforms when nothing failed and everything skipped is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Cases that held.
    pub passed: Vec<&'static str>,
    /// Cases that did not.
    pub failed: Vec<Failure>,
    /// Cases not run, each with the capability that the provider does not declare.
    pub skipped: Vec<(&'static str, Capability)>,
}

impl Report {
    /// How many cases the suite has.
    #[must_use]
    pub fn total(&self) -> usize {
        self.passed.len() + self.failed.len() + self.skipped.len()
    }

    /// The count in one line, every skip with the capability that is missing.
    #[must_use]
    pub fn summary(&self) -> String {
        let (passed, failed, skipped) = (self.passed.len(), self.failed.len(), self.skipped.len());
        let mut line = format!("conformance: {passed} passed, {failed} failed, {skipped} skipped");
        for (case, missing) in &self.skipped {
            line.push_str(&format!("\n  skipped {case}: the device does not declare {missing:?}"));
        }
        line
    }

    /// Did every case that ran hold?
    #[must_use]
    pub fn holds(&self) -> bool {
        self.failed.is_empty() && !self.passed.is_empty()
    }
}

/// Runs every case that changes no key, against sessions that `connect` makes.
#[must_use]
pub fn run(connect: Connect<'_>, keys: &TestKeys) -> Report {
    run_cases(connect, keys, &|_| Approval::Caller, data_plane())
}

/// Runs every case: those of [`run`], then those about the life of keys, which make, rotate and destroy keys under
/// labels that begin with `life/`. `approve` is asked for every such act.
#[must_use]
pub fn run_all(connect: Connect<'_>, keys: &TestKeys, approve: Approve<'_>) -> Report {
    let mut cases = data_plane();
    cases.extend_from_slice(life::CASES);
    run_cases(connect, keys, approve, cases)
}

fn run_cases(connect: Connect<'_>, keys: &TestKeys, approve: Approve<'_>, cases: Vec<Case>) -> Report {
    let mut report = Report::default();
    let declared = match connect().and_then(|hsm| hsm.describe()) {
        Ok(info) => info.capabilities,
        Err(error) => {
            report.failed.push(Failure { case: "the_device_describes_itself", what: error.to_string() });
            return report;
        }
    };
    for case in cases {
        run_case(&case, connect, keys, approve, declared, &mut report);
    }
    report
}

fn run_case(
    case: &Case,
    connect: Connect<'_>,
    keys: &TestKeys,
    approve: Approve<'_>,
    declared: Capabilities,
    report: &mut Report,
) {
    if let Some(&missing) = case.needs.iter().find(|&&capability| !declared.has(capability)) {
        report.skipped.push((case.name, missing));
        return;
    }
    let verdict = connect()
        .map_err(|error| format!("no session: {error}"))
        .and_then(|hsm| (case.act)(&Bench { hsm: &*hsm, connect, keys, approve }));
    match verdict {
        Ok(()) => report.passed.push(case.name),
        Err(what) => report.failed.push(Failure { case: case.name, what }),
    }
}

fn data_plane() -> Vec<Case> {
    [device::CASES, sealing::CASES, macs::CASES, signing::CASES].concat()
}

/// What a case says: nothing, or what it saw.
type Verdict = Result<(), String>;

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    needs: &'static [Capability],
    act: fn(&Bench<'_>) -> Verdict,
}

/// What a case works with.
struct Bench<'a> {
    hsm: &'a dyn Hsm,
    connect: Connect<'a>,
    keys: &'a TestKeys,
    approve: Approve<'a>,
}

impl Bench<'_> {
    fn context(&self, tenant: &str, epoch: u32) -> Result<Context, String> {
        self.context_with(&self.keys.kek, self.keys.realm, tenant, "card", epoch, [0xA5; 16])
    }

    fn context_with(
        &self,
        kek: &KeyRef,
        realm: Realm,
        tenant: &str,
        class: &str,
        epoch: u32,
        id: [u8; 16],
    ) -> Result<Context, String> {
        Context::data_key(realm, kek, WrapSuite::Aes256GcmData, id, tenant, class, epoch).map_err(said)
    }

    fn other_realm(&self) -> Realm {
        match self.keys.realm {
            Realm::Live => Realm::Test,
            Realm::Test => Realm::Live,
        }
    }

    fn session(&self) -> Result<Box<dyn Hsm>, String> {
        (self.connect)().map_err(said)
    }
}

fn said(error: HsmError) -> String {
    format!("unexpected error: {error}")
}

fn ensure(holds: bool, what: &str) -> Verdict {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// The outcome must be exactly this error.
fn expect_error<T>(outcome: Result<T, HsmError>, want: HsmError, what: &str) -> Verdict {
    match outcome {
        Err(error) if error == want => Ok(()),
        Err(error) => Err(format!("{what}: {error:?} instead of {want:?}")),
        Ok(_) => Err(format!("{what}: accepted")),
    }
}
