//! The closed list of what can go wrong with an HSM, and for each what the caller should do about it.
//! Kept out: every byte of input, since a message to be fingerprinted is a card number.

use crate::names::KeyStatus;
use crate::verbs::Capability;

/// Why a label or another name is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NameFault {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Longer than allowed.
    #[error("it is too long")]
    TooLong,
    /// A character outside the alphabet.
    #[error("it holds a character that is not allowed")]
    Character,
}

/// What is wrong with an argument, without saying what the argument was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InputFault {
    /// A message of zero bytes.
    #[error("a message or name is empty")]
    Empty,
    /// A message, a batch or a request for random bytes beyond the limit.
    #[error("a message, name or batch is too long")]
    TooLong,
    /// Bytes that do not decode.
    #[error("bytes do not follow their format")]
    Malformed,
    /// A context that names another key, suite or realm than the call does.
    #[error("the context does not belong to this call")]
    ForeignContext,
}

/// What is wrong with how a device or one of its keys is set up. The text names the attribute (PKCS#11 `CKA_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Finding {
    /// The key could be wrapped out of the device.
    #[error("CKA_EXTRACTABLE is true")]
    Extractable,
    /// The key could be read.
    #[error("CKA_SENSITIVE is false")]
    NotSensitive,
    /// The key could be read at some time in the past.
    #[error("CKA_ALWAYS_SENSITIVE is false")]
    NotAlwaysSensitive,
    /// The key could be wrapped out at some time in the past.
    #[error("CKA_NEVER_EXTRACTABLE is false")]
    NotNeverExtractable,
    /// The key was not made inside the device.
    #[error("CKA_LOCAL is false")]
    NotLocal,
    /// The key wraps keys and decrypts data: together they take any key out of the device (Clulow 2003).
    #[error("CKA_WRAP and CKA_DECRYPT are both true")]
    WrapsAndDecrypts,
    /// The key wraps keys, which is not its purpose.
    #[error("CKA_WRAP is true")]
    Wraps,
    /// The key unwraps keys, which is not its purpose.
    #[error("CKA_UNWRAP is true")]
    Unwraps,
    /// Keys can be derived from the key, which is not its purpose.
    #[error("CKA_DERIVE is true")]
    Derives,
    /// The key signs and seals: one purpose a key.
    #[error("CKA_ENCRYPT, CKA_DECRYPT or CKA_SIGN is true against the key's purpose")]
    SecondPurpose,
    /// The key is of a type or size that no key of ours has.
    #[error("CKA_KEY_TYPE or CKA_VALUE_LEN is not that of the key's kind")]
    WrongKind,
    /// The key serves mechanisms beyond its purpose.
    #[error("CKA_ALLOWED_MECHANISMS holds more than the one mechanism of the key's kind")]
    OtherMechanisms,
    /// Two tokens bear the label.
    #[error("more than one token bears the label of the settings")]
    TwoTokens,
    /// The token was never set up for a realm.
    #[error("the token names no realm; set it up with: pangate init --hsm pkcs11")]
    NoRealm,
    /// The token holds keys of the other realm: live and test keys never mix.
    #[error("the token is set up for the other realm")]
    OtherRealm,
}

impl Finding {
    /// Every finding there is.
    pub const ALL: [Self; 15] = [
        Self::Extractable,
        Self::NotSensitive,
        Self::NotAlwaysSensitive,
        Self::NotNeverExtractable,
        Self::NotLocal,
        Self::WrapsAndDecrypts,
        Self::Wraps,
        Self::Unwraps,
        Self::Derives,
        Self::SecondPurpose,
        Self::WrongKind,
        Self::OtherMechanisms,
        Self::TwoTokens,
        Self::NoRealm,
        Self::OtherRealm,
    ];

    /// The byte that stands for it in sent forms.
    #[must_use]
    pub fn code(self) -> u8 {
        let place = Self::ALL.iter().position(|&finding| finding == self);
        place.and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(u8::MAX)
    }

    /// The finding a byte stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|finding| finding.code() == code)
    }
}

/// What a caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Asking again gives the same answer. An [`HsmError::Integrity`] is also an alarm.
    Permanent,
    /// A person has to act; never try again by itself, since each try may count towards a lockout.
    Operator,
    /// Try once more on a new session.
    Retry,
    /// The device is away; it will be asked again by itself.
    Unavailable,
    /// Too much at once; come back later.
    Busy,
    /// The device refuses work until its log is taken away.
    Blocked,
    /// The device has shut itself; nothing but a ceremony brings it back.
    Fatal,
    /// A fault of the provider that has no better name.
    Internal,
}

