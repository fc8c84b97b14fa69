//! Cases about data keys: what is sealed opens under its own context and under no other, whatever is altered.

use std::collections::HashSet;

use super::{Bench, Case, Verdict, ensure, expect_error, said};
use crate::error::{HsmError, InputFault};
use crate::names::{KeyLabel, KeyVersion};
use crate::verbs::Capability;

const NEEDS: &[Capability] = &[Capability::SealGcm];

pub(super) const CASES: &[Case] = &[
    Case { name: "a_sealed_key_opens_to_the_same_key_in_every_session", needs: NEEDS, act: round_trip },
    Case { name: "keys_and_ivs_never_repeat", needs: NEEDS, act: fresh },
    Case { name: "the_key_does_not_show_in_its_seal", needs: NEEDS, act: hidden },
    Case { name: "a_sealed_key_opens_under_no_other_context", needs: NEEDS, act: bound },
    Case { name: "a_seal_with_any_bit_flipped_does_not_open", needs: NEEDS, act: flipped },
    Case {
        name: "a_seal_that_names_another_kek_version_is_an_integrity_failure",
        needs: NEEDS,
        act: kek_version,
    },
    Case { name: "resealing_moves_a_key_to_its_new_context", needs: NEEDS, act: reseal },
    Case { name: "resealing_from_the_wrong_context_fails", needs: NEEDS, act: reseal_wrong },
    Case { name: "a_key_of_another_kind_seals_nothing", needs: NEEDS, act: kinds },
    Case { name: "an_unknown_kek_is_not_found", needs: NEEDS, act: unknown },
    Case { name: "another_realm_is_denied", needs: NEEDS, act: realm },
    Case { name: "a_context_of_another_kek_is_refused", needs: NEEDS, act: foreign_context },
];

fn round_trip(bench: &Bench<'_>) -> Verdict {
    let context = bench.context("tenant-a", 1)?;
    let (key, sealed) = bench.hsm.new_data_key(&bench.keys.kek, &context).map_err(said)?;
    ensure(sealed.kek == bench.keys.kek, "the seal names another KEK")?;
    let here = bench.hsm.open_data_key(&sealed, &context).map_err(said)?;
    let there = bench.session()?.open_data_key(&sealed, &context).map_err(said)?;
    ensure(here.expose() == key.expose() && there.expose() == key.expose(), "it opened to another key")
}

fn fresh(bench: &Bench<'_>) -> Verdict {
    let context = bench.context("tenant-a", 1)?;
    let (mut keys, mut ivs) = (HashSet::new(), HashSet::new());
    for _ in 0..500 {
        let (key, sealed) = bench.hsm.new_data_key(&bench.keys.kek, &context).map_err(said)?;
        ensure(keys.insert(*key.expose()), "a data key repeated")?;
        ensure(ivs.insert(sealed.iv), "an IV repeated")?;
        ensure(sealed.iv != [0; 12], "an IV is zero")?;
        let again = bench.hsm.reseal_data_key(&sealed, &context, &bench.keys.kek, &context).map_err(said)?;
        ensure(ivs.insert(again.iv), "resealing used an IV again")?;
    }
    Ok(())
}

fn hidden(bench: &Bench<'_>) -> Verdict {
    let context = bench.context("tenant-a", 1)?;
    let (key, sealed) = bench.hsm.new_data_key(&bench.keys.kek, &context).map_err(said)?;
    let (body, _tag) = sealed.ct.split_first_chunk::<32>().ok_or("the seal is too short")?;
    ensure(body != key.expose() && *key.expose() != [0; 32], "the key is in clear or zero")
}

fn bound(bench: &Bench<'_>) -> Verdict {
    let (kek, realm, id) = (&bench.keys.kek, bench.keys.realm, [0xA5; 16]);
    let context = bench.context_with(kek, realm, "tenant-a", "card", 1, id)?;
    let (_, sealed) = bench.hsm.new_data_key(kek, &context).map_err(said)?;
    let others = [
        bench.context_with(kek, realm, "tenant-b", "card", 1, id)?,
        bench.context_with(kek, realm, "tenant-", "acard", 1, id)?,
        bench.context_with(kek, realm, "tenant-a", "file", 1, id)?,
        bench.context_with(kek, realm, "tenant-a", "card", 2, id)?,
        bench.context_with(kek, realm, "tenant-a", "card", 1, [0xA4; 16])?,
    ];
    for other in &others {
        let outcome = bench.hsm.open_data_key(&sealed, other);
        expect_error(outcome, HsmError::Integrity, "opened under another context")?;
    }
    bench.hsm.open_data_key(&sealed, &context).map(drop).map_err(said)
}

