//! Cases about the device as a whole: what it says of itself, its generator, its key list, its strength under
//! concurrent use, and the silence of its errors.

use std::collections::HashSet;

use super::{Bench, Case, Verdict, ensure, expect_error, said};
use crate::error::{ErrorClass, HsmError, InputFault};
use crate::names::{KeyFilter, KeyKind, KeyLabel};
use crate::verbs::{Approval, Capability, Hsm, MAX_RANDOM};

pub(super) const CASES: &[Case] = &[
    Case { name: "the_device_serves_the_realm_it_names", needs: &[], act: realm },
    Case { name: "a_healthy_device_says_so", needs: &[], act: healthy },
    Case { name: "random_bytes_do_not_repeat", needs: &[Capability::Random], act: random_differs },
    Case { name: "random_bytes_look_random", needs: &[Capability::Random], act: random_is_balanced },
    Case { name: "too_much_randomness_at_once_is_refused", needs: &[Capability::Random], act: random_limit },
    Case { name: "every_key_is_listed_once_with_its_facts", needs: &[], act: listed },
    Case { name: "no_key_is_extractable", needs: &[], act: not_extractable },
    Case { name: "a_filter_narrows_the_list", needs: &[], act: filtered },
    Case {
        name: "sessions_at_work_together_answer_each_its_own",
        needs: &[Capability::MacHmacSha256, Capability::SealGcm],
        act: concurrent,
    },
    Case { name: "what_is_not_declared_is_refused_as_unsupported", needs: &[], act: undeclared },
    Case {
        name: "errors_repeat_nothing_of_the_input",
        needs: &[Capability::MacHmacSha256],
        act: silent_errors,
    },
];

fn realm(bench: &Bench<'_>) -> Verdict {
    let info = bench.hsm.describe().map_err(said)?;
    ensure(info.realm == bench.keys.realm, "the device names another realm")?;
    ensure(!info.vendor.is_empty() && !info.serial.is_empty(), "vendor or serial is empty")
}

fn healthy(bench: &Bench<'_>) -> Verdict {
    let health = bench.hsm.health().map_err(said)?;
    ensure(health.operational && health.latched.is_none(), "the device is not operational")
}

fn random_differs(bench: &Bench<'_>) -> Verdict {
    let mut seen = HashSet::new();
    for _ in 0..64 {
        let mut out = [0_u8; 32];
        bench.hsm.random(&mut out).map_err(said)?;
        ensure(seen.insert(out), "the generator repeated itself")?;
    }
    Ok(())
}

fn random_is_balanced(bench: &Bench<'_>) -> Verdict {
    let mut out = vec![0_u8; MAX_RANDOM];
    bench.hsm.random(&mut out).map_err(said)?;
    // 32768 bits: 16384 ones expected, standard deviation 90; eight deviations never happen by chance.
    let ones: u32 = out.iter().map(|byte| byte.count_ones()).sum();
    ensure((15_660..=17_108).contains(&ones), "the share of ones is far from one half")?;
    let distinct: HashSet<u8> = out.iter().copied().collect();
    ensure(distinct.len() > 250, "byte values are missing")
}

fn random_limit(bench: &Bench<'_>) -> Verdict {
    let mut out = vec![0_u8; MAX_RANDOM + 1];
    expect_error(bench.hsm.random(&mut out), HsmError::InvalidInput(InputFault::TooLong), "beyond the limit")
}

fn listed(bench: &Bench<'_>) -> Verdict {
    let list = bench.hsm.keys(&KeyFilter::default()).map_err(said)?;
    let wanted = [
        (&bench.keys.kek, KeyKind::Kek256),
        (&bench.keys.mac, KeyKind::Mac256),
        (&bench.keys.other_mac, KeyKind::Mac256),
        (&bench.keys.sign, KeyKind::SignEd25519),
    ];
    for (key, kind) in wanted {
        let found: Vec<_> = list.iter().filter(|info| info.key == *key).collect();
        ensure(found.len() == 1, "a key is not listed exactly once")?;
        ensure(
            found.iter().all(|info| info.kind == kind && info.realm == bench.keys.realm),
            "a key is listed with another kind or realm",
        )?;
        let public = found.iter().all(|info| info.public.is_some() == (kind == KeyKind::SignEd25519));
        ensure(public, "a public half is missing, or stated for a secret key")?;
    }
    ensure(list.is_sorted_by(|a, b| a.key < b.key), "the list is not in order")
}

