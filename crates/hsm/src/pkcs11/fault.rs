//! What a vendor's return value means. The same value means different things in different calls, and the same event
//! has different values from vendor to vendor: a wrong GCM tag is `CKR_GENERAL_ERROR` on one and
//! `CKR_ENCRYPTED_DATA_INVALID` on another. So the values that say little are kept apart, and the caller asks a canary.

use cryptoki::error::{Error, RvError};

use crate::error::HsmError;
use crate::names::KeyStatus;
use crate::verbs::Capability;

/// Codes of [`HsmError::Internal`] that this provider gives.
pub(super) mod code {
    /// The vendor's library answered with a value that fits no case.
    pub(in super::super) const VENDOR: u16 = 100;
    /// The binding could not convert an argument or a result.
    pub(in super::super) const BINDING: u16 = 101;
    /// A result of the wrong length.
    pub(in super::super) const LENGTH: u16 = 102;
    /// The device's generator repeated itself.
    pub(in super::super) const GENERATOR: u16 = 103;
    /// The operating system gave no random bytes.
    pub(in super::super) const RANDOM: u16 = 104;
    /// The device did not take a change that it acknowledged.
    pub(in super::super) const NOT_TAKEN: u16 = 105;
    /// No key version is left.
    pub(in super::super) const VERSIONS: u16 = 106;
}

/// An outcome that is known, or one of those that mean a bad input on one device and a broken device on another.
#[derive(Debug)]
pub(super) enum Meaning {
    Known(HsmError),
    /// Ask the canary.
    Unclear,
}

/// What a failed call means.
pub(super) fn meaning(error: &Error) -> Meaning {
    let Error::Pkcs11(value, _) = error else {
        return Meaning::Known(HsmError::Internal { code: code::BINDING });
    };
    Meaning::Known(match value {
        RvError::GeneralError
        | RvError::DeviceError
        | RvError::FunctionFailed
        | RvError::EncryptedDataInvalid
        | RvError::EncryptedDataLenRange
        | RvError::WrappedKeyInvalid
        | RvError::WrappedKeyLenRange => return Meaning::Unclear,
        RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::ObjectHandleInvalid
        | RvError::KeyHandleInvalid
        | RvError::WrappingKeyHandleInvalid
        | RvError::UnwrappingKeyHandleInvalid
        | RvError::UserNotLoggedIn
        | RvError::OperationActive
        | RvError::OperationNotInitialized => HsmError::SessionLost,
        RvError::CryptokiNotInitialized
        | RvError::DeviceRemoved
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid => HsmError::NeedsReinit,
        RvError::SessionCount | RvError::HostMemory | RvError::DeviceMemory => HsmError::Overloaded,
        RvError::PinIncorrect
        | RvError::PinInvalid
        | RvError::PinLenRange
        | RvError::PinExpired
        | RvError::UserPinNotInitialized => HsmError::AuthFailed { left: None },
        RvError::PinLocked => HsmError::AuthLocked,
        // Another process, or another session, has raised the fence since the key was looked up.
        RvError::KeyFunctionNotPermitted => {
            HsmError::KeyStatus { have: KeyStatus::Deactivated, need: KeyStatus::Active }
        }
        RvError::KeyTypeInconsistent
        | RvError::ActionProhibited
        | RvError::AttributeReadOnly
        | RvError::AttributeSensitive
        | RvError::FunctionRejected
        | RvError::TokenWriteProtected
        | RvError::KeyUnextractable => HsmError::Denied,
        RvError::FipsSelfTestFailed => HsmError::SelfTestFailed,
        _ => HsmError::Internal { code: code::VENDOR },
    })
}

/// What a failed call means where no input of a caller can be the reason.
pub(super) fn plain(error: Error) -> HsmError {
    match meaning(&error) {
        Meaning::Known(known) => known,
        Meaning::Unclear => HsmError::NeedsReinit,
    }
}

/// As [`plain`], where the device may lack the mechanism.
pub(super) fn lacking(capability: Capability) -> impl Fn(Error) -> HsmError {
    move |error| match &error {
        Error::Pkcs11(
            RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::FunctionNotSupported
            | RvError::CurveNotSupported
            | RvError::DomainParamsInvalid,
            _,
        ) => HsmError::Unsupported(capability),
        _ => plain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;

    fn of(value: RvError) -> HsmError {
        plain(Error::Pkcs11(value, Function::Sign))
    }

    #[test]
    fn a_lost_session_and_a_lost_device_are_told_apart() {
        for value in [RvError::SessionHandleInvalid, RvError::ObjectHandleInvalid, RvError::UserNotLoggedIn] {
            assert_eq!(of(value), HsmError::SessionLost, "{value:?}");
        }
        for value in [RvError::CryptokiNotInitialized, RvError::DeviceRemoved, RvError::TokenNotPresent] {
            assert_eq!(of(value), HsmError::NeedsReinit, "{value:?}");
        }
    }

    #[test]
    fn what_a_bad_tag_may_look_like_is_never_judged_without_a_canary() {
        for value in [RvError::GeneralError, RvError::EncryptedDataInvalid, RvError::DeviceError] {
            assert!(
                matches!(meaning(&Error::Pkcs11(value, Function::Decrypt)), Meaning::Unclear),
                "{value:?}"
            );
        }
    }

    #[test]
    fn a_refused_pin_is_for_a_person() {
        assert_eq!(of(RvError::PinIncorrect), HsmError::AuthFailed { left: None });
        assert_eq!(of(RvError::PinLocked), HsmError::AuthLocked);
    }

    #[test]
    fn an_absent_mechanism_is_a_capability_that_is_missing() {
        let error = Error::Pkcs11(RvError::MechanismInvalid, Function::SignInit);
        let meant = lacking(Capability::SignEd25519)(error);
        assert_eq!(meant, HsmError::Unsupported(Capability::SignEd25519));
    }
}
