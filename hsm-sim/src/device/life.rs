//! The life of keys: made, rotated, moved along, destroyed. Every step needs two officers' tickets for exactly that
//! step, and is one write: keys, used tickets and log entry together or not at all.

use std::time::{Duration, UNIX_EPOCH};

use hsm::{
    Approval, DestructionRecord, HsmError, InputFault, KeyInfo, KeyKind, KeyLabel, KeyRef, KeySpec,
    KeyStatus, KeyVersion,
};

use super::account::{AccountName, Role};
use super::act::Act;
use super::command::Command;
use super::keyring::{Change, Keyring};
use super::keys::{KeyFacts, KeyObject};
use super::ledger::Ledger;
use super::tickets::{Desk, MAX_VALID};
use super::{Device, primitives};
use crate::log::{Actor, Event};
use crate::state::MAX_KEYS;

/// How far a key's count may jump ahead when it comes from another device. Without a bound one wrong number could
/// leave a key without a next version for ever.
const MAX_JUMP: u32 = 1024;

/// May a key go from one status to the other by `set_status`? One way, but for suspending and resuming (NIST
/// SP 800-57 part 1, section 7). Destroying is another command.
#[must_use]
pub fn may_become(from: KeyStatus, to: KeyStatus) -> bool {
    use KeyStatus::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended};
    match from {
        PreActive => matches!(to, Active | Compromised),
        Active => matches!(to, Suspended | Deactivated | Compromised),
        Suspended => matches!(to, Active | Deactivated | Compromised),
        Deactivated => matches!(to, Compromised),
        Compromised | Destroyed => false,
    }
}

/// May a key of this status be destroyed? Not one that protects, or that may come back to it.
#[must_use]
pub fn may_be_destroyed(status: KeyStatus) -> bool {
    matches!(status, KeyStatus::PreActive | KeyStatus::Deactivated | KeyStatus::Compromised)
}

impl Device {
    /// An officer's ticket for an act, good for `seconds` (at most a day), once.
    ///
    /// # Errors
    /// [`HsmError::InvalidInput`] for a text that is no act or a time that is out of range.
    pub fn approve(&self, officer: &AccountName, act: &str, seconds: u32) -> Result<Vec<u8>, HsmError> {
        let act = Act::parse(act).ok_or(HsmError::InvalidInput(InputFault::Malformed))?;
        match seconds {
            0 => return Err(HsmError::InvalidInput(InputFault::Empty)),
            1..=MAX_VALID => {}
            _ => return Err(HsmError::InvalidInput(InputFault::TooLong)),
        }
        let mut ledger = self.ledger();
        self.room(&ledger)?;
        self.keyring().awake()?;
        let ticket = self.desk(&ledger, self.clock.now()).issue(officer, &act, seconds)?;
        let mut draft = self.draft(&ledger);
        let actor = Actor::Account(officer.clone(), Role::Officer);
        self.write_down(&mut draft, actor, Event::Command(Command::Approve), &act.to_string());
        self.commit(&mut ledger, draft)?;
        Ok(ticket)
    }

    /// As [`hsm::Hsm::create_key`], for a known actor.
    ///
    /// # Errors
    /// As there.
    pub fn create_key_for(
        &self,
        who: &Actor,
        spec: &KeySpec,
        approval: &Approval,
    ) -> Result<KeyInfo, HsmError> {
        let act = Act::Create(spec.label.clone());
        self.control(who, Command::CreateKey, &act, approval, |keys, ledger, now| {
            let object = successor(keys, ledger, spec, KeyStatus::PreActive, now)?;
            let info = object.info(self.realm, now)?;
            Ok((vec![Change::Add(object)], info))
        })
    }

