//! One worker's session with the token: its handles, how it finds a key, and what it does when session, login or
//! library are lost under it. A call is tried again at most twice: on a new session, and after starting the library
//! anew. Kept out: what the calls do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki::slot::Slot;

use super::fault::Meaning;
use super::module::{Guest, Held, Module, Stay, locked};
use super::objects::{self, Facts};
use super::record::{self, Record};
use super::token::{Entry, Token};
use super::{Pkcs11Session, primitives};
use crate::error::HsmError;
use crate::names::{KeyKind, KeyRef, KeyStatus};

/// Where a worker sits.
pub(super) struct Seat {
    module: Arc<Module>,
    open: Mutex<Option<Open>>,
}

pub(super) struct Open {
    held: Held,
    slot: Slot,
    /// Handles and statuses as last seen; dropped as a whole with the session.
    known: HashMap<KeyRef, Known>,
}

/// A key as it was found.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) handle: ObjectHandle,
    pub(super) kind: KeyKind,
    pub(super) status: KeyStatus,
    pub(super) check: Arc<[u8]>,
}

/// A stay in the library with a session that is logged in.
pub(super) struct Work<'a> {
    pub(super) token: &'a Token,
    stay: &'a Stay<'a>,
    open: &'a mut Open,
}

/// What a key is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Protect,
    Process,
}

impl Seat {
    pub(super) fn new(module: &Arc<Module>) -> Arc<Self> {
        let seat = Arc::new(Self { module: Arc::clone(module), open: Mutex::default() });
        let guest: Weak<Self> = Arc::downgrade(&seat);
        module.announce(guest);
        seat
    }

    fn give_up(&self) {
        let open = locked(&self.open).take();
        if let Some(open) = open {
            self.module.give_back(open.held);
        }
    }
}

