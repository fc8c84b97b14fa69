//! One token and the login to it. PKCS#11 logs in a whole process, so one session of the token holds the login for
//! all others and does no work; nobody ever logs out, which would take every other session's keys away. A refused PIN
//! is remembered and never tried again, since every try counts towards a lockout.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};

use super::fault::plain;
use super::life;
use super::module::{Guest, Held, Module, Stay, locked};
use super::objects::{self, Facts};
use super::record;
use super::settings::{Pkcs11Fault, Pkcs11Settings};
use crate::error::{Finding, HsmError};
use crate::names::{KeyRef, Realm};

/// How long a finding about the token's keys is repeated without looking again.
const VERDICT_LASTS: Duration = Duration::from_secs(1);

pub(super) struct Token {
    pub(super) module: Arc<Module>,
    pub(super) realm: Realm,
    pub(super) started: Instant,
    /// One change of keys at a time.
    pub(super) changing: Mutex<()>,
    settings: Pkcs11Settings,
    keeper: Mutex<Option<Keeper>>,
    refused: Mutex<Option<HsmError>>,
    verdict: Mutex<Option<(Instant, HsmError)>>,
    logins: AtomicU64,
}

/// The session that holds the login.
struct Keeper {
    held: Held,
    slot: Slot,
}

/// Is the token expected to be set up?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// It must name its realm.
    Serve,
    /// It is set up for the realm of the settings if it names none.
    Prepare,
}

impl Token {
    pub(super) fn new(settings: Pkcs11Settings) -> Result<Arc<Self>, Pkcs11Fault> {
        settings.judge_label()?;
        let module = Module::at(&settings.module_path()?)?;
        let token = Arc::new(Self {
            module,
            realm: settings.realm,
            started: Instant::now(),
            changing: Mutex::default(),
            settings,
            keeper: Mutex::default(),
            refused: Mutex::default(),
            verdict: Mutex::default(),
            logins: AtomicU64::new(0),
        });
        let guest: Weak<Self> = Arc::downgrade(&token);
        token.module.announce(guest);
        Ok(token)
    }

    /// How often a PIN was presented.
    pub(super) fn logins(&self) -> u64 {
        self.logins.load(Ordering::SeqCst)
    }

    /// A session that is logged in, and its token's slot.
    pub(super) fn open(&self, stay: &Stay<'_>, entry: Entry) -> Result<(Held, Slot), HsmError> {
        let mut keeper = locked(&self.keeper);
        let slot = match keeper.as_ref().filter(|keeper| keeper.held.generation == stay.generation()) {
            Some(keeper) => keeper.slot,
            None => keeper.insert(self.log_in(stay, entry)?).slot,
        };
        let session = stay.library().open_rw_session(slot).map_err(plain)?;
        Ok((Held { session, generation: stay.generation() }, slot))
    }

    fn log_in(&self, stay: &Stay<'_>, entry: Entry) -> Result<Keeper, HsmError> {
        if let Some(refusal) = *locked(&self.refused) {
            return Err(refusal);
        }
        if let Some((at, verdict)) = *locked(&self.verdict)
            && at.elapsed() < VERDICT_LASTS
        {
            return Err(verdict);
        }
        let slot = self.slot(stay)?;
        let session = stay.library().open_rw_session(slot).map_err(plain)?;
        self.logins.fetch_add(1, Ordering::SeqCst);
        let proven = match session.login(UserType::User, Some(&self.settings.pin)) {
            Ok(()) => true,
            // Somebody else in this process logged in; a device says so whatever PIN it is shown.
            Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => false,
            Err(error) => return Err(self.refusal(stay, slot, error)),
        };
        let fit = self.look(&session, entry, proven);
        fit.inspect_err(|&error| *locked(&self.verdict) = Some((Instant::now(), error)))?;
        Ok(Keeper { held: Held { session, generation: stay.generation() }, slot })
    }