    /// As [`hsm::Hsm::rotate_key`], for a known actor.
    ///
    /// # Errors
    /// As there.
    pub fn rotate_key_for(
        &self,
        who: &Actor,
        spec: &KeySpec,
        approval: &Approval,
    ) -> Result<KeyInfo, HsmError> {
        let act = Act::Rotate(spec.label.clone());
        self.control(who, Command::RotateKey, &act, approval, |keys, ledger, now| {
            let object = successor(keys, ledger, spec, KeyStatus::Active, now)?;
            let info = object.info(self.realm, now)?;
            let mut changes = vec![Change::Add(object)];
            // Fingerprints are looked up under the version that made them; those versions end one by one.
            if spec.kind != KeyKind::Mac256 {
                let older = keys.live.values().filter(|old| old.facts.key.label == spec.label);
                let active = older.filter(|old| old.facts.status == KeyStatus::Active);
                changes.extend(
                    active.map(|old| Change::Facts(moved(&old.facts, KeyStatus::Deactivated, None, now))),
                );
            }
            Ok((changes, info))
        })
    }

    /// As [`hsm::Hsm::set_status`], for a known actor.
    ///
    /// # Errors
    /// As there.
    pub fn set_status_for(
        &self,
        who: &Actor,
        key: &KeyRef,
        status: KeyStatus,
        approval: &Approval,
    ) -> Result<(), HsmError> {
        let act = Act::Status(key.clone(), status);
        self.control(who, Command::SetStatus, &act, approval, |keys, ledger, now| {
            let need = if status == KeyStatus::Active { KeyStatus::PreActive } else { KeyStatus::Active };
            let object = keys.object(key, need)?;
            let have = object.status_at(now);
            if !may_become(have, status) {
                return Err(HsmError::KeyStatus { have, need });
            }
            let period = ledger.periods.of(object.facts.kind);
            Ok((vec![Change::Facts(moved(&object.facts, status, period, now))], ()))
        })
    }

    /// As [`hsm::Hsm::destroy_key`], for a known actor. The bytes go from memory, from the state and from the state
    /// before it, which is kept for people in need; copies of the state that somebody took earlier still hold them,
    /// sealed under the root key.
    ///
    /// # Errors
    /// As there; [`HsmError::Internal`] also when the key is destroyed and only the older state could not be replaced.
    pub fn destroy_key_for(
        &self,
        who: &Actor,
        key: &KeyRef,
        approval: &Approval,
    ) -> Result<DestructionRecord, HsmError> {
        let act = Act::Destroy(key.clone());
        let record = self.control(who, Command::DestroyKey, &act, approval, |keys, _, now| {
            let object = keys.object(key, KeyStatus::Deactivated)?;
            let have = object.status_at(now);
            if !may_be_destroyed(have) {
                return Err(HsmError::KeyStatus { have, need: KeyStatus::Deactivated });
            }
            let mut facts = moved(&object.facts, KeyStatus::Destroyed, None, now);
            facts.destroyed = Some(now);
            let at = UNIX_EPOCH.checked_add(Duration::from_secs(now));
            let at = at.ok_or(HsmError::Internal { code: super::fault::STATE })?;
            let statement = DestructionRecord::statement(key, at);
            let signer = keys.newest_active(&KeyLabel::SIGN_AUDIT, now);
            let signature = signer.map(|signer| primitives::sign(signer.secret(), &statement).to_vec());
            let signature = signature.unwrap_or_default();
            Ok((vec![Change::Destroy(facts)], DestructionRecord { key: key.clone(), at, signature }))
        })?;
        // Once more, so that the previous state is one without the key too. After a crash the next start's entry does it.
        let mut ledger = self.ledger();
        let draft = self.draft(&ledger);
        self.commit(&mut ledger, draft)?;
        Ok(record)
    }

    fn control<T>(
        &self,
        who: &Actor,
        command: Command,
        act: &Act,
        approval: &Approval,
        plan: impl FnOnce(&Keyring, &Ledger, u64) -> Result<(Vec<Change>, T), HsmError>,
    ) -> Result<T, HsmError> {
        let mut ledger = self.ledger();
        self.room(&ledger)?;
        let now = self.clock.now();
        let used = {
            self.keyring().awake()?;
            self.desk(&ledger, now).judge(approval, act)?
        };
        let (changes, outcome) = plan(&self.keyring(), &ledger, now)?;
        let mut draft = self.draft(&ledger);
        if !draft.spent.has_room() {
            return Err(HsmError::Overloaded);
        }
        draft.spent.extend(used);
        draft.keys = changes;
        self.write_down(&mut draft, who.clone(), Event::Command(command), &act.to_string());
        self.commit(&mut ledger, draft)?;
        Ok(outcome)
    }

