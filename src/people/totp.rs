//! Codes of an authenticator app: RFC 6238 with HMAC-SHA-1, six digits, steps of 30 seconds, which is what every app
//! does. A code is good one step early and one late, and once.

use data_encoding::BASE32_NOPAD;
use subtle::ConstantTimeEq;
use tokens::Principal;
use totp_rs::{Builder, Secret};
use vault::FACTOR_SECRET;

const STEP: i64 = 30;

/// The step of `now_us` whose code this is, if it is later than the last one used. Every step is compared, whichever
/// matches.
pub(super) fn step_of(
    code: &str,
    secret: &[u8; FACTOR_SECRET],
    now_us: i64,
    used: Option<i64>,
) -> Option<i64> {
    let now = now_us.div_euclid(1_000_000).div_euclid(STEP);
    let mut found = None;
    for step in [now - 1, now, now + 1] {
        let same = bool::from(code_at(secret, step).as_bytes().ct_eq(code.as_bytes()));
        if same && used.is_none_or(|used| used < step) {
            found = Some(step);
        }
    }
    found
}

/// The code of that step.
fn code_at(secret: &[u8], step: i64) -> String {
    let totp = Builder::new().with_secret(Secret::from(secret.to_vec())).build_noncompliant();
    totp.generate(u64::try_from(step.saturating_mul(STEP)).unwrap_or(0)).to_string()
}

/// The secret as people type it into their app.
pub(super) fn spelt(secret: &[u8; FACTOR_SECRET]) -> String {
    BASE32_NOPAD.encode(secret)
}

/// The same as the address that apps read from a picture.
pub(super) fn address(owner: &Principal, secret: &[u8; FACTOR_SECRET]) -> String {
    format!(
        "otpauth://totp/pangate:{owner}?secret={}&issuer=pangate&algorithm=SHA1&digits=6&period={STEP}",
        spelt(secret)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The SHA-1 secret of RFC 6238 appendix B.
    const SECRET: &[u8; 20] = b"12345678901234567890";

    #[test]
    fn the_codes_are_those_of_rfc_6238_appendix_b() {
        // The RFC prints eight digits; six are their last.
        for (time, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let code = code.split_at(2).1;
            assert_eq!(code_at(SECRET, time / STEP), code, "{time}");
            assert_eq!(step_of(code, SECRET, time * 1_000_000, None), Some(time / STEP));
        }
    }

    #[test]
    fn a_code_is_good_a_step_early_and_late_and_never_after_it_was_used() {
        let now = 1_111_111_111_000_000;
        let step = 1_111_111_111 / STEP;
        for near in [step - 1, step, step + 1] {
            assert_eq!(step_of(&code_at(SECRET, near), SECRET, now, None), Some(near));
            assert_eq!(step_of(&code_at(SECRET, near), SECRET, now, Some(near)), None);
            assert_eq!(step_of(&code_at(SECRET, near), SECRET, now, Some(near - 1)), Some(near));
        }
        for far in [step - 2, step + 2] {
            assert_eq!(step_of(&code_at(SECRET, far), SECRET, now, None), None);
        }
        for wrong in ["", "0", "00000", "+14050", "050471 ", "0504711"] {
            assert_eq!(step_of(wrong, SECRET, now, None), None, "{wrong}");
        }
    }
}