    fn refusal(&self, stay: &Stay<'_>, slot: Slot, error: Error) -> HsmError {
        let error = match plain(error) {
            HsmError::AuthFailed { .. } => {
                let last = stay.library().get_token_info(slot).is_ok_and(|info| info.user_pin_final_try());
                HsmError::AuthFailed { left: last.then_some(1) }
            }
            other => other,
        };
        if matches!(error, HsmError::AuthFailed { .. } | HsmError::AuthLocked) {
            *locked(&self.refused) = Some(error);
        }
        error
    }

    /// Is the token the one it should be, and are its keys fit for use?
    fn look(&self, session: &Session, entry: Entry, proven: bool) -> Result<(), HsmError> {
        match record::realms(session)?.as_slice() {
            [realm] if *realm == self.realm => {}
            [] if entry == Entry::Prepare => record::write_realm(session, self.realm)?,
            [] => return Err(HsmError::Misconfigured(Finding::NoRealm)),
            _ => return Err(HsmError::Misconfigured(Finding::OtherRealm)),
        }
        if !proven && !life::any_key_answers(session, &objects::survey(session)?, self.realm)? {
            return Err(HsmError::AuthFailed { left: None });
        }
        life::settle(session, self.realm)?;
        match first_unfit(&objects::survey(session)?) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// The slot of the one token of this label. Slot numbers change; labels do not.
    fn slot(&self, stay: &Stay<'_>) -> Result<Slot, HsmError> {
        let library = stay.library();
        let mut found = Vec::new();
        for slot in library.get_slots_with_token().map_err(plain)? {
            // A slot whose token is gone or not set up is none of ours.
            let info = library.get_token_info(slot);
            if info.is_ok_and(|info| info.token_initialized() && info.label() == self.settings.token_label) {
                found.push(slot);
            }
        }
        match *found.as_slice() {
            [] => Err(HsmError::NeedsReinit),
            [one] => Ok(one),
            _ => Err(HsmError::Misconfigured(Finding::TwoTokens)),
        }
    }

    /// Which key is why nobody is let in.
    pub(super) fn blame(&self) -> Option<(KeyRef, HsmError)> {
        let stay = self.module.enter().ok()?;
        let _keeper = locked(&self.keeper);
        if locked(&self.refused).is_some() {
            return None;
        }
        let slot = self.slot(&stay).ok()?;
        let session = stay.library().open_rw_session(slot).ok()?;
        self.logins.fetch_add(1, Ordering::SeqCst);
        match session.login(UserType::User, Some(&self.settings.pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(error) => {
                self.refusal(&stay, slot, error);
                return None;
            }
        }
        first_unfit(&objects::survey(&session).ok()?)
    }

    /// Is the token there, and are we logged in to it? What a device without its token lists is empty, not an error.
    pub(super) fn is_there(
        &self,
        stay: &Stay<'_>,
        session: &Session,
        slot: Slot,
    ) -> Result<TokenInfo, HsmError> {
        let info = stay.library().get_token_info(slot).map_err(plain)?;
        let ours = info.label() == self.settings.token_label && !record::realms(session)?.is_empty();
        if ours { Ok(info) } else { Err(HsmError::NeedsReinit) }
    }
}

/// The first key that must not be used, and why.
pub(super) fn first_unfit(
    keys: &[(KeyRef, cryptoki::object::ObjectHandle, Facts)],
) -> Option<(KeyRef, HsmError)> {
    let unsafe_key = keys.iter().find_map(|(key, _, facts)| {
        facts.finding().map(|finding| (key.clone(), HsmError::Misconfigured(finding)))
    });
    unsafe_key.or_else(|| {
        let twice = keys.windows(2).find_map(|pair| match pair {
            [(first, ..), (second, ..)] if first == second => Some(first.clone()),
            _ => None,
        })?;
        let found = keys.iter().filter(|(key, ..)| *key == twice).count();
        Some((twice, HsmError::KeyAmbiguous { found: u32::try_from(found).unwrap_or(u32::MAX) }))
    })
}

impl Guest for Token {
    fn leave(&self) {
        drop(locked(&self.keeper).take());
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(keeper) = locked(&self.keeper).take() {
            self.module.give_back(keeper.held);
        }
    }
}