fn flipped(bench: &Bench<'_>) -> Verdict {
    let context = bench.context("tenant-a", 1)?;
    let (_, sealed) = bench.hsm.new_data_key(&bench.keys.kek, &context).map_err(said)?;
    for bit in 0..8 * (sealed.iv.len() + sealed.ct.len()) {
        let mut altered = sealed.clone();
        let byte = altered.iv.iter_mut().chain(altered.ct.iter_mut()).nth(bit / 8);
        *byte.ok_or("the seal is too short")? ^= 1 << (bit % 8);
        let outcome = bench.hsm.open_data_key(&altered, &context);
        expect_error(outcome, HsmError::Integrity, "opened with a flipped bit")?;
    }
    Ok(())
}

fn kek_version(bench: &Bench<'_>) -> Verdict {
    let context = bench.context("tenant-a", 1)?;
    let (_, sealed) = bench.hsm.new_data_key(&bench.keys.kek, &context).map_err(said)?;
    let next = bench.keys.kek.version.next().ok_or("the version is the last one")?;
    let mut altered = sealed.clone();
    altered.kek.version = next;
    expect_error(bench.hsm.open_data_key(&altered, &context), HsmError::Integrity, "another version")?;
    let mut altered = sealed;
    altered.kek.label = KeyLabel::new("no/such").map_err(|fault| fault.to_string())?;
    expect_error(bench.hsm.open_data_key(&altered, &context), HsmError::Integrity, "another label")
}

fn reseal(bench: &Bench<'_>) -> Verdict {
    let (from, to) = (bench.context("tenant-a", 1)?, bench.context("tenant-a", 2)?);
    let (key, sealed) = bench.hsm.new_data_key(&bench.keys.kek, &from).map_err(said)?;
    let moved = bench.hsm.reseal_data_key(&sealed, &from, &bench.keys.kek, &to).map_err(said)?;
    ensure(moved.iv != sealed.iv && moved.ct != sealed.ct, "the seal did not change")?;
    let opened = bench.hsm.open_data_key(&moved, &to).map_err(said)?;
    ensure(opened.expose() == key.expose(), "resealing changed the key")?;
    expect_error(bench.hsm.open_data_key(&moved, &from), HsmError::Integrity, "under the old context")?;
    bench.hsm.open_data_key(&sealed, &from).map(drop).map_err(said)
}

fn reseal_wrong(bench: &Bench<'_>) -> Verdict {
    let (from, other) = (bench.context("tenant-a", 1)?, bench.context("tenant-b", 1)?);
    let (_, sealed) = bench.hsm.new_data_key(&bench.keys.kek, &from).map_err(said)?;
    let outcome = bench.hsm.reseal_data_key(&sealed, &other, &bench.keys.kek, &other);
    expect_error(outcome, HsmError::Integrity, "resealed from the wrong context")
}

fn kinds(bench: &Bench<'_>) -> Verdict {
    for key in [&bench.keys.mac, &bench.keys.sign] {
        let context = bench.context_with(key, bench.keys.realm, "tenant-a", "card", 1, [0; 16])?;
        expect_error(bench.hsm.new_data_key(key, &context), HsmError::Denied, "sealed with another kind")?;
    }
    Ok(())
}

fn unknown(bench: &Bench<'_>) -> Verdict {
    let label = KeyLabel::new("no/such").map_err(|fault| fault.to_string())?;
    let key = label.at(KeyVersion::FIRST);
    let context = bench.context_with(&key, bench.keys.realm, "tenant-a", "card", 1, [0; 16])?;
    expect_error(bench.hsm.new_data_key(&key, &context), HsmError::KeyNotFound, "unknown KEK")
}

fn realm(bench: &Bench<'_>) -> Verdict {
    let (kek, other) = (&bench.keys.kek, bench.other_realm());
    let context = bench.context_with(kek, other, "tenant-a", "card", 1, [0xA5; 16])?;
    expect_error(bench.hsm.new_data_key(kek, &context), HsmError::Denied, "a key of another realm")?;
    let own = bench.context("tenant-a", 1)?;
    let (_, sealed) = bench.hsm.new_data_key(kek, &own).map_err(said)?;
    expect_error(bench.hsm.open_data_key(&sealed, &context), HsmError::Denied, "opened in another realm")
}

fn foreign_context(bench: &Bench<'_>) -> Verdict {
    let other = &bench.keys.mac;
    let context = bench.context_with(other, bench.keys.realm, "tenant-a", "card", 1, [0; 16])?;
    let outcome = bench.hsm.new_data_key(&bench.keys.kek, &context);
    expect_error(outcome, HsmError::InvalidInput(InputFault::ForeignContext), "a context of another key")
}
