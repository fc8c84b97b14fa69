//! Cases about the life of keys: made, activated, rotated, stopped, destroyed, and never backwards. Each case works on
//! labels of its own and leaves the keys of the other cases alone.

use super::{Bench, Case, Verdict, ensure, expect_error, said};
use crate::context::Context;
use crate::data_key::{SealedDataKey, WrapSuite};
use crate::error::HsmError;
use crate::names::{KeyFilter, KeyInfo, KeyKind, KeyLabel, KeyRef, KeyStatus, KeyVersion};
use crate::verbs::{Approval, Capability, DestructionRecord, KeySpec};

const SEALS: &[Capability] =
    &[Capability::CreateKey, Capability::SetStatus, Capability::DestroyKey, Capability::SealGcm];
const MACS: &[Capability] = &[Capability::CreateKey, Capability::MacHmacSha256];
const SIGNS: &[Capability] = &[Capability::CreateKey, Capability::SignEd25519];

pub(super) const CASES: &[Case] = &[
    Case { name: "a_created_key_protects_nothing_until_it_is_activated", needs: SEALS, act: created },
    Case {
        name: "rotation_fences_the_kek_before_and_what_it_sealed_still_opens",
        needs: SEALS,
        act: rotated,
    },
    Case { name: "a_session_that_knew_the_key_meets_the_fence_too", needs: SEALS, act: fenced_elsewhere },
    Case { name: "an_older_mac_key_goes_on_after_a_rotation", needs: MACS, act: rotated_mac },
    Case { name: "an_older_signing_key_signs_no_more_and_stays_listed", needs: SIGNS, act: rotated_signer },
    Case { name: "a_status_goes_one_way", needs: SEALS, act: one_way },
    Case { name: "a_suspended_key_does_nothing_and_can_be_resumed", needs: SEALS, act: suspended },
    Case { name: "a_key_in_use_is_not_destroyed", needs: SEALS, act: in_use },
    Case { name: "a_destroyed_key_opens_nothing", needs: SEALS, act: destroyed },
    Case { name: "a_version_is_never_given_twice", needs: SEALS, act: versions },
    Case { name: "a_key_goes_on_counting_from_another_device", needs: SEALS, act: at_least },
    Case { name: "a_forged_ticket_changes_nothing", needs: SEALS, act: forged },
    Case { name: "an_unknown_key_has_no_life", needs: SEALS, act: unknown },
];

fn label(text: &str) -> Result<KeyLabel, String> {
    KeyLabel::new(text).map_err(|fault| fault.to_string())
}

fn spec(label: &KeyLabel, kind: KeyKind) -> KeySpec {
    KeySpec { label: label.clone(), kind, at_least: KeyVersion::FIRST }
}

impl Bench<'_> {
    fn create(&self, label: &KeyLabel, kind: KeyKind) -> Result<KeyInfo, String> {
        let approval = (self.approve)(&format!("create {label}"));
        self.hsm.create_key(&spec(label, kind), &approval).map_err(said)
    }

    fn rotate(&self, label: &KeyLabel, kind: KeyKind) -> Result<KeyInfo, String> {
        let approval = (self.approve)(&format!("rotate {label}"));
        self.hsm.rotate_key(&spec(label, kind), &approval).map_err(said)
    }

    fn status(&self, key: &KeyRef, status: KeyStatus) -> Result<(), HsmError> {
        let approval = (self.approve)(&format!("status {key} {}", status.as_str()));
        self.hsm.set_status(key, status, &approval)
    }

    fn destroy(&self, key: &KeyRef) -> Result<DestructionRecord, HsmError> {
        let approval = (self.approve)(&format!("destroy {key}"));
        self.hsm.destroy_key(key, &approval)
    }

    fn info(&self, key: &KeyRef) -> Result<KeyInfo, String> {
        let filter = KeyFilter { label: Some(key.label.clone()), kind: None };
        let list = self.hsm.keys(&filter).map_err(said)?;
        list.into_iter().find(|info| info.key == *key).ok_or_else(|| "the key is not listed".to_owned())
    }

    fn binding(&self, kek: &KeyRef) -> Result<Context, String> {
        self.context_with(kek, self.keys.realm, "tenant-life", "card", 1, [0x3C; 16])
    }

    fn seal(&self, kek: &KeyRef) -> Result<SealedDataKey, HsmError> {
        let context = self.binding(kek).map_err(|_| HsmError::Denied)?;
        self.hsm.new_data_key(kek, &context).map(|(_, sealed)| sealed)
    }
}

