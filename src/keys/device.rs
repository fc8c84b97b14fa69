//! The device's part of a job: a new version, another status, a destruction. Each can be asked for again after a
//! crash: what the device shows decides what is left to do.

use super::act::Act;
use super::approval::Tickets;
use super::job::{Job, Kind, Step};
use super::{Keys, KeysError, letters};
use crate::record::{Event, rfc3339};
use audit::{Action, KeyName, Resource};
use hsm::{Approval, DestructionRecord, KeyInfo, KeyLabel, KeyRef, KeySpec, KeyStatus, KeyVersion};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::UNIX_EPOCH;

/// The tickets of both people; they live as long as the request that brought the second ones.
pub(in crate::keys) struct Agreed {
    pub(in crate::keys) first: Tickets,
    pub(in crate::keys) second: Tickets,
}

/// What a change of the device's keys rests on.
#[derive(Clone, Copy)]
pub(in crate::keys) enum Word<'a> {
    /// Two people's tickets, of whom the second waits for the answer.
    Given(&'a Agreed),
    /// An agreement that is still good, or a policy that asks nobody; whoever had the tickets is gone.
    Earlier,
    /// An agreement whose time is over: what it led to may be gone on with, and not begun.
    Over,
}

impl Keys {
    /// Does the device's part and sets the job's next step. Gives what is to be recorded with it. Without tickets
    /// (the gateway that had them is gone) a device with officers is not asked, and without an agreement that is
    /// still good none is: either it did its part, or the act has to be asked for again.
    pub(in crate::keys) async fn device_part(
        &self,
        job: &mut Job,
        word: Word<'_>,
    ) -> Result<Vec<Event>, KeysError> {
        // Before a key is destroyed, and after one is made.
        self.note_signing_keys().await?;
        let events = match job.kind.clone() {
            Kind::Rotate(label) => self.new_version(job, &label, word).await?,
            Kind::Retire(key) => self.retire(job, &key, word).await?,
            Kind::Destroy(key) => self.destroy(job, &key, word).await?,
            Kind::Migrate(_) => self.new_versions_there(job, word).await?,
            Kind::Reencrypt(_) | Kind::Shred(_) | Kind::Ceremony(_) | Kind::ResetFactor(_) => {
                return Err(KeysError::Integrity);
            }
        };
        self.forget_names().await;
        self.note_signing_keys().await?;
        Ok(events)
    }

    async fn new_version(
        &self,
        job: &mut Job,
        label: &KeyLabel,
        word: Word<'_>,
    ) -> Result<Vec<Event>, KeysError> {
        let made = self.make_version(label, job.from_version, self.officers().await, word).await?;
        job.to_version = Some(made.key.version.get());
        job.step = match label.as_str() {
            "kek/card" => Step::Rewrap,
            "mac/pan" => Step::Refingerprint,
            _ => Step::End,
        };
        Ok(vec![Event::success(Action::KeyRotate, resource(&made.key))])
    }

    /// The version after `from`: the one that is there already, or a new one.
    pub(in crate::keys) async fn make_version(
        &self,
        label: &KeyLabel,
        from: Option<u32>,
        officers: bool,
        word: Word<'_>,
    ) -> Result<KeyInfo, KeysError> {
        let versions = self.versions(label).await?;
        let newest = newest(&versions).ok_or(KeysError::UnknownKey)?;
        let begun = from.is_some_and(|from| newest.key.version.get() > from);
        if begun && newest.status == KeyStatus::Active {
            return Ok(newest.clone());
        }
        let spec = KeySpec {
            label: label.clone(),
            kind: newest.kind,
            at_least: newest.key.version.next().ok_or(KeysError::Integrity)?,
        };
        let consent = consent(&Act::Rotate(label.clone()).text(), officers, word)?;
        Ok(self.0.hsm.rotate_key(spec, consent).await?)
    }

    async fn retire(&self, job: &mut Job, key: &KeyRef, word: Word<'_>) -> Result<Vec<Event>, KeysError> {
        let versions = self.versions(&key.label).await?;
        let info = versions.iter().find(|info| info.key == *key).ok_or(KeysError::UnknownKey)?;
        if info.status != KeyStatus::Deactivated {
            let act = Act::Retire(key.clone());
            self.permissible(&act).await?;
            let consent = consent(&act.text(), self.officers_of(key).await?, word)?;
            self.0.hsm.set_status(key.clone(), KeyStatus::Deactivated, consent).await?;
        }
        job.step = if key.label == KeyLabel::MAC_PAN { Step::Forget } else { Step::End };
        Ok(vec![Event::success(Action::KeyStatus, resource(key))])
    }

