//! What a reply's status byte says, and how an error travels: three bytes, a closed set, never any input.

use hsm::{Capability, Finding, HsmError, InputFault, KeyStatus};

/// The status of a reply that carries a result.
pub(crate) const OK: u8 = 0;
/// The status of a reply that carries an error.
pub(crate) const ERROR: u8 = 1;
/// Length of an encoded error.
pub(crate) const ERROR_LEN: usize = 3;

/// An error as a number and two details.
pub(crate) fn error_bytes(error: HsmError) -> [u8; ERROR_LEN] {
    match error {
        HsmError::Integrity => [1, 0, 0],
        HsmError::KeyNotFound => [2, 0, 0],
        HsmError::KeyAmbiguous { found } => [3, u8::try_from(found).unwrap_or(u8::MAX), 0],
        HsmError::KeyStatus { have, need } => [4, have.code(), need.code()],
        HsmError::Denied => [5, 0, 0],
        HsmError::Unsupported(capability) => {
            [6, u8::try_from(capability.bit().trailing_zeros()).unwrap_or(0), 0]
        }
        HsmError::InvalidInput(fault) => [7, fault_code(fault), 0],
        HsmError::AuthFailed { left } => [8, left.unwrap_or(u8::MAX), 0],
        HsmError::AuthLocked => [9, 0, 0],
        HsmError::SessionLost => [10, 0, 0],
        HsmError::NeedsReinit => [11, 0, 0],
        HsmError::Overloaded => [12, 0, 0],
        HsmError::Timeout => [13, 0, 0],
        HsmError::LogFull => [14, 0, 0],
        HsmError::Tampered => [15, 0, 0],
        HsmError::SelfTestFailed => [16, 0, 0],
        HsmError::RollbackDetected => [17, 0, 0],
        HsmError::Internal { code } => {
            let [high, low] = code.to_be_bytes();
            [18, high, low]
        }
        HsmError::Misconfigured(finding) => [19, finding.code(), 0],
    }
}

/// The error those bytes stand for; `None` when they stand for none.
pub(crate) fn error(bytes: [u8; ERROR_LEN]) -> Option<HsmError> {
    let [number, a, b] = bytes;
    let error = match number {
        1 => HsmError::Integrity,
        2 => HsmError::KeyNotFound,
        3 => HsmError::KeyAmbiguous { found: u32::from(a) },
        4 => HsmError::KeyStatus { have: KeyStatus::from_code(a)?, need: KeyStatus::from_code(b)? },
        5 => HsmError::Denied,
        6 => HsmError::Unsupported(
            Capability::ALL
                .into_iter()
                .find(|capability| capability.bit().trailing_zeros() == u32::from(a))?,
        ),
        7 => HsmError::InvalidInput(FAULTS.into_iter().find(|&fault| fault_code(fault) == a)?),
        8 => HsmError::AuthFailed { left: (a != u8::MAX).then_some(a) },
        9 => HsmError::AuthLocked,
        10 => HsmError::SessionLost,
        11 => HsmError::NeedsReinit,
        12 => HsmError::Overloaded,
        13 => HsmError::Timeout,
        14 => HsmError::LogFull,
        15 => HsmError::Tampered,
        16 => HsmError::SelfTestFailed,
        17 => HsmError::RollbackDetected,
        18 => HsmError::Internal { code: u16::from_be_bytes([a, b]) },
        19 => HsmError::Misconfigured(Finding::from_code(a)?),
        _ => return None,
    };
    // One spelling per error: details that mean nothing must be zero.
    (error_bytes(error) == bytes).then_some(error)
}

const FAULTS: [InputFault; 4] =
    [InputFault::Empty, InputFault::TooLong, InputFault::Malformed, InputFault::ForeignContext];

fn fault_code(fault: InputFault) -> u8 {
    match fault {
        InputFault::Empty => 1,
        InputFault::TooLong => 2,
        InputFault::Malformed => 3,
        InputFault::ForeignContext => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_one_encoding() {
        let mut known = 0;
        for number in 0..=255 {
            for a in 0..=255 {
                for b in [0, 1, 2, 7, 255] {
                    if let Some(read) = error([number, a, b]) {
                        known += 1;
                        assert_eq!(error_bytes(read), [number, a, b]);
                    }
                }
            }
        }
        assert!(known > 18, "{known}");
    }
}
