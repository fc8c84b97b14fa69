//! Entries: one spelling each, no way to carry a card number, and a verifier that finds every alteration.
#![expect(clippy::unwrap_used, reason = "a test's setup that fails is a failed test")]

use audit::{
    Action, Actor, ActorRole, Entry, FaultKind, KeyName, LeafError, LogName, Outcome, Reason, Resource,
    RouteName, Source, leaf_hash, root, verify,
};
use proptest::prelude::*;
use std::net::IpAddr;
use tokens::{ChargeId, Last4, Principal, Realm, RefundId, RequestId, Tenant, Token};

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,47}"
        .prop_filter("few digits", |text| text.bytes().filter(u8::is_ascii_digit).count() < 9)
}

fn resource() -> impl Strategy<Value = Resource> {
    prop_oneof![
        Just(Resource::None),
        any::<bool>().prop_map(|live| {
            Resource::Token(Token::mint(if live { Realm::Live } else { Realm::Test }).unwrap())
        }),
        (12usize..=19, "[0-9]{4}").prop_map(|(length, last4)| {
            let last4 = Last4::parse(&last4).unwrap();
            Resource::Token(Token::mint_card_shaped(length, &last4).unwrap().unwrap())
        }),
        Just(()).prop_map(|()| Resource::Charge(ChargeId::mint().unwrap())),
        Just(()).prop_map(|()| Resource::Refund(RefundId::mint().unwrap())),
        name().prop_map(|text| Resource::Credential(Principal::parse(&text).unwrap())),
        (name(), any::<u32>())
            .prop_map(|(text, version)| Resource::Key { label: KeyName::parse(&text).unwrap(), version }),
        (name(), any::<u32>(), any::<[u8; 32]>()).prop_map(|(text, version, evidence)| {
            Resource::DestroyedKey { label: KeyName::parse(&text).unwrap(), version, evidence }
        }),
        (name(), any::<u32>(), any::<[u8; 32]>()).prop_map(|(text, version, public)| {
            Resource::SigningKey { label: KeyName::parse(&text).unwrap(), version, public }
        }),
        any::<[u8; 32]>().prop_map(Resource::Transcript),
        any::<[u8; 16]>().prop_map(Resource::DataKey),
        name().prop_map(|text| Resource::Route(RouteName::parse(&text).unwrap())),
        name().prop_map(|text| Resource::Log(LogName::parse(&text).unwrap())),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| Source::Ip(IpAddr::from(octets))),
        any::<[u8; 16]>().prop_map(|octets| Source::Ip(IpAddr::from(octets))),
        // The worst case on purpose: address groups made of decimal digits only.
        "[1-9][0-9]{3}(:[1-9][0-9]{3}){7}".prop_map(|text| Source::Ip(text.parse().unwrap())),
        Just(Source::Console),
        Just(Source::Internal),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    // The years 0000 to 9999, in microseconds.
    let time = -62_167_219_200_000_000i64..=253_402_300_799_999_999;
    let who = (prop::sample::select(ActorRole::ALL), prop::option::of(name()), prop::option::of(name()));
    let what = (prop::sample::select(Action::ALL), resource(), prop::sample::select(Outcome::ALL));
    let why = (prop::option::of("[a-z][a-z_]{0,47}"), any::<bool>(), source());
    (time, name(), who, what, why).prop_map(|(time_us, log, who, what, why)| Entry {
        time_us,
        log: LogName::parse(&log).unwrap(),
        actor: Actor { role: who.0, principal: who.1.map(|text| Principal::parse(&text).unwrap()) },
        tenant: who.2.map(|text| Tenant::parse(&text).unwrap()),
        action: what.0,
        resource: what.1,
        outcome: what.2,
        reason: why.0.map(|text| Reason::parse(&text).unwrap()),
        request: why.1.then(|| RequestId::mint().unwrap()),
        source: why.2,
    })
}

/// The longest run of digits when everything that is neither letter nor digit is taken away.
fn longest_digit_run(text: &str) -> usize {
    let dense: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    dense.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0)
}

fn example(time_us: i64) -> Entry {
    Entry {
        time_us,
        log: LogName::parse("main").unwrap(),
        actor: Actor { role: ActorRole::Portal, principal: Some(Principal::parse("portal").unwrap()) },
        tenant: Some(Tenant::parse("north").unwrap()),
        action: Action::TokenCreate,
        resource: Resource::Key { label: KeyName::parse("kek/card").unwrap(), version: 3 },
        outcome: Outcome::Success,
        reason: None,
        request: Some(RequestId::parse("req_abcdefghijklmnopqrstuvwx").unwrap()),
        source: Source::Ip("203.0.113.195".parse().unwrap()),
    }
}

#[test]
fn a_leaf_is_spelt_as_the_format_says() {
    let expected = concat!(
        r#"{"v":1,"log":"main","time":"2026-11-23T23:28:12.123456Z","role":"portal","principal":"portal","#,
        r#""tenant":"north","action":"token_create","resource":"key:kek/card:v3","outcome":"success","#,
        r#""reason":null,"request":"req_abcdefghijklmnopqrstuvwx","source":"ip:203.0.113.195"}"#
    );
    assert_eq!(String::from_utf8(example(1_795_476_492_123_456).leaf_bytes()).unwrap(), expected);
}

