//! The one promise of all glances: what they call clean is clean to a look that spares nothing.

use crate::context::FieldContext;
use crate::document::Json;
use crate::glance_text::Signs;
use crate::work::Work;
use crate::{Limits, glance, glance_json, glance_text, leaf, tree};
use proptest::prelude::*;

/// Every reader and judge has something to do.
const ALL: Signs = Signs { digits: u32::MAX, code_word: true, exponent: true, token: true };

fn allowed(text: &str) -> Work {
    let work = Work::new();
    work.allow(text.len());
    work
}

fn keeps_its_promise(text: &str) -> Result<(), TestCaseError> {
    for context in [FieldContext::Plain, FieldContext::FreeText, FieldContext::Card] {
        let all = leaf::search(text, context, 0, &allowed(text), |_| ALL);
        if glance::is_clean(text.as_bytes()) {
            prop_assert_eq!(&all, &Ok(None), "settled: {:?}", text);
        }
        let found = |seen: &Result<Option<leaf::Seen>, _>| !matches!(seen, Ok(None));
        let spared = leaf::thoroughly(text, context, 0, &allowed(text));
        prop_assert_eq!(found(&spared), found(&all), "by its signs: {:?}", text);
    }
    Ok(())
}

fn disguise(text: &str, kind: u8) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let each = |f: &dyn Fn(char) -> String| text.chars().map(f).collect::<String>();
    match kind {
        0 => STANDARD.encode(text),
        1 => URL_SAFE_NO_PAD.encode(text),
        2 => data_encoding::BASE32.encode(text.as_bytes()).to_lowercase(),
        3 => data_encoding::HEXLOWER.encode(text.as_bytes()),
        4 => each(&|c| format!("0x{:x}, ", u32::from(c))),
        5 => each(&|c| format!("%{:02X}", u32::from(c))),
        6 => each(&|c| format!("&#{};", u32::from(c))),
        7 => each(&|c| format!("\\u{:04x}", u32::from(c))),
        8 => each(&|c| format!("={:02X}", u32::from(c))),
        9 => each(&|c| format!("{c}\u{200b}")),
        10 => each(&|c| format!("{c} ")),
        11 => format!("[{text}]"),
        12 => format!("<b>{text}</b>"),
        13 => each(&|c| format!("\\{c}")),
        14 => STANDARD.encode(text).chars().map(|c| format!("{c}\n")).collect(),
        _ => format!("{text}e{}", text.len() % 9),
    }
}

/// What the adversarial table and honest bodies are made of.
fn rows() -> Vec<String> {
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../tests/adversarial.json")).unwrap();
    let texts = rows.iter().filter_map(|row| row["content"].as_str());
    texts.filter(|text| text.len() < 2000).map(str::to_owned).collect()
}

fn cut(text: &str, at: usize) -> (&str, &str) {
    let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
    text.split_at(at)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn what_a_glance_settles_is_clean_to_a_thorough_look(
        before in "[ -~]{0,12}|[ -~]{50,70}|(GA|ef|face|0x|12 )[ .]",
        core in prop_oneof![
            "4[0-9]{15}", "(4111|5555)[ -./_,:*x#]{0,3}[0-9]{4}[ -./]{0,2}[0-9]{4}[ -./]{0,2}[0-9]{4}",
            Just("4111111111111111".to_owned()), Just("378282246310005".to_owned()), Just("42e14".to_owned()),
            Just("4111 1111 1111 1111".to_owned()), Just("cvv: 123".to_owned()), "[0-9a-f]{16,40}", "[A-Za-z0-9+/]{12,40}",
            Just("41111111MTExMTExMTE=".to_owned()), Just("{\"cvv\":123}".to_owned()), "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}",
            Just("4.1111é42e14→ü".to_owned()), "[a-z =&%<>]{0,30}[0-9 x*]{10,20}",
        ],
        kinds in proptest::collection::vec(0u8..16, 0..3),
        after in "[ -~]{0,12}|[ -~]{50,70}",
    ) {
        let core = kinds.iter().fold(core, |text, kind| disguise(&text, *kind));
        keeps_its_promise(&format!("{before}{core}{after}"))?;
    }

    #[test]
    fn rows_of_the_adversarial_table_changed_at_random_keep_it(
        row in proptest::sample::select(rows()),
        other in proptest::sample::select(rows()),
        (at, taken, from) in (0usize..400, 0usize..6, 0usize..400),
        put in "[ -~]{0,6}|[0-9]{1,4}|\\PC{0,3}",
        kind in 0u8..40,
        spliced in any::<bool>(),
    ) {
        let (head, tail) = cut(&row, at);
        let tail = cut(tail, taken).1;
        let tail = if spliced { cut(&other, from).1 } else { tail };
        let text = format!("{head}{put}{tail}");
        let text = if kind < 16 && text.len() < 200 { disguise(&text, kind) } else { text };
        keeps_its_promise(&text)?;
        if glance_json::is_clean_json(&text, &Limits::default()) {
            let json = Json::parse(text.as_bytes(), &Limits::default());
            prop_assert!(json.is_ok_and(|json| tree::sweep(&json, &[], &Work::new()) == Ok(None)), "{:?}", text);
        }
    }
}

#[test]
fn every_row_of_the_adversarial_table_keeps_it_at_every_place_of_a_block() {
    for row in rows() {
        for before in [1usize, 37, 63, 64, 100] {
            let text = format!("{} {row}", "so it goes, ".repeat(9).split_at(before).0);
            keeps_its_promise(&text).unwrap();
        }
    }
}

/// Without its prefix a text is another one, in which words or lines may be base64.
#[test]
fn a_prefix_of_hex_before_an_encoded_text_hides_nothing_from_a_glance() {
    for inner in [4, 3, 9, 10, 5, 7] {
        for outer in [0, 1, 2, 14] {
            for before in ["0x", "0x ", "0X\n", "a 0x", "0x0x", "0 0x "] {
                let text = disguise(&disguise("4111111111111111", inner), outer);
                keeps_its_promise(&format!("{before}{text}")).unwrap();
                keeps_its_promise(&format!("{text}{before}")).unwrap();
            }
        }
    }
}

#[test]
fn source_code_and_prose_are_settled_at_a_glance() {
    for text in [
        "let sum = a & b; if sum <= 12 && sum % 7 == 0 { return x = y - 1 }",
        "Patient seen at 08:15 on 2026-10-03 for follow-up of cough, temp 36.9, BP 128/82, pulse 71.\nCodes 99213, 36415.",
        "Call +1 415 555 1234 or 123e4567-e89b-12d3-a456-426614174000, batch 20261003081501234.",
    ] {
        assert!(glance_text::settles(text.as_bytes()), "{text}");
    }
}