fn not_extractable(bench: &Bench<'_>) -> Verdict {
    let list = bench.hsm.keys(&KeyFilter::default()).map_err(said)?;
    ensure(list.iter().all(|info| !info.extractable && info.local), "a key is extractable or was imported")
}

fn filtered(bench: &Bench<'_>) -> Verdict {
    let by_kind = KeyFilter { kind: Some(KeyKind::Mac256), label: None };
    let list = bench.hsm.keys(&by_kind).map_err(said)?;
    ensure(!list.is_empty() && list.iter().all(|info| info.kind == KeyKind::Mac256), "by kind")?;
    let by_label = KeyFilter { kind: None, label: Some(bench.keys.sign.label.clone()) };
    let list = bench.hsm.keys(&by_label).map_err(said)?;
    ensure(!list.is_empty() && list.iter().all(|info| info.key.label == bench.keys.sign.label), "by label")?;
    let nothing = KeyLabel::new("no/such").map_err(|fault| fault.to_string())?;
    let list = bench.hsm.keys(&KeyFilter { kind: None, label: Some(nothing) }).map_err(said)?;
    ensure(list.is_empty(), "a label that is not there")
}

fn concurrent(bench: &Bench<'_>) -> Verdict {
    const SESSIONS: u32 = 4;
    const ROUNDS: u32 = 50;
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        sessions.push((number, bench.session()?, bench.context("tenant-concurrent", number)?));
    }
    let keys = bench.keys;
    std::thread::scope(|scope| {
        let running: Vec<_> = sessions
            .into_iter()
            .map(|(number, hsm, context)| {
                scope.spawn(move || -> Verdict {
                    let message = format!("message of session {number}");
                    let expected = super::macs::known(&*hsm, keys, message.as_bytes())?;
                    for _ in 0..ROUNDS {
                        let mac = hsm.mac(&keys.mac, message.as_bytes()).map_err(said)?;
                        ensure(mac == expected, "a session got another session's MAC")?;
                        let (made, sealed) = hsm.new_data_key(&keys.kek, &context).map_err(said)?;
                        let opened = hsm.open_data_key(&sealed, &context).map_err(said)?;
                        ensure(made.expose() == opened.expose(), "a session got another session's key")?;
                    }
                    Ok(())
                })
            })
            .collect();
        running
            .into_iter()
            .try_for_each(|one| one.join().unwrap_or_else(|_| Err("a session's thread panicked".to_owned())))
    })
}

fn undeclared(bench: &Bench<'_>) -> Verdict {
    let declared = bench.hsm.describe().map_err(said)?.capabilities;
    let approval = Approval::Caller;
    let key = &bench.keys.mac;
    if !declared.has(Capability::DestroyKey) {
        let want = HsmError::Unsupported(Capability::DestroyKey);
        expect_error(bench.hsm.destroy_key(key, &approval), want, "destroy_key")?;
    }
    if !declared.has(Capability::DeviceLog) {
        let want = HsmError::Unsupported(Capability::DeviceLog);
        expect_error(bench.hsm.drain_log(0, 1), want, "drain_log")?;
        expect_error(bench.hsm.signed_log_head(), want, "signed_log_head")?;
    }
    Ok(())
}

fn silent_errors(bench: &Bench<'_>) -> Verdict {
    // A published test number: the kind of message that a fingerprint is made of.
    let secret = "4242424242424242";
    let long = secret.repeat(400);
    let unknown = KeyLabel::new("no/such").map_err(|fault| fault.to_string())?.at(bench.keys.mac.version);
    let outcomes = [
        bench.hsm.mac(&unknown, secret.as_bytes()).err(),
        bench.hsm.mac(&bench.keys.kek, secret.as_bytes()).err(),
        bench.hsm.mac(&bench.keys.mac, long.as_bytes()).err(),
    ];
    for outcome in outcomes {
        let Some(error) = outcome else { return Err("a bad call was accepted".to_owned()) };
        let text = format!("{error} {error:?}");
        ensure(!text.contains("4242"), "an error repeats its input")?;
        ensure(error.class() == ErrorClass::Permanent, "a bad call would be tried again")?;
    }
    still_serves(bench.hsm, bench)
}

fn still_serves(hsm: &dyn Hsm, bench: &Bench<'_>) -> Verdict {
    hsm.mac(&bench.keys.mac, b"still here").map(drop).map_err(said)
}
