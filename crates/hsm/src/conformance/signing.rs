//! Cases about signatures, checked with an Ed25519 implementation that is not the device's.

use ed25519_dalek::{Signature, VerifyingKey};

use super::{Bench, Case, Verdict, ensure, expect_error, said};
use crate::error::{HsmError, InputFault};
use crate::names::{KeyFilter, KeyLabel, KeyVersion};
use crate::verbs::{Capability, MAX_MESSAGE};

const NEEDS: &[Capability] = &[Capability::SignEd25519];

pub(super) const CASES: &[Case] = &[
    Case { name: "a_signature_verifies_under_the_listed_public_key", needs: NEEDS, act: verifies },
    Case { name: "a_signature_fits_one_message_only", needs: NEEDS, act: one_message },
    Case { name: "signing_is_deterministic", needs: NEEDS, act: deterministic },
    Case { name: "empty_and_oversize_messages_are_not_signed", needs: NEEDS, act: sizes },
    Case { name: "a_key_of_another_kind_does_not_sign", needs: NEEDS, act: kinds },
    Case { name: "an_unknown_signing_key_is_not_found", needs: NEEDS, act: unknown },
];

fn public(bench: &Bench<'_>) -> Result<VerifyingKey, String> {
    let filter = KeyFilter { label: Some(bench.keys.sign.label.clone()), kind: None };
    let list = bench.hsm.keys(&filter).map_err(said)?;
    let info = list.into_iter().find(|info| info.key == bench.keys.sign);
    let bytes = info.and_then(|info| info.public).ok_or("the signing key has no public half")?;
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| "the public half is not 32 bytes".to_owned())?;
    VerifyingKey::from_bytes(&bytes).map_err(|_| "the public half is no point".to_owned())
}

fn verifies(bench: &Bench<'_>) -> Verdict {
    let key = public(bench)?;
    for len in [1, 32, 64, 1000, MAX_MESSAGE] {
        let message = vec![0x61; len];
        let signature = Signature::from_bytes(&bench.hsm.sign(&bench.keys.sign, &message).map_err(said)?);
        ensure(key.verify_strict(&message, &signature).is_ok(), "a signature does not verify")?;
    }
    Ok(())
}

fn one_message(bench: &Bench<'_>) -> Verdict {
    let key = public(bench)?;
    let bytes = bench.hsm.sign(&bench.keys.sign, b"size 10, root abc").map_err(said)?;
    let signature = Signature::from_bytes(&bytes);
    ensure(key.verify_strict(b"size 11, root abc", &signature).is_err(), "it verifies another message")?;
    let mut flipped = bytes;
    if let Some(byte) = flipped.first_mut() {
        *byte ^= 1;
    }
    let flipped = Signature::from_bytes(&flipped);
    ensure(key.verify_strict(b"size 10, root abc", &flipped).is_err(), "an altered signature verifies")
}

fn deterministic(bench: &Bench<'_>) -> Verdict {
    let first = bench.hsm.sign(&bench.keys.sign, b"a message").map_err(said)?;
    let again = bench.session()?.sign(&bench.keys.sign, b"a message").map_err(said)?;
    ensure(first == again, "two signatures of one message differ")
}

fn sizes(bench: &Bench<'_>) -> Verdict {
    let key = &bench.keys.sign;
    expect_error(bench.hsm.sign(key, b""), HsmError::InvalidInput(InputFault::Empty), "empty")?;
    let over = vec![1_u8; MAX_MESSAGE + 1];
    expect_error(bench.hsm.sign(key, &over), HsmError::InvalidInput(InputFault::TooLong), "too long")
}

fn kinds(bench: &Bench<'_>) -> Verdict {
    expect_error(bench.hsm.sign(&bench.keys.kek, b"m"), HsmError::Denied, "signed with a KEK")?;
    expect_error(bench.hsm.sign(&bench.keys.mac, b"m"), HsmError::Denied, "signed with a MAC key")
}

fn unknown(bench: &Bench<'_>) -> Verdict {
    let label = KeyLabel::new("no/such").map_err(|fault| fault.to_string())?;
    let outcome = bench.hsm.sign(&label.at(KeyVersion::FIRST), b"m");
    expect_error(outcome, HsmError::KeyNotFound, "unknown label")
}