    async fn destroy(&self, job: &mut Job, key: &KeyRef, word: Word<'_>) -> Result<Vec<Event>, KeysError> {
        job.step = Step::End;
        let versions = self.versions(&key.label).await?;
        let info = versions.iter().find(|info| info.key == *key);
        if info.is_none_or(|info| info.status == KeyStatus::Destroyed) {
            // It was destroyed just before a crash; the device's log has the record that the gateway lost.
            job.outcome =
                Some(json!({ "key": key.to_string(), "record": "in the device's log" }).to_string());
            return Ok(vec![Event::success(Action::KeyDestroy, resource(key))]);
        }
        let act = Act::Destroy(key.clone());
        self.permissible(&act).await?;
        let consent = consent(&act.text(), self.officers_of(key).await?, word)?;
        let record = self.0.hsm.destroy_key(key.clone(), consent).await?;
        let (outcome, evidence) = told(&record);
        job.outcome = Some(outcome);
        let gone = match KeyName::parse(key.label.as_str()) {
            Ok(label) => Resource::DestroyedKey { label, version: key.version.get(), evidence },
            Err(_) => Resource::None,
        };
        Ok(vec![Event::success(Action::KeyDestroy, gone)])
    }
}

/// Who answers for a change of the device's keys, if anybody does.
fn consent(act: &str, officers: bool, word: Word<'_>) -> Result<Approval, KeysError> {
    let agreed = match word {
        Word::Over => return Err(KeysError::ApprovalState("expired")),
        _ if !officers => return Ok(Approval::Caller),
        Word::Earlier => return Err(KeysError::ApprovalState("lost with the gateway that had it")),
        Word::Given(agreed) => agreed,
    };
    let ticket = |tickets: &Tickets| tickets.get(act).cloned().ok_or(KeysError::TicketRequired);
    Ok(Approval::Tickets { first: ticket(&agreed.first)?, second: ticket(&agreed.second)? })
}

/// The newest version of a key.
pub(in crate::keys) fn newest(versions: &[KeyInfo]) -> Option<&KeyInfo> {
    versions.iter().max_by_key(|info| info.key.version)
}

/// A key in the log's words.
pub(in crate::keys) fn resource(key: &KeyRef) -> Resource {
    match KeyName::parse(key.label.as_str()) {
        Ok(label) => Resource::Key { label, version: key.version.get() },
        Err(_) => Resource::None,
    }
}

/// The device's record as JSON, and its hash for the log.
fn told(record: &DestructionRecord) -> (String, [u8; 32]) {
    let at = record.at.duration_since(UNIX_EPOCH).map(|at| at.as_secs()).unwrap_or(0);
    let evidence = Sha256::new()
        .chain_update(record.key.to_string())
        .chain_update("\n")
        .chain_update(at.to_string())
        .chain_update("\n")
        .chain_update(&record.signature)
        .finalize();
    let spelt = letters::spelt(&record.signature);
    let time = rfc3339(i64::try_from(at).unwrap_or(0).saturating_mul(1_000_000));
    let outcome = json!({ "key": record.key.to_string(), "destroyed_at": time, "signature": spelt });
    (outcome.to_string(), evidence.into())
}

/// The version as the vault's tasks name it.
pub(in crate::keys) fn at(label: KeyLabel, version: Option<u32>) -> Result<KeyRef, KeysError> {
    version.and_then(KeyVersion::new).map(|version| label.at(version)).ok_or(KeysError::Integrity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_asked_only_for_what_is_agreed_to_at_that_time() {
        let act = "rotate kek/card";
        let tickets = || Tickets::from([(act.to_owned(), zeroize::Zeroizing::new(b"ticket".to_vec()))]);
        let agreed = Agreed { first: tickets(), second: tickets() };
        assert!(matches!(consent(act, true, Word::Given(&agreed)), Ok(Approval::Tickets { .. })));
        assert_eq!(
            consent("destroy kek/card#1", true, Word::Given(&agreed)).err(),
            Some(KeysError::TicketRequired)
        );
        // A device without officers goes by the agreement alone, so that has to be a fresh one.
        assert!(matches!(consent(act, false, Word::Earlier), Ok(Approval::Caller)));
        for (officers, word) in [(true, Word::Earlier), (true, Word::Over), (false, Word::Over)] {
            assert!(matches!(consent(act, officers, word), Err(KeysError::ApprovalState(_))));
        }
    }
}