/// Refused because of where the key is in its life.
fn refused<T>(outcome: Result<T, HsmError>, have: KeyStatus, what: &str) -> Verdict {
    match outcome {
        Err(HsmError::KeyStatus { have: is, .. }) if is == have => Ok(()),
        Err(error) => Err(format!("{what}: {error:?} instead of a refusal of a key that is {have:?}")),
        Ok(_) => Err(format!("{what}: accepted")),
    }
}

/// A key that is gone is unknown, or known to be destroyed.
fn gone<T>(outcome: Result<T, HsmError>, what: &str) -> Verdict {
    match outcome {
        Err(HsmError::KeyNotFound | HsmError::KeyStatus { have: KeyStatus::Destroyed, .. }) => Ok(()),
        Err(error) => Err(format!("{what}: {error:?} of a key that is gone")),
        Ok(_) => Err(format!("{what}: accepted")),
    }
}

fn created(bench: &Bench<'_>) -> Verdict {
    let made = bench.create(&label("life/created")?, KeyKind::Kek256)?;
    ensure(made.status == KeyStatus::PreActive, "a created key does not wait")?;
    ensure(made.realm == bench.keys.realm && made.local && !made.extractable, "its facts are wrong")?;
    ensure(bench.info(&made.key)? == made, "it is listed with other facts")?;
    refused(bench.seal(&made.key), KeyStatus::PreActive, "sealed before it was activated")?;
    bench.status(&made.key, KeyStatus::Active).map_err(said)?;
    ensure(bench.info(&made.key)?.status == KeyStatus::Active, "it is not active")?;
    bench.seal(&made.key).map(drop).map_err(said)
}

fn rotated(bench: &Bench<'_>) -> Verdict {
    let label = label("life/rotated")?;
    let first = bench.rotate(&label, KeyKind::Kek256)?;
    ensure(first.status == KeyStatus::Active, "the first version is not active")?;
    let context = bench.binding(&first.key)?;
    let (key, sealed) = bench.hsm.new_data_key(&first.key, &context).map_err(said)?;
    let second = bench.rotate(&label, KeyKind::Kek256)?;
    ensure(second.key.version > first.key.version, "the versions do not count upwards")?;
    ensure(second.status == KeyStatus::Active, "the new version is not active")?;
    ensure(bench.info(&first.key)?.status == KeyStatus::Deactivated, "the old version is not deactivated")?;
    ensure(second.kcv != bench.info(&first.key)?.kcv, "two versions have one check value")?;
    refused(bench.seal(&first.key), KeyStatus::Deactivated, "sealed behind the fence")?;
    let opened = bench.hsm.open_data_key(&sealed, &context).map_err(said)?;
    ensure(opened.expose() == key.expose(), "it opened to another key")?;
    let to = bench.binding(&second.key)?;
    let moved = bench.hsm.reseal_data_key(&sealed, &context, &second.key, &to).map_err(said)?;
    let opened = bench.hsm.open_data_key(&moved, &to).map_err(said)?;
    ensure(opened.expose() == key.expose(), "resealing changed the key")?;
    let back = bench.hsm.reseal_data_key(&moved, &to, &first.key, &context);
    refused(back, KeyStatus::Deactivated, "resealed to the old version")
}

