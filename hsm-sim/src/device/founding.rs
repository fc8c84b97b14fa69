//! What a new device is made of: its realm, its accounts, how long its keys may protect, how its log behaves.

use std::time::{SystemTime, UNIX_EPOCH};

use hsm::{HsmError, KeyKind, KeyLabel, KeyStatus, KeyVersion, Realm};

use super::account::{Account, AccountName, Role};
use super::keys::KeyObject;
use super::pin::PinVerifier;
use super::primitives;
use crate::firmware::Firmware;
use crate::log::{LogPolicy, Ring};
use crate::state::{DeviceSecrets, Periods, SpentTickets, State};

/// The choices that are made once, when a device is made.
pub struct Founding {
    realm: Realm,
    accounts: Vec<Account>,
    /// How long keys may protect.
    pub periods: Periods,
    /// How the log behaves.
    pub log: LogPolicy,
    /// The program that may open the device; without it, the first one that does is noted.
    pub firmware: Option<Firmware>,
}

/// Why an account cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountFault {
    /// The name is no name.
    #[error("an account's name is 1 to 32 characters of a-z 0-9 . _ -")]
    Name,
    /// The name is taken.
    #[error("two accounts have the same name")]
    Twice,
    /// The PIN cannot be used.
    #[error("the PIN must be 6 to 128 bytes long")]
    Pin,
}

impl Founding {
    /// A device with the one account that uses its keys. Without two officers its keys can never be changed.
    ///
    /// # Errors
    /// [`AccountFault::Pin`] for a PIN of a bad length.
    pub fn with_operator(realm: Realm, pin: &[u8]) -> Result<Self, AccountFault> {
        let (periods, log) = (Periods::default(), LogPolicy::default());
        let mut founding = Self { realm, accounts: Vec::new(), periods, log, firmware: None };
        founding.add(AccountName::OPERATOR, Role::Operator, pin)?;
        Ok(founding)
    }

    /// Adds an account.
    ///
    /// # Errors
    /// [`AccountFault`].
    pub fn add(&mut self, name: &str, role: Role, pin: &[u8]) -> Result<(), AccountFault> {
        let name = AccountName::new(name).map_err(|_| AccountFault::Name)?;
        let pin = PinVerifier::of(pin).map_err(|_| AccountFault::Pin)?;
        self.admit(Account::new(name, role, pin))
    }

    fn admit(&mut self, account: Account) -> Result<(), AccountFault> {
        if self.accounts.iter().any(|other| other.name == account.name) {
            return Err(AccountFault::Twice);
        }
        self.accounts.push(account);
        Ok(())
    }

    /// A device with two officers, an operator and an auditor, whose PINs nobody knows: for devices in memory.
    pub(super) fn in_memory(realm: Realm) -> Result<Self, HsmError> {
        let mut founding = Self {
            realm,
            accounts: Vec::new(),
            periods: Periods::default(),
            log: LogPolicy { blocks: false, ..LogPolicy::default() },
            firmware: None,
        };
        let cast = [
            (AccountName::OPERATOR, Role::Operator),
            ("first", Role::Officer),
            ("second", Role::Officer),
            ("auditor", Role::Auditor),
        ];
        for (name, role) in cast {
            let name = AccountName::new(name).map_err(|_| HsmError::Denied)?;
            founding.accounts.push(Account::new(name, role, PinVerifier::unusable()?));
        }
        Ok(founding)
    }
}

/// The state of a new device: a random serial number, its own secrets, and version 1 of the four keys.
///
/// # Errors
/// [`HsmError::Internal`] without random bytes.
pub fn fresh_state(founding: Founding) -> Result<State, HsmError> {
    let Founding { realm, accounts, periods, log, firmware } = founding;
    let four = [
        (KeyLabel::KEK_CARD, KeyKind::Kek256),
        (KeyLabel::MAC_PAN, KeyKind::Mac256),
        (KeyLabel::MAC_REQUEST, KeyKind::Mac256),
        (KeyLabel::SIGN_AUDIT, KeyKind::SignEd25519),
    ];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut objects = Vec::with_capacity(four.len());
    for (label, kind) in four {
        let (key, period) = (label.at(KeyVersion::FIRST), periods.of(kind));
        objects.push(KeyObject::generate(key, kind, KeyStatus::Active, now, period)?);
    }
    let mut serial = [0; 16];
    primitives::random(&mut serial)?;
    Ok(State {
        serial,
        generation: 1,
        realm,
        periods,
        accounts,
        secrets: DeviceSecrets::generate()?,
        spent: SpentTickets::default(),
        log: Ring::new(&serial, log),
        objects,
        destroyed: Vec::new(),
        latched: None,
        last_word: None,
        firmware,
    })
}
