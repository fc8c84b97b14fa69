//! The trait every provider implements, and the facts a provider states about itself. Sync, because vendors'
//! libraries block; [`crate::HsmQueue`] is the async front. Kept out on purpose: encrypting under a caller's IV,
//! exporting a key, wrapping anything, raw associated data.

use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use crate::context::Context;
use crate::data_key::{DataKey, SealedDataKey};
use crate::error::HsmError;
use crate::names::{KeyFilter, KeyInfo, KeyKind, KeyLabel, KeyRef, KeyStatus, KeyVersion, Realm};

/// The longest message for [`Hsm::mac`] and [`Hsm::sign`], in bytes.
pub const MAX_MESSAGE: usize = 4096;
/// The most messages in one [`Hsm::mac_many`].
pub const MAX_BATCH: usize = 1024;
/// The most random bytes in one call.
pub const MAX_RANDOM: usize = 4096;

/// One device, or one session with it. Every method may block for as long as the device takes.
pub trait Hsm: Send + Sync {
    /// Who the device is and what it can do.
    ///
    /// # Errors
    /// Only those of an absent device.
    fn describe(&self) -> Result<DeviceInfo, HsmError>;

    /// How the device is. A device that shut itself still answers this.
    ///
    /// # Errors
    /// Only those of an absent device.
    fn health(&self) -> Result<Health, HsmError>;

    /// Fills `out` (at most [`MAX_RANDOM`] bytes) from the device's generator.
    ///
    /// # Errors
    /// [`HsmError::InvalidInput`] when `out` is too long; those of an absent or shut device.
    fn random(&self, out: &mut [u8]) -> Result<(), HsmError>;

    /// The public facts about the keys that pass `filter`, in order of label and version.
    ///
    /// # Errors
    /// Those of an absent or shut device.
    fn keys(&self, filter: &KeyFilter) -> Result<Vec<KeyInfo>, HsmError>;

    /// Makes a data key, sealed under `kek` and bound to `context`. The device chooses the IV.
    ///
    /// # Errors
    /// [`HsmError::KeyNotFound`], [`HsmError::Denied`] (another kind of key, another realm),
    /// [`HsmError::KeyStatus`] unless the KEK is active, [`HsmError::InvalidInput`] when `context` names
    /// another KEK.
    fn new_data_key(&self, kek: &KeyRef, context: &Context) -> Result<(DataKey, SealedDataKey), HsmError>;

    /// Opens a sealed data key under exactly the context it was sealed with.
    ///
    /// # Errors
    /// [`HsmError::Integrity`] when anything at all differs, and those of [`Self::new_data_key`].
    fn open_data_key(&self, sealed: &SealedDataKey, context: &Context) -> Result<DataKey, HsmError>;

    /// Opens under `from` and seals under `to_kek` and `to`, inside the device.
    ///
    /// # Errors
    /// Those of [`Self::open_data_key`] for the old seal and of [`Self::new_data_key`] for the new one.
    fn reseal_data_key(
        &self,
        sealed: &SealedDataKey,
        from: &Context,
        to_kek: &KeyRef,
        to: &Context,
    ) -> Result<SealedDataKey, HsmError>;

    /// HMAC-SHA-256 (RFC 2104) of `message`, 1 to [`MAX_MESSAGE`] bytes.
    ///
    /// # Errors
    /// [`HsmError::KeyNotFound`], [`HsmError::Denied`], [`HsmError::KeyStatus`], [`HsmError::InvalidInput`].
    fn mac(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 32], HsmError>;

    /// [`Self::mac`] of many messages, all or none, in their order; at most [`MAX_BATCH`].
    ///
    /// # Errors
    /// Those of [`Self::mac`].
    fn mac_many(&self, key: &KeyRef, messages: &[&[u8]]) -> Result<Vec<[u8; 32]>, HsmError> {
        if messages.len() > MAX_BATCH {
            return Err(HsmError::InvalidInput(crate::error::InputFault::TooLong));
        }
        messages.iter().map(|message| self.mac(key, message)).collect()
    }