    fn desk<'a>(&'a self, ledger: &'a Ledger, now: u64) -> Desk<'a> {
        Desk {
            serial: &self.serial,
            key: &ledger.secrets.tickets,
            accounts: &ledger.accounts,
            spent: &ledger.spent,
            now,
        }
    }
}

/// The next version of a key: one it never had, of the kind it always was.
fn successor(
    keys: &Keyring,
    ledger: &Ledger,
    spec: &KeySpec,
    status: KeyStatus,
    now: u64,
) -> Result<KeyObject, HsmError> {
    let malformed = HsmError::InvalidInput(InputFault::Malformed);
    // The act that the officers agreed to names the label alone, so the label decides the kind.
    let known = keys.versions(&spec.label).map(|facts| facts.kind).next();
    if known.or_else(|| kind_of(&spec.label)).is_some_and(|kind| kind != spec.kind) {
        return Err(HsmError::Denied);
    }
    if keys.len() >= usize::from(MAX_KEYS) {
        return Err(HsmError::Overloaded);
    }
    let last = keys.last_version(&spec.label);
    let next = last.map_or(Some(KeyVersion::FIRST), KeyVersion::next).ok_or(malformed)?;
    let version = next.max(spec.at_least);
    if version.get().saturating_sub(next.get()) > MAX_JUMP {
        return Err(malformed);
    }
    let period = ledger.periods.of(spec.kind);
    KeyObject::generate(spec.label.clone().at(version), spec.kind, status, now, period)
}

/// The kind of key that a label's first part announces, where it announces one.
fn kind_of(label: &KeyLabel) -> Option<KeyKind> {
    match label.as_str().split_once('/')? {
        ("kek", _) => Some(KeyKind::Kek256),
        ("mac", _) => Some(KeyKind::Mac256),
        ("sign", _) => Some(KeyKind::SignEd25519),
        _ => None,
    }
}

/// A key's facts after a step. A key that becomes active for the first time begins its cryptoperiod.
fn moved(facts: &KeyFacts, status: KeyStatus, period: Option<u64>, now: u64) -> KeyFacts {
    let mut facts = facts.clone();
    // What ended by itself ended then, not now.
    let ended = facts.expires.filter(|&end| end <= now).unwrap_or(now);
    if status == KeyStatus::Active && facts.activated.is_none() {
        facts.activated = Some(now);
        facts.expires = period.and_then(|period| now.checked_add(period));
    }
    if !status.may_protect() && status != KeyStatus::Suspended {
        facts.deactivated = facts.deactivated.or(facts.activated.map(|_| ended));
    }
    facts.status = status;
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use KeyStatus::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended};

    #[test]
    fn the_life_of_a_key_runs_one_way() {
        let every = [PreActive, Active, Suspended, Deactivated, Compromised, Destroyed];
        let ways = [
            (PreActive, Active),
            (PreActive, Compromised),
            (Active, Suspended),
            (Active, Deactivated),
            (Active, Compromised),
            (Suspended, Active),
            (Suspended, Deactivated),
            (Suspended, Compromised),
            (Deactivated, Compromised),
        ];
        for from in every {
            for to in every {
                assert_eq!(may_become(from, to), ways.contains(&(from, to)), "{from:?} to {to:?}");
            }
            assert_eq!(may_be_destroyed(from), [PreActive, Deactivated, Compromised].contains(&from));
        }
        // No way leads back into protecting, but for resuming what was suspended.
        let back = |from| every.iter().any(|&to| to == Active && may_become(from, to));
        assert!(![Deactivated, Compromised, Destroyed].into_iter().any(back));
    }
}
