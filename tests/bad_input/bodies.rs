//! Bodies that are not what they should be.

use crate::support::System;
use crate::support::raw::{self, Raw, once, post};
use crate::{Refused, all_recorded, refusal, unharmed};
use serde_json::{Value, json};
use std::io::Write;

const ROUTE: &str = "/portal/payments";
const JSON: &str = "application/json";

/// What is sent, and the status and code that it gets.
type Case = (&'static str, &'static str, Vec<u8>, (u16, &'static str));

async fn all_refused(system: &System, cases: Vec<Case>) -> Vec<Refused> {
    let mut refusals = Vec::new();
    for (what, content_type, body, expected) in cases {
        let answer = once(system, &post(system, ROUTE, content_type, &body)).await;
        let answer = answer.unwrap_or_else(|| panic!("{what}: no answer"));
        refusals.push(refusal(what, (answer.status, &answer.body), expected));
        assert!(!answer.body.contains("42424242"), "{what}: {}", answer.body);
    }
    refusals
}

/// A payment with one field changed; `null` removes it.
fn with(system: &System, pointer: &str, value: Value) -> Vec<u8> {
    let mut payment = system.payment("4242424242424242", "1.00");
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = payment.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(name)
    } else {
        parent.insert(name.to_owned(), value)
    };
    serde_json::to_vec(&payment).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// RFC 7932 §9.2: one uncompressed meta-block, then the empty last one.
fn brotli_stored(bytes: &[u8]) -> Vec<u8> {
    let [a, b, c, _] = (u32::try_from(bytes.len() - 1).unwrap() << 4 | 1 << 20).to_le_bytes();
    [&[a, b, c], bytes, &[3]].concat()
}

/// RFC 8878 §3.1.1: a frame of one segment with a two-byte size, in one raw block that is the last.
fn zstd_stored(bytes: &[u8]) -> Vec<u8> {
    let size = u16::try_from(bytes.len() - 256).unwrap().to_le_bytes();
    let [a, b, c, _] = (u32::try_from(bytes.len()).unwrap() << 3 | 1).to_le_bytes();
    [&[0x28, 0xB5, 0x2F, 0xFD, 0x60], size.as_slice(), &[a, b, c], bytes].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_every_wrong_field_has_its_own_code() {
    let system = System::start().await;
    let field =
        |what, pointer, value, status, code| (what, JSON, with(&system, pointer, value), (status, code));
    let cases = vec![
        field("number as a number", "/card/number", json!(4242424242424242_u64), 422, "wrong_type"),
        field("number as an object", "/card/number", json!({"a": "4242424242424242"}), 422, "unknown_field"),
        field("amount as a number", "/amount", json!(125.4), 422, "wrong_type"),
        field("negative amount as a number", "/amount", json!(-1), 422, "wrong_type"),
        field("account as a number", "/account", json!(7), 422, "wrong_type"),
        field("note as a number", "/note", json!(7), 422, "wrong_type"),
        field("code as a number", "/card/cvc", json!(737), 422, "wrong_type"),
        field("card as a text", "/card", json!("visa"), 422, "unknown_field"),
        field("no card", "/card", Value::Null, 422, "missing_field"),
        field("no number", "/card/number", Value::Null, 422, "missing_field"),
        field("no month", "/card/exp_month", Value::Null, 422, "missing_field"),
        field("no year", "/card/exp_year", Value::Null, 422, "missing_field"),
        field("no amount", "/amount", Value::Null, 422, "missing_field"),
        field("no currency", "/currency", Value::Null, 422, "missing_field"),
        field("no account", "/account", Value::Null, 422, "missing_field"),
        field("no statement", "/statement", Value::Null, 422, "missing_field"),
        field("an unknown field", "/colour", json!("blue"), 422, "unknown_field"),
        field("an unknown card field", "/card/pin", json!("none"), 422, "unknown_field"),
        field("a long note", "/note", json!("x".repeat(501)), 422, "invalid_field"),
        field("Luhn", "/card/number", json!("4242424242424241"), 422, "invalid_card_number"),
        field("letters", "/card/number", json!("4242 4242 4242 424O"), 422, "invalid_card_number"),
        field("short", "/card/number", json!("42424242424"), 422, "invalid_card_number"),
        field("empty number", "/card/number", json!(""), 422, "invalid_card_number"),
        field("month 13", "/card/exp_month", json!(13), 422, "invalid_expiry"),
        field("month 0", "/card/exp_month", json!(0), 422, "invalid_expiry"),
        field("month 1e1", "/card/exp_month", json!("1e1"), 422, "invalid_expiry"),
        field("past year", "/card/exp_year", json!(2020), 422, "invalid_expiry"),
        field("far year", "/card/exp_year", json!(2099), 422, "invalid_expiry"),
        field("year 0", "/card/exp_year", json!(0), 422, "invalid_expiry"),
        field("short code", "/card/cvc", json!("12"), 422, "invalid_cvc"),
        field("long code", "/card/cvc", json!("12345"), 422, "invalid_cvc"),
        field("four digits on a Visa", "/card/cvc", json!("1234"), 422, "invalid_cvc"),
        field("letters as code", "/card/cvc", json!("abc"), 422, "invalid_cvc"),
        field("exponent", "/amount", json!("1e3"), 422, "invalid_amount"),
        field("negative", "/amount", json!("-1"), 422, "invalid_amount"),
        field("plus", "/amount", json!("+1.00"), 422, "invalid_amount"),
        field("three decimals", "/amount", json!("1.005"), 422, "invalid_amount"),
        field("zero", "/amount", json!("0.00"), 422, "invalid_amount"),
        field("empty", "/amount", json!(""), 422, "invalid_amount"),
        field("comma", "/amount", json!("1,00"), 422, "invalid_amount"),
        field("beyond all bounds", "/amount", json!("9".repeat(40)), 422, "invalid_amount"),
        field("no such currency", "/currency", json!("XXX"), 422, "invalid_amount"),
        field("small letters", "/currency", json!("usd"), 422, "invalid_amount"),
    ];
    let refusals = all_refused(&system, cases).await;
    all_recorded(&system, &refusals).await;
    unharmed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_bodies_that_cannot_be_read_are_refused_by_name() {
    let system = System::start().await;
    let payment = serde_json::to_string(&system.payment("4242424242424242", "1.00")).unwrap();
    let body = |text: &str| text.as_bytes().to_vec();
    let utf16: Vec<u8> = payment.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let members = |count: usize| {
        let members: Vec<String> = (0..count).map(|n| format!("\"k{n}\":1")).collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    };
    let form = "application/x-www-form-urlencoded";
    let cases = vec![
        ("cut off", JSON, body(&payment[..payment.len() - 1]), (400, "malformed_json")),
        ("trailing comma", JSON, body("{\"account\":\"a\",}"), (400, "malformed_json")),
        ("two documents", JSON, body(&format!("{payment}{payment}")), (400, "malformed_json")),
        ("byte order mark", JSON, body(&format!("\u{feff}{payment}")), (400, "malformed_json")),
        ("NaN", JSON, body("{\"amount\":NaN}"), (400, "malformed_json")),
        ("no UTF-8", JSON, b"{\"account\":\"\xff\"}".to_vec(), (400, "undecodable")),
        (
            "one key twice",
            JSON,
            body(&payment.replacen('{', "{\"amount\":\"9.00\",", 1)),
            (400, "duplicate_key"),
        ),
        (
            "one card field twice",
            form,
            body("card[number]=4242424242424242&card[number]=5555555555554444"),
            (400, "duplicate_key"),
        ),
        ("an array", JSON, body("[]"), (422, "wrong_type")),
        ("a text", JSON, body("\"pay\""), (422, "wrong_type")),
        ("null", JSON, body("null"), (422, "wrong_type")),
        ("empty", JSON, vec![], (422, "missing_field")),
        ("deep", JSON, [vec![b'['; 5000], vec![b']'; 5000]].concat(), (400, "too_deep")),
        ("very deep", JSON, vec![b'['; 100_000], (413, "too_large")),
        ("many keys", JSON, members(4000), (422, "unknown_field")),
        ("a hundred thousand keys", JSON, members(100_000), (413, "too_large")),
        ("broken escape", form, body("account=%zz"), (400, "malformed_form")),
        (
            "no final boundary",
            "multipart/form-data; boundary=x",
            body("--x\r\nContent-Disposition: form-data; name=\"account\"\r\n\r\na\r\n"),
            (400, "malformed_multipart"),
        ),
        ("no boundary", "multipart/form-data", body("--x--\r\n"), (415, "unsupported_media_type")),
        ("XML as JSON", JSON, body("<a/>"), (400, "malformed_json")),
        ("text", "text/plain", body(&payment), (415, "unsupported_media_type")),
        ("XML", "application/xml", body("<a/>"), (415, "unsupported_media_type")),
        ("bytes", "application/octet-stream", body(&payment), (415, "unsupported_media_type")),
        ("two types in one", "application/json, text/plain", body(&payment), (415, "unsupported_media_type")),
        ("an empty type", "", body(&payment), (415, "unsupported_media_type")),
        ("utf-7", "application/json; charset=utf-7", body(&payment), (415, "unsupported_media_type")),
        ("utf-16", "application/json; charset=utf-16", utf16.clone(), (415, "unsupported_media_type")),
        (
            "a strange parameter",
            "application/json; version=2",
            body(&payment),
            (415, "unsupported_media_type"),
        ),
    ];
    let refusals = all_refused(&system, cases).await;
    all_recorded(&system, &refusals).await;
    unharmed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_content_encodings_that_lie_or_explode_are_refused() {
    let system = System::start().await;
    let payment = serde_json::to_vec(&system.payment("4242424242424242", "1.00")).unwrap();
    let mut refusals = Vec::new();
    for (what, headers, body, expected) in [
        ("not gzip", "Content-Encoding: gzip\r\n", payment.clone(), (400, "undecodable")),
        ("cut gzip", "Content-Encoding: gzip\r\n", gzip(&payment)[..60].to_vec(), (400, "undecodable")),
        (
            "gzip and more",
            "Content-Encoding: gzip\r\n",
            [gzip(&payment), payment.clone()].concat(),
            (400, "undecodable"),
        ),
        (
            "unknown coding",
            "Content-Encoding: compress\r\n",
            payment.clone(),
            (415, "unsupported_media_type"),
        ),
        (
            "three codings",
            "Content-Encoding: gzip, gzip, gzip\r\n",
            payment.clone(),
            (415, "unsupported_media_type"),
        ),
        ("gzip bomb", "Content-Encoding: gzip\r\n", gzip(&vec![b' '; 20_000_000]), (413, "too_large")),
        (
            "double bomb",
            "Content-Encoding: gzip, gzip\r\n",
            gzip(&gzip(&vec![b' '; 50_000_000])),
            (413, "too_large"),
        ),
        ("undeclared gzip", "", gzip(&payment), (400, "undecodable")),
    ] {
        assert!(body.len() < 64 * 1024, "{what}");
        let head = raw::head(&system, "POST", ROUTE);
        let head = format!("{head}Content-Type: {JSON}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        let answer = once(&system, &[head.as_bytes(), &body].concat()).await.unwrap();
        refusals.push(refusal(what, (answer.status, &answer.body), expected));
    }
    all_recorded(&system, &refusals).await;
    unharmed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_come_compressed_once_or_twice() {
    let system = System::start().await;
    let mut payment = serde_json::to_vec(&system.payment("4242424242424242", "1.00")).unwrap();
    // Blank space behind the message, so that it fits the two-byte size of a frame.
    payment.resize(payment.len().max(300), b' ');
    let bodies = [
        ("gzip", gzip(&payment)),
        ("gzip, gzip", gzip(&gzip(&payment))),
        ("deflate", zlib(&payment)),
        ("br", brotli_stored(&payment)),
        ("zstd", zstd_stored(&payment)),
        ("br, gzip", gzip(&brotli_stored(&payment))),
    ];
    for (coding, body) in bodies {
        let head = raw::head(&system, "POST", ROUTE);
        let head = format!(
            "{head}Content-Type: {JSON}\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let answer = once(&system, &[head.as_bytes(), &body].concat()).await.unwrap();
        assert_eq!(answer.status, 201, "{coding}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_ten_megabytes_are_refused_without_being_read() {
    let system = System::start().await;
    let head = format!("{}Content-Type: {JSON}\r\n", raw::head(&system, "POST", ROUTE));

    // Announced: the answer comes before a byte of the body was sent.
    let announced =
        once(&system, format!("{head}Content-Length: 10000000\r\n\r\n").as_bytes()).await.unwrap();
    // Not announced: the answer comes while the body still flows.
    let mut stream = Raw::open(&system).await;
    stream.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
    let chunk = [b"8000\r\n".as_slice(), &vec![b' '; 0x8000], b"\r\n"].concat();
    let mut sent = 0;
    while sent < 10_000_000 && stream.send(&chunk).await {
        sent += 0x8000;
    }
    let flowing = stream.answer().await;

    let mut refusals = vec![refusal("announced", (announced.status, &announced.body), (413, "too_large"))];
    let flowing = flowing.unwrap();
    refusals.push(refusal("flowing", (flowing.status, &flowing.body), (413, "too_large")));
    all_recorded(&system, &refusals).await;
    unharmed(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_bad_bodies_of_the_other_calls_have_their_codes() {
    let system = System::start().await;
    let token = tokens::Token::mint(tokens::Realm::Test).unwrap().to_string();
    let charge = tokens::ChargeId::mint().unwrap().to_string();
    let card = json!({"number": "4242424242424242", "exp_month": 12, "exp_year": 2034});
    let cases = [
        ("portal", "/v1/tokens", json!({}), (422, "missing_field")),
        ("portal", "/v1/tokens", json!({"card": card, "colour": 1}), (422, "unknown_field")),
        ("portal", "/v1/tokens", json!({"card": card, "note": "4111111111111111"}), (400, "stray_pan")),
        ("portal", "/v1/tokens", json!({"card": card, "format": "round"}), (422, "invalid_field")),
        ("portal", "/v1/tokens", json!({"card": card, "reuse": "yes"}), (422, "wrong_type")),
        ("portal", "/v1/tokens", json!({"card": card, "expires_at": "yesterday"}), (422, "invalid_field")),
        (
            "portal",
            "/v1/tokens",
            json!({"card": card, "metadata": {"a": "4111 1111 1111 1111"}}),
            (400, "stray_pan"),
        ),
        (
            "portal",
            "/v1/tokens",
            json!({"card": card, "metadata": {"a": "cvv: 123"}}),
            (400, "stray_sensitive_data"),
        ),
        ("portal", "/v1/tokens/batch", json!({"cards": []}), (422, "invalid_field")),
        ("portal", "/v1/tokens/batch", json!({"cards": vec![card.clone(); 257]}), (422, "invalid_field")),
        ("portal", "/v1/tokens/batch", json!([card]), (400, "stray_pan")),
        ("staff", "/v1/charges", json!({"token": token, "amount": "1.00"}), (422, "missing_field")),
        (
            "staff",
            "/v1/charges",
            json!({"token": token, "amount": 1, "currency": "USD"}),
            (422, "wrong_type"),
        ),
        (
            "staff",
            "/v1/charges",
            json!({"token": token, "amount": "1e3", "currency": "USD"}),
            (422, "invalid_amount"),
        ),
        (
            "staff",
            "/v1/charges",
            json!({"token": token, "amount": "0", "currency": "USD"}),
            (422, "invalid_amount"),
        ),
        (
            "staff",
            "/v1/charges",
            json!({"token": token, "amount": "1.00", "currency": "XXX"}),
            (422, "invalid_amount"),
        ),
        (
            "staff",
            "/v1/charges",
            json!({"token": token, "amount": "1.00", "currency": "USD", "tip": 1}),
            (422, "unknown_field"),
        ),
        (
            "staff",
            "/v1/charges",
            json!({"token": "4111111111111111", "amount": "1.00", "currency": "USD"}),
            (400, "stray_pan"),
        ),
        (
            "staff",
            "/v1/charges",
            json!({"token": token, "amount": "1.00", "currency": "USD"}),
            (404, "unknown_token"),
        ),
        ("staff", "/v1/refunds", json!({"reason": "requested_by_customer"}), (422, "missing_field")),
        (
            "staff",
            "/v1/refunds",
            json!({"charge": charge, "amount": 1, "reason": "insurance_paid_later"}),
            (422, "wrong_type"),
        ),
        (
            "staff",
            "/v1/refunds",
            json!({"charge": charge, "reason": "insurance_paid_later"}),
            (404, "unknown_charge"),
        ),
    ];
    let mut refusals = Vec::new();
    for (place, (key, path, body, expected)) in cases.into_iter().enumerate() {
        let request = system.client().post(format!("{}{path}", system.url)).bearer_auth(system.key(key));
        let request = request.header("Idempotency-Key", format!("bad-{place}")).json(&body);
        let answer = crate::support::wire::Answer::of(request).await;
        let what = format!("{path} {}", body.to_string().chars().take(60).collect::<String>());
        refusals.push(refusal(&what, (answer.status.as_u16(), &answer.text), expected));
    }
    all_recorded(&system, &refusals).await;
    unharmed(&system).await;
}