    /// Ed25519 signature (RFC 8032, pure) of `message`, 1 to [`MAX_MESSAGE`] bytes.
    ///
    /// # Errors
    /// Those of [`Self::mac`].
    fn sign(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 64], HsmError>;

    /// Makes the key's next version inside the device, [`KeyStatus::PreActive`].
    ///
    /// # Errors
    /// [`HsmError::Unsupported`] unless the provider offers it; [`HsmError::Denied`] without the agreement of two.
    fn create_key(&self, _spec: &KeySpec, _approval: &Approval) -> Result<KeyInfo, HsmError> {
        Err(HsmError::Unsupported(Capability::CreateKey))
    }

    /// Makes the key's next version, [`KeyStatus::Active`] at once, and gives its facts. Older active versions of a
    /// KEK or a signing key are [`KeyStatus::Deactivated`] in the same step: that is the fence behind which a rewrap
    /// finds every sealed key (NIST SP 800-57 part 1, 8.2.3). Older versions of a MAC key stay active until they are
    /// retired, because what they fingerprinted is looked up under them.
    ///
    /// # Errors
    /// [`HsmError::Unsupported`] unless the provider offers it; [`HsmError::Denied`] without the agreement of two.
    /// After a lost reply list the keys before asking again: the version may be there.
    fn rotate_key(&self, _spec: &KeySpec, _approval: &Approval) -> Result<KeyInfo, HsmError> {
        Err(HsmError::Unsupported(Capability::CreateKey))
    }

    /// Moves a key along its life; one way, but for suspending and resuming.
    ///
    /// # Errors
    /// [`HsmError::Unsupported`] unless the provider offers it; [`HsmError::Denied`] without the agreement of two;
    /// [`HsmError::KeyStatus`] for a way that does not exist.
    fn set_status(&self, _key: &KeyRef, _status: KeyStatus, _approval: &Approval) -> Result<(), HsmError> {
        Err(HsmError::Unsupported(Capability::SetStatus))
    }

    /// Destroys a key for good; only one that is deactivated, compromised or was never active.
    ///
    /// # Errors
    /// [`HsmError::Unsupported`] unless the provider offers it; [`HsmError::Denied`] without the agreement of two;
    /// [`HsmError::KeyStatus`] while it is in use.
    fn destroy_key(&self, _key: &KeyRef, _approval: &Approval) -> Result<DestructionRecord, HsmError> {
        Err(HsmError::Unsupported(Capability::DestroyKey))
    }

    /// Takes entries after number `after` out of the device's own log. Asking says that everything up to `after` is
    /// kept safely elsewhere: the device forgets it. Asked with zero it forgets nothing and gives the oldest it has.
    ///
    /// # Errors
    /// [`HsmError::Unsupported`] unless the provider offers it; [`HsmError::InvalidInput`] for a number beyond the
    /// last entry; [`HsmError::Denied`] where the caller may not take the log away.
    fn drain_log(&self, _after: u64, _max: u16) -> Result<DeviceLogPage, HsmError> {
        Err(HsmError::Unsupported(Capability::DeviceLog))
    }

    /// The head of the device's own log under the device's signature.
    ///
    /// # Errors
    /// [`HsmError::Unsupported`] unless the provider offers it, which one with a log need not.
    fn signed_log_head(&self) -> Result<DeviceLogHead, HsmError> {
        Err(HsmError::Unsupported(Capability::DeviceLog))
    }
}

/// One thing a provider may be able to do. A conformance test is skipped only for a capability not declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Data keys under AES-256-GCM with associated data.
    SealGcm,
    /// HMAC-SHA-256.
    MacHmacSha256,
    /// Ed25519 signatures.
    SignEd25519,
    /// Random bytes.
    Random,
    /// Making keys.
    CreateKey,
    /// Changing a key's status.
    SetStatus,
    /// Destroying keys.
    DestroyKey,
    /// A log of its own.
    DeviceLog,
}

