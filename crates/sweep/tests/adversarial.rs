//! The adversarial list of the card-number sweep, row by row, from `adversarial.json` (shared with the gateway's
//! end-to-end test): T must be found, R must be refused or found, P must pass.
#![expect(clippy::unwrap_used, reason = "a broken table fails the test")]

use base64::Engine;
use serde::Deserialize;
use sweep::{FieldContext, Limits, Undecidable, Verdict, sweep_head, sweep_line, sweep_message, sweep_text};

#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(rename = "where")]
    place: String,
    #[serde(default)]
    content: String,
    base64: Option<String>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    header: Option<String>,
    expect: String,
    note: String,
}

impl Row {
    fn bytes(&self) -> Vec<u8> {
        match &self.base64 {
            Some(text) => base64::engine::general_purpose::STANDARD.decode(text).unwrap(),
            None => self.content.clone().into_bytes(),
        }
    }

    fn sweep(&self) -> Result<Verdict, Undecidable> {
        let bytes = self.bytes();
        let text = || String::from_utf8(bytes.clone()).unwrap();
        let none: [(&str, &[u8]); 0] = [];
        match self.place.as_str() {
            "path" => Ok(sweep_head(&text(), none)),
            "query" => Ok(sweep_head(&format!("/?{}", text()), none)),
            "header" => Ok(sweep_head("/", [(self.header.as_deref().unwrap(), bytes.as_slice())])),
            "text" => Ok(sweep_line(&bytes)),
            place => {
                let by_place = match place {
                    "json" => Some("application/json"),
                    "form" => Some("application/x-www-form-urlencoded"),
                    _ => None,
                };
                let content_type = self.content_type.as_deref().or(by_place);
                sweep_message(content_type, self.content_encoding.as_deref(), &bytes, &Limits::default(), &[])
            }
        }
    }
}

fn rows() -> Vec<Row> {
    serde_json::from_str(include_str!("adversarial.json")).unwrap()
}

#[test]
fn every_row_has_its_verdict() {
    let mut wrong = vec![];
    for row in rows() {
        let verdict = row.sweep();
        let right = match row.expect.as_str() {
            "T" => matches!(&verdict, Ok(Verdict::Hit(hit)) if hit.view != "undecidable"),
            "R" => verdict.is_err(),
            "P" => verdict == Ok(Verdict::Clean),
            other => panic!("unknown expectation {other}"),
        };
        if !right {
            wrong.push(format!("{} ({}): wanted {}, got {verdict:?}", row.id, row.note, row.expect));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_table_is_large_and_its_ids_are_unique() {
    let rows = rows();
    let mut ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rows.len());
    assert!(rows.len() > 250);
}

#[test]
fn a_number_cut_at_any_place_over_two_neighbours_of_a_card_object_is_found() {
    let number = "4111111111111111";
    for at in 4..=12 {
        let (first, second) = number.split_at(at);
        let body = format!(r#"{{"card":{{"part":"{first}","part2":"{second}"}}}}"#);
        let verdict = sweep_message(Some("application/json"), None, body.as_bytes(), &Limits::default(), &[]);
        assert!(matches!(verdict, Ok(Verdict::Hit(_))), "cut at {at}");
    }
}

#[test]
fn a_hit_says_where_and_never_what() {
    for row in rows() {
        if let Ok(Verdict::Hit(hit)) = row.sweep() {
            let said = format!("{hit:?} {}", hit.place);
            let digits = said.bytes().filter(u8::is_ascii_digit).count();
            assert!(digits < 10, "{}: {said}", row.id);
        }
    }
}

#[test]
fn a_value_built_to_be_expensive_is_refused_and_not_searched_for_ever() {
    use base64::engine::general_purpose::STANDARD;
    let mut text = "4111111111111111".to_owned();
    for _ in 0..9 {
        text = STANDARD.encode(text);
    }
    assert!(!sweep_text(&text, FieldContext::Plain).is_clean());
    let tangled = "%25&#37;\\x25=25<b>".repeat(3000);
    let started = std::time::Instant::now();
    let _ = sweep_text(&tangled, FieldContext::Plain);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
