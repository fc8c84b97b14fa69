//! Honest traffic that looks dangerous: it must pass, or staff will ask for the sweep to be switched off.

use crate::support::System;

/// Values of clinics' daily traffic, by what they are.
const HONEST: &[(&str, &str)] = &[
    ("NPI with its prefix", "808401234567893"),
    ("NPI", "1234567893"),
    ("X12 reference", "94060555410000"),
    ("X12 line", "REF*D9*94060555410000~"),
    ("interchange control number", "000000905"),
    ("claim control number", "119932404007801"),
    ("UUID", "123e4567-e89b-12d3-a456-426614174000"),
    ("SHA-256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("milliseconds", "1700000000000"),
    ("nanoseconds", "1700000000000000000"),
    ("snowflake", "1175928847299117063"),
    ("tracking number", "1Z999AA10123456784"),
    ("GTIN-14", "10614141543219"),
    ("ICCID", "8944500102198304826"),
    ("IMEI", "356938035643809"),
    ("phone numbers", "+1 202 555 0143, +1 202 555 0178, +1 202 555 0199"),
    ("EIN and SSN", "EIN 12-3456789 SSN 078-05-1120"),
    ("NDC", "NDC 0777-3105-02"),
    ("procedure codes", "99213 99214 99215 36415"),
    ("dates", "2026-11-23 2026-11-24 2026-12-01"),
    ("amounts", "125.40 USD, 80.00 USD, 45.40 USD"),
    ("masked", "4532 XXXX XXXX 0366"),
    ("first six and last four", "411111******1111"),
    ("stars", "**** **** **** 4242"),
    ("last four", "card ending in 4242"),
    ("token", "tok_test_abcdefghijklmnopqrstuvwxyzabc"),
    ("thanks", "Danke schön, здравствуйте, 謝謝 — see you on the 4th"),
];

#[tokio::test(flavor = "multi_thread")]
async fn honest_numbers_pass_in_the_note() {
    let system = System::start().await;
    let mut refused = Vec::new();
    for (what, value) in HONEST {
        let mut payment = system.payment("4242424242424242", "0.10");
        payment["note"] = (*value).into();
        let answer = system.post("portal", "/portal/payments", &payment).await;
        if answer.status != 201 {
            refused.push(format!("{what}: {} {}", answer.status, answer.code()));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert_eq!(system.posted_payments().await, HONEST.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_numbers_reach_the_companion_as_account_and_statement() {
    let system = System::start().await;
    for (what, value) in HONEST {
        for field in ["account", "statement"] {
            let before = system.companion_messages();
            let mut payment = system.payment("4242424242424242", "0.10");
            payment[field] = (*value).into();
            let answer = system.post("portal", "/portal/payments", &payment).await;
            // The companion knows no such account; that is its word, not the sweep's.
            assert_eq!(answer.status, 404, "{what} as {field}: {}", answer.text);
            assert_eq!(system.companion_messages(), before + 1, "{what} as {field}: {}", answer.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_full_of_tokens_are_never_taken_for_cards() {
    let system = System::start().await;
    // 500 characters hold twelve tokens; the sweep's own tests see a million one by one.
    for _ in 0..40 {
        let tokens: Vec<String> =
            (0..12).map(|_| tokens::Token::mint(tokens::Realm::Test).unwrap().to_string()).collect();
        let mut payment = system.payment("4242424242424242", "0.10");
        payment["note"] = tokens.join(" ").into();
        let answer = system.post("portal", "/portal/payments", &payment).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
}