impl Capability {
    /// Every capability there is.
    pub const ALL: [Self; 8] = [
        Self::SealGcm,
        Self::MacHmacSha256,
        Self::SignEd25519,
        Self::Random,
        Self::CreateKey,
        Self::SetStatus,
        Self::DestroyKey,
        Self::DeviceLog,
    ];

    /// The bit that stands for it.
    #[must_use]
    pub fn bit(self) -> u32 {
        match self {
            Self::SealGcm => 1,
            Self::MacHmacSha256 => 1 << 1,
            Self::SignEd25519 => 1 << 2,
            Self::Random => 1 << 3,
            Self::CreateKey => 1 << 4,
            Self::SetStatus => 1 << 5,
            Self::DestroyKey => 1 << 6,
            Self::DeviceLog => 1 << 7,
        }
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u32);

impl Capabilities {
    /// The set of these.
    #[must_use]
    pub fn of(list: &[Capability]) -> Self {
        Self(list.iter().fold(0, |bits, capability| bits | capability.bit()))
    }

    /// Is it in the set?
    #[must_use]
    pub fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// The set as bits.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The set those bits stand for; `None` when one is unknown.
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        let known = Self::of(&Capability::ALL).0;
        (bits & !known == 0).then_some(Self(bits))
    }
}

/// Who chooses the IVs of sealed keys. Never the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IvSource {
    /// The device itself, inside the sealing operation.
    Device,
    /// The provider's code outside the device, from the device's random generator.
    Provider,
}

/// What a device says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Who made it.
    pub vendor: String,
    /// What it is.
    pub model: String,
    /// Which one it is.
    pub serial: String,
    /// Which firmware or program version.
    pub firmware: String,
    /// The one realm it serves.
    pub realm: Realm,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Who chooses IVs.
    pub iv_source: IvSource,
    /// Is it hardware certified for this use? `false` for every simulator.
    pub certified: bool,
}

/// How a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Did the known-answer tests pass, and does a sealed canary open?
    pub operational: bool,
    /// Why the device has shut itself, if it has.
    pub latched: Option<HsmError>,
    /// PIN tries left, where the device says.
    pub pin_tries_left: Option<u8>,
    /// How often its state was written: grows, never shrinks.
    pub generation: u64,
    /// Time since it started.
    pub uptime: Duration,
}

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Its name.
    pub label: KeyLabel,
    /// Its purpose.
    pub kind: KeyKind,
    /// The device gives it the next version that it has not had, and none below this one: so a key keeps counting
    /// when it moves to another device.
    pub at_least: KeyVersion,
}

/// Who answers for a change to the device's keys.
pub enum Approval {
    /// Two officers of the device, each by a ticket that the device gave them for exactly this act.
    Tickets {
        /// The first officer's ticket, opaque.
        first: Zeroizing<Vec<u8>>,
        /// The second officer's ticket, opaque.
        second: Zeroizing<Vec<u8>>,
    },
    /// The caller, for a device that knows no officers (PKCS#11 has one user): two people agreed in the gateway.
    /// A device with officers refuses it.
    Caller,
}

/// Evidence that a key is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestructionRecord {
    /// Which key.
    pub key: KeyRef,
    /// When.
    pub at: SystemTime,
    /// The device's signature over [`Self::statement`] by its newest audit key; empty where it has none.
    pub signature: Vec<u8>,
}

impl DestructionRecord {
    /// What is signed: the act in words and the second since 1970, with no second spelling.
    #[must_use]
    pub fn statement(key: &KeyRef, at: SystemTime) -> Vec<u8> {
        let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        format!("pangate/destroyed/v1 {key} {seconds}").into_bytes()
    }
}

/// The head of the device's own log under the device's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLogHead {
    /// What is signed, the signature and the public key, in the device's encoding.
    pub signed: Vec<u8>,
}

/// A page of the device's own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLogPage {
    /// Entries in the device's encoding, in order.
    pub entries: Vec<Vec<u8>>,
    /// Number of the last entry in this page; of an empty page, of the last entry that there was.
    pub last: u64,
    /// Hash of the log's head.
    pub head: [u8; 32],
}