impl Guest for Seat {
    fn leave(&self) {
        drop(locked(&self.open).take());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Pkcs11Session {
    /// Runs an act that may be repeated: it changes nothing, or finds what it already changed.
    pub(super) fn with<T>(&self, act: impl Fn(&mut Work<'_>) -> Result<T, HsmError>) -> Result<T, HsmError> {
        self.entering(Entry::Serve, act)
    }

    /// As [`Self::with`], on a token that may not be set up yet.
    pub(super) fn entering<T>(
        &self,
        entry: Entry,
        act: impl Fn(&mut Work<'_>) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        let (mut renewed, mut restarted) = (false, false);
        loop {
            let (outcome, generation) = self.once(entry, &act);
            match outcome {
                Err(HsmError::SessionLost) if !renewed => {
                    renewed = true;
                    self.seat.give_up();
                }
                Err(HsmError::SessionLost | HsmError::NeedsReinit) if !restarted => {
                    restarted = true;
                    self.seat.give_up();
                    self.token.module.restart(generation)?;
                }
                Err(HsmError::SessionLost) => {
                    self.seat.give_up();
                    return Err(HsmError::NeedsReinit);
                }
                other => return other,
            }
        }
    }

    /// Runs an act once, whatever becomes of it: one that changes something must not be repeated blindly.
    pub(super) fn at_once<T>(
        &self,
        act: impl Fn(&mut Work<'_>) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        let (outcome, _) = self.once(Entry::Serve, act);
        outcome.map_err(|error| {
            if matches!(error, HsmError::SessionLost | HsmError::NeedsReinit) {
                self.seat.give_up();
                return HsmError::NeedsReinit;
            }
            error
        })
    }

    fn once<T>(
        &self,
        entry: Entry,
        act: impl Fn(&mut Work<'_>) -> Result<T, HsmError>,
    ) -> (Result<T, HsmError>, u64) {
        let stay = match self.token.module.enter() {
            Ok(stay) => stay,
            Err(error) => return (Err(error), 0),
        };
        let generation = stay.generation();
        let mut place = locked(&self.seat.open);
        let open = match &mut *place {
            Some(open) => open,
            empty => match self.token.open(&stay, entry) {
                Ok((held, slot)) => empty.insert(Open { held, slot, known: HashMap::new() }),
                Err(error) => return (Err(error), generation),
            },
        };
        (act(&mut Work { token: &self.token, stay: &stay, open }), generation)
    }
}

impl Work<'_> {
    /// The session.
    pub(super) fn session(&self) -> &Session {
        &self.open.held.session
    }

    /// The token's slot.
    pub(super) fn slot(&self) -> Slot {
        self.open.slot
    }

    /// The stay.
    pub(super) fn stay(&self) -> &Stay<'_> {
        self.stay
    }

    /// Forgets what was seen of every key.
    pub(super) fn forget(&mut self) {
        self.open.known.clear();
    }

    /// Is the token there at all?
    pub(super) fn is_there(&self) -> Result<cryptoki::slot::TokenInfo, HsmError> {
        self.token.is_there(self.stay, self.session(), self.open.slot)
    }

    /// Runs `act` with a key of this kind that may be used for this. A status seen earlier may be old, and the token's
    /// own refusal has the last word: before refusing, the key is looked at once more.
    pub(super) fn using<T>(
        &mut self,
        key: &KeyRef,
        kind: KeyKind,
        wanted: Use,
        act: impl Fn(&Session, &Known) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        let seen = self.open.known.contains_key(key);
        match self.attempt(key, kind, wanted, &act) {
            Err(HsmError::KeyStatus { .. }) if seen => {
                self.open.known.remove(key);
                self.attempt(key, kind, wanted, &act)
            }
            other => other,
        }
    }

    fn attempt<T>(
        &mut self,
        key: &KeyRef,
        kind: KeyKind,
        wanted: Use,
        act: impl Fn(&Session, &Known) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        let known = self.find(key)?;
        if known.kind != kind {
            return Err(HsmError::Denied);
        }
        let may = match wanted {
            Use::Protect => known.status.may_protect(),
            Use::Process => known.status.may_process(),
        };
        if !may {
            return Err(HsmError::KeyStatus { have: known.status, need: KeyStatus::Active });
        }
        act(self.session(), &known)
    }

    /// The key, found once and then remembered.
    fn find(&mut self, key: &KeyRef) -> Result<Known, HsmError> {
        if let Some(known) = self.open.known.get(key) {
            return Ok(known.clone());
        }
        let session = self.session();
        let handle = match objects::find(session, key) {
            Err(HsmError::KeyNotFound) => {
                self.is_there()?;
                let gone =
                    record::of(session, key)?.is_some_and(|kept| kept.record.status == KeyStatus::Destroyed);
                return Err(if gone {
                    HsmError::KeyStatus { have: KeyStatus::Destroyed, need: KeyStatus::Active }
                } else {
                    HsmError::KeyNotFound
                });
            }
            other => other?,
        };
        let facts = Facts::read(session, handle)?;
        if let Some(finding) = facts.finding() {
            return Err(HsmError::Misconfigured(finding));
        }
        let kept = record::of(session, key)?;
        let known = known(handle, &facts, kept.map(|kept| kept.record))?;
        self.prove(key, &known)?;
        self.open.known.insert(key.clone(), known.clone());
        Ok(known)
    }

    /// Anybody with the PIN can give a key another's name: a key that does not answer as its record says is not it.
    fn prove(&self, key: &KeyRef, known: &Known) -> Result<(), HsmError> {
        let may = match known.kind {
            KeyKind::Kek256 => known.status.may_process(),
            KeyKind::Mac256 | KeyKind::SignEd25519 => known.status.may_protect(),
        };
        if !may {
            return Ok(());
        }
        let session = self.session();
        let public = objects::public_half(session, key)?;
        let (realm, check) = (self.token.realm, &known.check);
        match primitives::answers(session, known.handle, key, known.kind, realm, check, public.as_ref()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(HsmError::Integrity),
            Err(Meaning::Known(error)) => Err(error),
            // A wrong key or a broken device: a device that still lists its token is not broken.
            Err(Meaning::Unclear) => self.is_there().and(Err(HsmError::Integrity)),
        }
    }

    /// Does the KEK's canary open? Then the device is well, and what did not open was not sealed so.
    pub(super) fn canary_opens(&self, key: &KeyRef, known: &Known) -> bool {
        let (session, realm) = (self.session(), self.token.realm);
        let answer = primitives::answers(session, known.handle, key, known.kind, realm, &known.check, None);
        matches!(answer, Ok(true))
    }
}

/// A key's stage of life: the token's attributes enforce, so what they forbid is forbidden whatever the record says;
/// what they allow is allowed only if the record says so, too.
pub(super) fn status(facts: &Facts, kind: KeyKind, record: Option<&Record>) -> KeyStatus {
    match record.map(|record| record.status) {
        None => KeyStatus::PreActive,
        Some(KeyStatus::Active) if !facts.protects(kind) => KeyStatus::Deactivated,
        Some(status) => status,
    }
}

fn known(handle: ObjectHandle, facts: &Facts, record: Option<Record>) -> Result<Known, HsmError> {
    let kind = facts.kind().ok_or(HsmError::Denied)?;
    let status = status(facts, kind, record.as_ref());
    Ok(Known { handle, kind, status, check: record.map(|record| record.check).unwrap_or_default().into() })
}