fn fenced_elsewhere(bench: &Bench<'_>) -> Verdict {
    let label = label("life/fenced")?;
    let first = bench.rotate(&label, KeyKind::Kek256)?;
    let (elsewhere, context) = (bench.session()?, bench.binding(&first.key)?);
    let (_, sealed) = elsewhere.new_data_key(&first.key, &context).map_err(said)?;
    let second = bench.rotate(&label, KeyKind::Kek256)?;
    let outcome = elsewhere.new_data_key(&first.key, &context);
    refused(outcome, KeyStatus::Deactivated, "another session sealed behind the fence")?;
    elsewhere.open_data_key(&sealed, &context).map_err(said)?;
    let context = bench.binding(&second.key)?;
    elsewhere.new_data_key(&second.key, &context).map(drop).map_err(said)
}

fn rotated_mac(bench: &Bench<'_>) -> Verdict {
    let label = label("life/mac")?;
    let first = bench.rotate(&label, KeyKind::Mac256)?;
    let before = bench.hsm.mac(&first.key, b"a message").map_err(said)?;
    let second = bench.rotate(&label, KeyKind::Mac256)?;
    let after = bench.hsm.mac(&first.key, b"a message").map_err(said)?;
    ensure(before == after, "the older key answers otherwise")?;
    let other = bench.hsm.mac(&second.key, b"a message").map_err(said)?;
    ensure(other != before, "two versions are one key")
}

fn rotated_signer(bench: &Bench<'_>) -> Verdict {
    let label = label("life/sign")?;
    let first = bench.rotate(&label, KeyKind::SignEd25519)?;
    bench.hsm.sign(&first.key, b"a message").map_err(said)?;
    let second = bench.rotate(&label, KeyKind::SignEd25519)?;
    refused(bench.hsm.sign(&first.key, b"a message"), KeyStatus::Deactivated, "the older key signed")?;
    bench.hsm.sign(&second.key, b"a message").map_err(said)?;
    let listed = bench.info(&first.key)?;
    ensure(listed.public.is_some() && listed.public == first.public, "the older public half is gone")
}

fn one_way(bench: &Bench<'_>) -> Verdict {
    let key = bench.rotate(&label("life/one-way")?, KeyKind::Kek256)?.key;
    refused(bench.status(&key, KeyStatus::PreActive), KeyStatus::Active, "back to pre-active")?;
    bench.status(&key, KeyStatus::Deactivated).map_err(said)?;
    for back in [KeyStatus::Active, KeyStatus::PreActive, KeyStatus::Suspended] {
        refused(bench.status(&key, back), KeyStatus::Deactivated, "back from deactivated")?;
    }
    bench.status(&key, KeyStatus::Compromised).map_err(said)?;
    for back in [KeyStatus::Active, KeyStatus::Deactivated, KeyStatus::Suspended] {
        refused(bench.status(&key, back), KeyStatus::Compromised, "back from compromised")?;
    }
    refused(bench.seal(&key), KeyStatus::Compromised, "sealed with a compromised key")
}

fn suspended(bench: &Bench<'_>) -> Verdict {
    let key = bench.rotate(&label("life/suspended")?, KeyKind::Kek256)?.key;
    let sealed = bench.seal(&key).map_err(said)?;
    let context = bench.binding(&key)?;
    bench.status(&key, KeyStatus::Suspended).map_err(said)?;
    refused(bench.seal(&key), KeyStatus::Suspended, "sealed while suspended")?;
    let opened = bench.hsm.open_data_key(&sealed, &context);
    refused(opened, KeyStatus::Suspended, "opened while suspended")?;
    bench.status(&key, KeyStatus::Active).map_err(said)?;
    bench.hsm.open_data_key(&sealed, &context).map_err(said)?;
    bench.seal(&key).map(drop).map_err(said)
}

fn in_use(bench: &Bench<'_>) -> Verdict {
    let key = bench.rotate(&label("life/in-use")?, KeyKind::Kek256)?.key;
    refused(bench.destroy(&key), KeyStatus::Active, "destroyed while active")?;
    bench.status(&key, KeyStatus::Suspended).map_err(said)?;
    refused(bench.destroy(&key), KeyStatus::Suspended, "destroyed while suspended")?;
    bench.status(&key, KeyStatus::Active).map_err(said)?;
    bench.seal(&key).map(drop).map_err(said)
}

