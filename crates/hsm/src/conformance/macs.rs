//! Cases about MACs. The device's key is not known here, so its answers are held against the laws of HMAC through
//! a data key: what only HMAC-SHA-256 satisfies is checked with an implementation of our own where a key is known.

use std::collections::HashSet;

use super::{Bench, Case, Verdict, ensure, expect_error, said};
use crate::error::{HsmError, InputFault};
use crate::names::{KeyLabel, KeyVersion};
use crate::verbs::{Capability, Hsm, MAX_BATCH, MAX_MESSAGE};

const NEEDS: &[Capability] = &[Capability::MacHmacSha256];

pub(super) const CASES: &[Case] = &[
    Case { name: "the_same_message_has_the_same_mac_in_every_session", needs: NEEDS, act: stable },
    Case { name: "different_messages_and_keys_have_different_macs", needs: NEEDS, act: distinct },
    Case { name: "a_mac_is_not_an_unkeyed_or_zero_keyed_hash", needs: NEEDS, act: keyed },
    Case { name: "a_batch_of_macs_equals_the_single_macs_in_order", needs: NEEDS, act: batch },
    Case { name: "a_full_batch_is_served", needs: NEEDS, act: full_batch },
    Case { name: "one_bad_message_refuses_the_whole_batch", needs: NEEDS, act: bad_batch },
    Case { name: "empty_and_oversize_messages_have_no_mac", needs: NEEDS, act: sizes },
    Case { name: "a_key_of_another_kind_makes_no_mac", needs: NEEDS, act: kinds },
    Case { name: "an_unknown_mac_key_is_not_found", needs: NEEDS, act: unknown },
];

/// The MAC of a message, asked for once, to compare later answers with.
pub(super) fn known(hsm: &dyn Hsm, keys: &super::TestKeys, message: &[u8]) -> Result<[u8; 32], String> {
    hsm.mac(&keys.mac, message).map_err(said)
}

fn stable(bench: &Bench<'_>) -> Verdict {
    let first = known(bench.hsm, bench.keys, b"a message")?;
    let again = known(bench.hsm, bench.keys, b"a message")?;
    let elsewhere = known(&*bench.session()?, bench.keys, b"a message")?;
    ensure(first == again && first == elsewhere, "the MAC changed")
}

fn distinct(bench: &Bench<'_>) -> Verdict {
    let mut seen = HashSet::new();
    for message in [&b"a"[..], b"b", b"aa", b"a\0", b"\0a"] {
        for key in [&bench.keys.mac, &bench.keys.other_mac] {
            let mac = bench.hsm.mac(key, message).map_err(said)?;
            ensure(seen.insert(mac), "two messages or two keys share a MAC")?;
        }
    }
    Ok(())
}

fn keyed(bench: &Bench<'_>) -> Verdict {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256};

    let message = b"a message";
    let mac = known(bench.hsm, bench.keys, message)?;
    let plain: [u8; 32] = Sha256::digest(message).into();
    ensure(mac != plain, "the MAC is the plain SHA-256 of the message")?;
    let label = bench.keys.mac.label.as_str().as_bytes();
    for key in [&[0_u8; 32][..], &[], label] {
        let mut own = Hmac::<Sha256>::new_from_slice(key).map_err(|_| "no HMAC".to_owned())?;
        own.update(message);
        ensure(own.verify_slice(&mac).is_err(), "the MAC key is empty, zero or the label")?;
    }
    Ok(())
}

fn batch(bench: &Bench<'_>) -> Verdict {
    let messages: Vec<Vec<u8>> = (1..=40_u8).map(|n| vec![n; usize::from(n) * 7]).collect();
    let views: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let together = bench.hsm.mac_many(&bench.keys.mac, &views).map_err(said)?;
    ensure(together.len() == views.len(), "the batch has another length")?;
    for (message, mac) in views.iter().zip(&together) {
        ensure(known(bench.hsm, bench.keys, message)? == *mac, "a batch MAC differs or is out of order")?;
    }
    let none = bench.hsm.mac_many(&bench.keys.mac, &[]).map_err(said)?;
    ensure(none.is_empty(), "an empty batch has answers")
}

fn full_batch(bench: &Bench<'_>) -> Verdict {
    // The largest batch of the largest messages is 4 MiB: a transport has to split it by itself.
    let messages: Vec<Vec<u8>> = (0..MAX_BATCH)
        .map(|n| {
            let mut message = vec![0x5A; MAX_MESSAGE];
            message.splice(0..8, (n as u64).to_be_bytes());
            message
        })
        .collect();
    let views: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let macs = bench.hsm.mac_many(&bench.keys.mac, &views).map_err(said)?;
    let distinct: HashSet<[u8; 32]> = macs.iter().copied().collect();
    ensure(macs.len() == MAX_BATCH && distinct.len() == MAX_BATCH, "answers are missing or repeated")?;
    let over = vec![&b"m"[..]; MAX_BATCH + 1];
    let outcome = bench.hsm.mac_many(&bench.keys.mac, &over);
    expect_error(outcome, HsmError::InvalidInput(InputFault::TooLong), "one message too many")
}

fn bad_batch(bench: &Bench<'_>) -> Verdict {
    let outcome = bench.hsm.mac_many(&bench.keys.mac, &[b"good", b"", b"good"]);
    expect_error(outcome, HsmError::InvalidInput(InputFault::Empty), "an empty message in a batch")
}

fn sizes(bench: &Bench<'_>) -> Verdict {
    let key = &bench.keys.mac;
    expect_error(bench.hsm.mac(key, b""), HsmError::InvalidInput(InputFault::Empty), "empty")?;
    let longest = vec![1_u8; MAX_MESSAGE];
    bench.hsm.mac(key, &longest).map_err(said)?;
    let over = vec![1_u8; MAX_MESSAGE + 1];
    expect_error(bench.hsm.mac(key, &over), HsmError::InvalidInput(InputFault::TooLong), "too long")
}

fn kinds(bench: &Bench<'_>) -> Verdict {
    expect_error(bench.hsm.mac(&bench.keys.kek, b"m"), HsmError::Denied, "MAC under a KEK")?;
    expect_error(bench.hsm.mac(&bench.keys.sign, b"m"), HsmError::Denied, "MAC under a signing key")
}

fn unknown(bench: &Bench<'_>) -> Verdict {
    let label = KeyLabel::new("no/such").map_err(|fault| fault.to_string())?;
    let outcome = bench.hsm.mac(&label.at(KeyVersion::FIRST), b"m");
    expect_error(outcome, HsmError::KeyNotFound, "unknown label")?;
    let version = KeyVersion::new(u32::MAX).unwrap_or(KeyVersion::FIRST);
    let outcome = bench.hsm.mac(&bench.keys.mac.label.clone().at(version), b"m");
    expect_error(outcome, HsmError::KeyNotFound, "unknown version")
}