#[test]
fn every_other_spelling_of_an_entry_is_refused() {
    let leaf = String::from_utf8(example(1_795_476_492_123_456).leaf_bytes()).unwrap();
    assert!(Entry::parse(leaf.as_bytes()).is_ok());
    for (from, to, error) in [
        ("\"v\":1", "\"v\": 1", LeafError::NotCanonical),
        ("\"v\":1", "\"v\":2", LeafError::Version),
        ("\"v\":1,", "", LeafError::Form),
        ("main", "m\\u0061in", LeafError::NotCanonical),
        ("main", "Main", LeafError::Field { field: "log" }),
        (".123456Z", ".1234560Z", LeafError::NotCanonical),
        (".123456Z", ".123456+00:00", LeafError::NotCanonical),
        ("203.0.", "203.00.", LeafError::Field { field: "source" }),
        ("203.0.", "256.0.", LeafError::Field { field: "source" }),
        (":v3", ":v03", LeafError::NotCanonical),
        ("\"reason\":null,", "", LeafError::NotCanonical),
        ("\"reason\":null", "\"reason\":\"4242424242424242\"", LeafError::Field { field: "reason" }),
        ("\"reason\":null", "\"reason\":null,\"note\":\"x\"", LeafError::Form),
        ("\"reason\":null", "\"reason\":null,\"reason\":null", LeafError::Form),
        ("token_create", "token_steal", LeafError::Field { field: "action" }),
    ] {
        let altered = leaf.replacen(from, to, 1);
        assert_ne!(altered, leaf);
        assert_eq!(Entry::parse(altered.as_bytes()), Err(error), "{from} to {to}");
    }
    assert_eq!(Entry::parse(format!("{leaf}\n").as_bytes()), Err(LeafError::NotCanonical));
    assert_eq!(Entry::parse(b""), Err(LeafError::Form));
}

#[test]
fn the_verifier_names_the_first_fault_and_its_kind() {
    let log = LogName::parse("main").unwrap();
    let rows: Vec<_> = (0..20u64)
        .map(|n| {
            let leaf = example(i64::try_from(n).unwrap()).leaf_bytes();
            let hash = leaf_hash(&leaf).to_vec();
            (n, leaf, hash)
        })
        .collect();
    let hashes: Vec<_> = rows.iter().map(|row| leaf_hash(&row.1)).collect();
    let report = verify(&log, rows.clone()).unwrap();
    assert_eq!((report.size, report.root, report.dated_back), (20, root(&hashes), 0));

    let fault = |rows: Vec<(u64, Vec<u8>, Vec<u8>)>| verify(&log, rows).map_err(|f| (f.position, f.kind));
    let mut altered = rows.clone();
    altered[7].1[80] ^= 1;
    assert_eq!(fault(altered.clone()), Err((7, FaultKind::HashMismatch)));
    altered[7].2 = leaf_hash(&altered[7].1).to_vec();
    assert!(matches!(fault(altered), Err((7, FaultKind::NotCanonical(_)))));
    let mut dropped = rows.clone();
    dropped.remove(3);
    assert_eq!(fault(dropped), Err((3, FaultKind::Gap)));
    let mut swapped = rows.clone();
    swapped.swap(4, 5);
    assert_eq!(fault(swapped), Err((4, FaultKind::Gap)));
    let mut cut_hash = rows.clone();
    cut_hash[9].2.pop();
    assert_eq!(fault(cut_hash), Err((9, FaultKind::HashMismatch)));
    let other = LogName::parse("other").unwrap();
    assert_eq!(verify(&other, rows.clone()).map_err(|f| f.kind), Err(FaultKind::ForeignLog));

    // Swapped and renumbered, the rows agree with each other; only the root, and so the signature, tells.
    let mut renumbered = rows;
    renumbered.swap(4, 5);
    (renumbered[4].0, renumbered[5].0) = (4, 5);
    let forged = verify(&log, renumbered).unwrap();
    assert_ne!(forged.root, root(&hashes));
    assert_eq!(forged.dated_back, 1);
}

proptest! {
    #[test]
    fn a_leaf_reads_back_as_its_entry(entry in entry()) {
        prop_assert_eq!(Entry::parse(&entry.leaf_bytes()), Ok(entry));
    }

    #[test]
    fn no_leaf_holds_twelve_digits_in_a_row_however_it_is_squeezed(entry in entry()) {
        let leaf = String::from_utf8(entry.leaf_bytes()).unwrap();
        let (before, rest) = leaf.split_once("\"time\":\"").unwrap();
        let (time, after) = rest.split_once('"').unwrap();
        prop_assert!(longest_digit_run(before) < 12);
        match entry.source {
            // Twelve digits at most, and no card number of twelve begins with 0, 1 or 2.
            Source::Ip(IpAddr::V4(address)) => {
                let address = address.to_string();
                prop_assert!(longest_digit_run(&address) < 12 || address.starts_with(['1', '2']));
                prop_assert!(longest_digit_run(&after.replace(&address, "")) < 12, "{}", after);
            }
            _ => prop_assert!(longest_digit_run(after) < 12, "{}", after),
        }
        // The time's own digits: 8 of the date, then 12 of which the first is 0, 1 or 2. No card number of 12
        // digits begins so (only Maestro has 12, and begins with 5 or 6).
        let (date, clock) = time.split_once('T').unwrap();
        prop_assert_eq!(longest_digit_run(date), 8);
        prop_assert_eq!(longest_digit_run(clock), 12);
        prop_assert!(clock.starts_with(['0', '1', '2']));
        // With the separators that join card numbers (standards: space, hyphen, dot, slash, underscore) the
        // colon is none, and the longest run of the clock is seconds and fraction.
        prop_assert!(clock.split(':').all(|part| longest_digit_run(part) <= 8));
    }

    #[test]
    fn any_bytes_parse_or_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Entry::parse(&bytes).is_err());
    }

    #[test]
    fn an_altered_leaf_is_refused_or_is_another_entry(entry in entry(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut leaf = entry.leaf_bytes();
        let at = at.index(leaf.len());
        leaf[at] ^= 1 << bit;
        if let Ok(other) = Entry::parse(&leaf) {
            prop_assert_ne!(other, entry);
        }
    }
}