fn destroyed(bench: &Bench<'_>) -> Verdict {
    let key = bench.rotate(&label("life/destroyed")?, KeyKind::Kek256)?.key;
    let sealed = bench.seal(&key).map_err(said)?;
    let context = bench.binding(&key)?;
    bench.status(&key, KeyStatus::Deactivated).map_err(said)?;
    let elsewhere = bench.session()?;
    elsewhere.open_data_key(&sealed, &context).map_err(said)?;
    let record = bench.destroy(&key).map_err(said)?;
    ensure(record.key == key, "the record names another key")?;
    gone(bench.hsm.open_data_key(&sealed, &context), "opened")?;
    gone(elsewhere.open_data_key(&sealed, &context), "opened in a session that knew the key")?;
    gone(bench.seal(&key), "sealed")?;
    gone(bench.status(&key, KeyStatus::Active), "activated")?;
    gone(bench.destroy(&key), "destroyed again")
}

fn versions(bench: &Bench<'_>) -> Verdict {
    let label = label("life/versions")?;
    let first = bench.create(&label, KeyKind::Kek256)?.key;
    bench.destroy(&first).map_err(said)?;
    let second = bench.rotate(&label, KeyKind::Kek256)?.key;
    ensure(second.version > first.version, "a destroyed version was given again")?;
    bench.status(&second, KeyStatus::Deactivated).map_err(said)?;
    bench.destroy(&second).map_err(said)?;
    let third = bench.create(&label, KeyKind::Kek256)?.key;
    ensure(third.version > second.version, "a destroyed version was given again")
}

fn at_least(bench: &Bench<'_>) -> Verdict {
    let label = label("life/at-least")?;
    let floor = KeyVersion::new(7).unwrap_or(KeyVersion::FIRST);
    let spec = KeySpec { label: label.clone(), kind: KeyKind::Kek256, at_least: floor };
    let approval = (bench.approve)(&format!("rotate {label}"));
    let made = bench.hsm.rotate_key(&spec, &approval).map_err(said)?;
    ensure(made.key.version == floor, "the first version is not the one asked for")?;
    let next = bench.rotate(&label, KeyKind::Kek256)?;
    ensure(Some(next.key.version) == floor.next(), "it does not count on from there")
}

fn forged(bench: &Bench<'_>) -> Verdict {
    let label = label("life/forged")?;
    let forged = || Approval::Tickets { first: vec![0x51; 64].into(), second: vec![0x52; 64].into() };
    let spec = spec(&label, KeyKind::Kek256);
    expect_error(bench.hsm.create_key(&spec, &forged()), HsmError::Denied, "created")?;
    expect_error(bench.hsm.rotate_key(&spec, &forged()), HsmError::Denied, "rotated")?;
    let key = &bench.keys.kek;
    expect_error(bench.hsm.set_status(key, KeyStatus::Deactivated, &forged()), HsmError::Denied, "moved")?;
    expect_error(bench.hsm.destroy_key(key, &forged()), HsmError::Denied, "destroyed")?;
    let listed = bench.hsm.keys(&KeyFilter { label: Some(label), kind: None }).map_err(said)?;
    ensure(listed.is_empty(), "a key was made")?;
    ensure(bench.info(key)?.status == KeyStatus::Active, "a key was moved")
}

fn unknown(bench: &Bench<'_>) -> Verdict {
    let key = label("no/such")?.at(KeyVersion::FIRST);
    expect_error(bench.status(&key, KeyStatus::Deactivated), HsmError::KeyNotFound, "moved")?;
    expect_error(bench.destroy(&key), HsmError::KeyNotFound, "destroyed")?;
    let suite = WrapSuite::Aes256GcmData;
    let context = Context::data_key(bench.keys.realm, &key, suite, [0; 16], "t", "card", 1).map_err(said)?;
    let outcome = bench.hsm.new_data_key(&key, &context);
    expect_error(outcome, HsmError::KeyNotFound, "sealed")
}