/// What can go wrong with an HSM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HsmError {
    /// A sealed key does not open under this context: wrong tag, wrong tenant, wrong key version.
    #[error("a sealed key does not belong to this context, or was altered; treat it as an attack")]
    Integrity,
    /// No key of this name and version.
    #[error("the device holds no key of this label and version; list its keys")]
    KeyNotFound,
    /// More than one key of this name and version.
    #[error("the device holds {found} keys of this label and version; remove the wrong ones")]
    KeyAmbiguous {
        /// How many.
        found: u32,
    },
    /// The key is at a stage of its life that does not allow this.
    #[error("the key is {have:?}, and this needs {need:?}")]
    KeyStatus {
        /// What it is.
        have: KeyStatus,
        /// What it would have to be.
        need: KeyStatus,
    },
    /// This caller, or this key's purpose, does not allow the operation.
    #[error("the device does not allow this operation with this key or in this realm")]
    Denied,
    /// The provider cannot do this and says so in its capabilities.
    #[error("the provider does not offer {0:?}")]
    Unsupported(Capability),
    /// An argument is out of range.
    #[error("the device refused an argument: {0}")]
    InvalidInput(InputFault),
    /// The PIN is wrong.
    #[error("the device refused the PIN; correct it before the device locks")]
    AuthFailed {
        /// Tries left, where the device says.
        left: Option<u8>,
    },
    /// Too many wrong PINs.
    #[error("the device is locked after too many wrong PINs; its operator must unlock it")]
    AuthLocked,
    /// The session ended under the call.
    #[error("the device closed the session; it will be opened again")]
    SessionLost,
    /// The device is not there, or has to be set up anew.
    #[error("the device is away; start it, or check its address")]
    NeedsReinit,
    /// More calls than the device or its queue takes.
    #[error("the device is overloaded; come back later")]
    Overloaded,
    /// No answer in time; whether the call took effect is unknown.
    #[error("the device did not answer in time")]
    Timeout,
    /// The device's log is full and must be drained first.
    #[error("the device's log is full; drain it")]
    LogFull,
    /// The device found that it was tampered with.
    #[error("the device reports tampering and has shut itself")]
    Tampered,
    /// A known-answer test failed.
    #[error("the device failed its self-test and holds no keys")]
    SelfTestFailed,
    /// The device found that its memory was set back to an earlier time.
    #[error("the device's state was set back to an earlier time")]
    RollbackDetected,
    /// The device, or one of its keys, is not set up as it must be; nothing is done with it.
    #[error("the device or one of its keys is not set up safely: {0}; see `pangate keys list`")]
    Misconfigured(Finding),
    /// Anything else, by the provider's own number.
    #[error("the device reports internal error {code}")]
    Internal {
        /// The provider's number; never input.
        code: u16,
    },
}

impl HsmError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Integrity
            | Self::KeyNotFound
            | Self::KeyAmbiguous { .. }
            | Self::KeyStatus { .. }
            | Self::Denied
            | Self::Unsupported(_)
            | Self::InvalidInput(_) => ErrorClass::Permanent,
            Self::AuthFailed { .. } | Self::AuthLocked | Self::Misconfigured(_) => ErrorClass::Operator,
            Self::SessionLost => ErrorClass::Retry,
            Self::NeedsReinit => ErrorClass::Unavailable,
            Self::Overloaded | Self::Timeout => ErrorClass::Busy,
            Self::LogFull => ErrorClass::Blocked,
            Self::Tampered | Self::SelfTestFailed | Self::RollbackDetected => ErrorClass::Fatal,
            Self::Internal { .. } => ErrorClass::Internal,
        }
    }

    /// May the same call succeed later without anybody changing the call? Such an error is a 503, not a 500.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !matches!(self.class(), ErrorClass::Permanent)
    }

    /// A stable name for logs and metrics: a closed set, no input.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Integrity => "hsm_integrity",
            Self::KeyNotFound => "hsm_key_not_found",
            Self::KeyAmbiguous { .. } => "hsm_key_ambiguous",
            Self::KeyStatus { .. } => "hsm_key_status",
            Self::Denied => "hsm_denied",
            Self::Unsupported(_) => "hsm_unsupported",
            Self::InvalidInput(_) => "hsm_invalid_input",
            Self::AuthFailed { .. } => "hsm_auth_failed",
            Self::AuthLocked => "hsm_auth_locked",
            Self::SessionLost => "hsm_session_lost",
            Self::NeedsReinit => "hsm_away",
            Self::Overloaded => "hsm_overloaded",
            Self::Timeout => "hsm_timeout",
            Self::LogFull => "hsm_log_full",
            Self::Tampered => "hsm_tampered",
            Self::SelfTestFailed => "hsm_self_test_failed",
            Self::RollbackDetected => "hsm_rollback_detected",
            Self::Misconfigured(_) => "hsm_misconfigured",
            Self::Internal { .. } => "hsm_internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_auth_failure_is_never_of_a_class_that_is_tried_again() {
        for error in [HsmError::AuthFailed { left: Some(3) }, HsmError::AuthLocked] {
            assert_eq!(error.class(), ErrorClass::Operator);
        }
    }

    #[test]
    fn an_integrity_failure_is_permanent_and_an_absent_device_is_not() {
        assert!(!HsmError::Integrity.is_transient());
        assert!(HsmError::NeedsReinit.is_transient() && HsmError::Overloaded.is_transient());
    }
}
