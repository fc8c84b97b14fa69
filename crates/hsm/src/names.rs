//! What keys are called and what they are: labels, versions, kinds, statuses, realms, and the public facts about
//! a key. Kept out: key bytes, of which this crate has none.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::time::SystemTime;

use crate::error::NameFault;

/// The name of a key: 1 to 48 bytes of `a-z 0-9 / . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyLabel(Cow<'static, str>);

impl KeyLabel {
    /// Seals the tenants' data keys (AES-256).
    pub const KEK_CARD: Self = Self(Cow::Borrowed("kek/card"));
    /// Fingerprints card numbers (HMAC-SHA-256).
    pub const MAC_PAN: Self = Self(Cow::Borrowed("mac/pan"));
    /// Fingerprints whole requests for idempotency (HMAC-SHA-256).
    pub const MAC_REQUEST: Self = Self(Cow::Borrowed("mac/request"));
    /// Signs audit checkpoints (Ed25519).
    pub const SIGN_AUDIT: Self = Self(Cow::Borrowed("sign/audit"));

    /// The longest label, in bytes.
    pub const MAX_LEN: usize = 48;

    /// Reads a label.
    ///
    /// # Errors
    /// [`NameFault`] when it is empty, too long, or holds another character; the text itself is not repeated.
    pub fn new(text: &str) -> Result<Self, NameFault> {
        if text.is_empty() {
            return Err(NameFault::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(NameFault::TooLong);
        }
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/._-".contains(&byte);
        if !text.bytes().all(fits) {
            return Err(NameFault::Character);
        }
        Ok(Self(Cow::Owned(text.to_owned())))
    }

    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This label at a version.
    #[must_use]
    pub fn at(self, version: KeyVersion) -> KeyRef {
        KeyRef { label: self, version }
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The version of a key, from 1 upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyVersion(NonZeroU32);

impl KeyVersion {
    /// The version every key starts at.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// A version; `None` for zero.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The version as a number, never zero.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// The version after this one; `None` at the end of the range.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One version of one key: what every operation names. Never a slot index, never "the first object found".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRef {
    /// The key's name.
    pub label: KeyLabel,
    /// Its version.
    pub version: KeyVersion,
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.label, self.version)
    }
}

/// What a key is for. One purpose per key: the kind is the whole of its usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// AES-256, seals and opens data keys and does nothing else.
    Kek256,
    /// 32-byte HMAC-SHA-256 key.
    Mac256,
    /// Ed25519 (RFC 8032).
    SignEd25519,
}

impl KeyKind {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kek256 => "kek_aes256",
            Self::Mac256 => "mac_hmac_sha256",
            Self::SignEd25519 => "sign_ed25519",
        }
    }

    /// The byte that stands for it in stored and sent forms.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Kek256 => 1,
            Self::Mac256 => 2,
            Self::SignEd25519 => 3,
        }
    }

    /// The kind a byte stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Kek256, Self::Mac256, Self::SignEd25519].into_iter().find(|kind| kind.code() == code)
    }
}

/// Where a key is in its life (NIST SP 800-57 part 1, section 7). One way, but for suspending and resuming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyStatus {
    /// Made, not yet in use.
    PreActive,
    /// Protects and processes.
    Active,
    /// Out of use for now.
    Suspended,
    /// Opens what it sealed, seals nothing new.
    Deactivated,
    /// As deactivated, and known or feared to be in other hands.
    Compromised,
    /// Gone.
    Destroyed,
}

impl KeyStatus {
    const ALL: [Self; 6] = [
        Self::PreActive,
        Self::Active,
        Self::Suspended,
        Self::Deactivated,
        Self::Compromised,
        Self::Destroyed,
    ];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreActive => "pre_active",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deactivated => "deactivated",
            Self::Compromised => "compromised",
            Self::Destroyed => "destroyed",
        }
    }

    /// The byte that stands for it in stored and sent forms.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::PreActive => 1,
            Self::Active => 2,
            Self::Suspended => 3,
            Self::Deactivated => 4,
            Self::Compromised => 5,
            Self::Destroyed => 6,
        }
    }

    /// The status a byte stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// May the key protect something new (seal, MAC, sign)?
    #[must_use]
    pub fn may_protect(self) -> bool {
        self == Self::Active
    }

    /// May the key process what it protected (open)?
    #[must_use]
    pub fn may_process(self) -> bool {
        matches!(self, Self::Active | Self::Deactivated | Self::Compromised)
    }
}

/// Real money or test money. A device holds one realm, and the realm enters every context, so a test key can
/// never open a live record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Realm {
    /// Real cards.
    Live,
    /// Published test cards.
    Test,
}

impl Realm {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    /// The byte that stands for it in stored and sent forms.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Live => 1,
            Self::Test => 2,
        }
    }

    /// The realm a byte stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Live, Self::Test].into_iter().find(|realm| realm.code() == code)
    }
}

/// Key check value: the leftmost five bytes of AES-CMAC over a zero block (ANSI X9.24-1:2017), or whatever the
/// provider states. Never AES-ECB of zeroes, which for a GCM key is a part of the GHASH key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kcv(pub [u8; 5]);

impl fmt::Display for Kcv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The public facts about one key version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name and version.
    pub key: KeyRef,
    /// Its one purpose.
    pub kind: KeyKind,
    /// Where it is in its life.
    pub status: KeyStatus,
    /// Which money it is for.
    pub realm: Realm,
    /// Its check value.
    pub kcv: Kcv,
    /// When it was made.
    pub created: SystemTime,
    /// When it stopped protecting, where the provider knows.
    pub deactivated: Option<SystemTime>,
    /// From when on it may no longer protect (its cryptoperiod, PCI DSS 3.7.4), where the provider enforces one.
    pub expires: Option<SystemTime>,
    /// Was it made inside the device?
    pub local: bool,
    /// Could the device hand it out? Anything but `false` is a finding.
    pub extractable: bool,
    /// Uses counted so far, where the provider counts.
    pub uses: Option<u64>,
    /// The public half of a signing key: 32 bytes for Ed25519.
    pub public: Option<Vec<u8>>,
}

/// Which keys to list. Empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// Only this label.
    pub label: Option<KeyLabel>,
    /// Only this kind.
    pub kind: Option<KeyKind>,
}

impl KeyFilter {
    /// Does a key pass?
    #[must_use]
    pub fn admits(&self, info: &KeyInfo) -> bool {
        self.label.as_ref().is_none_or(|label| *label == info.key.label)
            && self.kind.is_none_or(|kind| kind == info.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_labels_obey_the_rule_for_labels() {
        for label in [KeyLabel::KEK_CARD, KeyLabel::MAC_PAN, KeyLabel::MAC_REQUEST, KeyLabel::SIGN_AUDIT] {
            assert_eq!(KeyLabel::new(label.as_str()), Ok(label));
        }
    }

    #[test]
    fn labels_outside_the_alphabet_are_refused() {
        assert_eq!(KeyLabel::new(""), Err(NameFault::Empty));
        assert_eq!(KeyLabel::new(&"a".repeat(49)), Err(NameFault::TooLong));
        for text in ["Kek", "kek card", "kek\0", "kék", "kek#1"] {
            assert_eq!(KeyLabel::new(text), Err(NameFault::Character), "{text:?}");
        }
        assert!(KeyLabel::new(&"a".repeat(48)).is_ok());
    }

    #[test]
    fn codes_name_one_thing_each() {
        for status in KeyStatus::ALL {
            assert_eq!(KeyStatus::from_code(status.code()), Some(status));
        }
        for kind in [KeyKind::Kek256, KeyKind::Mac256, KeyKind::SignEd25519] {
            assert_eq!(KeyKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(KeyStatus::from_code(0), None);
        assert_eq!(KeyKind::from_code(4), None);
        assert_eq!(Realm::from_code(0), None);
    }

    #[test]
    fn a_deactivated_key_opens_and_does_not_seal() {
        assert!(KeyStatus::Deactivated.may_process() && !KeyStatus::Deactivated.may_protect());
        assert!(!KeyStatus::Suspended.may_process() && !KeyStatus::Destroyed.may_process());
    }
}
