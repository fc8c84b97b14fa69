//! Messages of a route: swapped in all three formats, refused wherever another card is left, swept on the way back.

use crate::support::{House, NOW, headers, tenant, typed};
use bytes::Bytes;
use http::{Method, Response, Uri};
use http_body_util::{Full, StreamBody};
use secrecy::SecretString;
use vault::{Head, Scrubbed, SettledMessage, Shape, VaultError};

const SHAPE: &str = r#"{
    "cards": [{"number": "$.card.number", "cvc": "$.card.cvc", "exp_month": "$.card.exp_month",
               "exp_year": "$.card.exp_year", "holder": "$.card.holder"}],
    "account": "$.account", "statement": "$.statement", "amount": "$.amount", "currency": "$.currency",
    "note": "$.note", "reuse": true
}"#;

fn shape() -> Shape {
    Shape::new(&serde_json::from_str(SHAPE).unwrap()).unwrap()
}

fn keeping() -> Shape {
    let text = SHAPE.replace(r#""reuse": true"#, r#""unknown_fields": "keep""#);
    Shape::new(&serde_json::from_str(&text).unwrap()).unwrap()
}

pub(crate) fn head() -> Head {
    Head {
        method: Method::POST,
        path_and_query: "/portal/payments?lang=en".to_owned(),
        headers: headers(&[("pangate-tenant", "clinic"), ("accept", "application/json")]),
    }
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
pub(crate) const MULTIPART: &str = "multipart/form-data; boundary=xXxXxXxXxXxXxXxXxX";

/// The portal's post in one of the three formats.
pub(crate) fn body(format: &str, number: &str, cvc: &str, note: &str) -> String {
    let fields = [
        ("account", "acc-a"),
        ("statement", "st-b"),
        ("amount", "125.40"),
        ("currency", "USD"),
        ("note", note),
        ("card[number]", number),
        ("card[exp_month]", "12"),
        ("card[exp_year]", "2030"),
        ("card[cvc]", cvc),
    ];
    match format {
        JSON => format!(
            r#"{{"account":"acc-a","statement":"st-b","amount":"125.40","currency":"USD","note":"{note}","card":{{"number":"{number}","exp_month":12,"exp_year":2030,"cvc":"{cvc}"}}}}"#
        ),
        FORM => form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish(),
        _ => {
            let part = |(name, value): (&str, &str)| {
                format!(
                    "--xXxXxXxXxXxXxXxXxX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                )
            };
            fields.into_iter().map(part).collect::<String>() + "--xXxXxXxXxXxXxXxXxX--\r\n"
        }
    }
}

pub(crate) async fn settled(
    house: &House,
    head: Head,
    format: &str,
    body: &str,
    shape: &Shape,
) -> Result<SettledMessage, VaultError> {
    let clinic = tenant("clinic");
    house.data_key(&clinic).await;
    let intake = typed(&house.vault, format, body).await?;
    let draft = house.vault.draft_message(&clinic, head, intake, shape).await?;
    assert_eq!(draft.facts().amount.as_deref(), Some("125.40"));
    house.store.commit(move |work| Box::pin(async move { draft.settle(work, NOW).await })).await
}

async fn scrubbed(
    house: &House,
    head: Head,
    format: &str,
    body: &str,
    shape: &Shape,
) -> Result<Scrubbed, VaultError> {
    settled(house, head, format, body, shape).await?.scrub()
}

async fn code(house: &House, head: Head, format: &str, body: &str, shape: &Shape) -> &'static str {
    scrubbed(house, head, format, body, shape).await.err().map_or("accepted", |error| error.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_all_three_formats_leave_with_a_token_and_without_the_code() {
    let house = House::open().await;
    let mut tokens = vec![];
    for format in [JSON, FORM, MULTIPART] {
        let mut message =
            settled(&house, head(), format, &body(format, "4242 4242 4242 4242", "123", "thanks"), &shape())
                .await
                .unwrap();
        let token = message.cards()[0].token.clone();
        house.vault.hold_cvc(&mut message.cards()[0]);
        let scrubbed = message.scrub().unwrap();
        let text = std::str::from_utf8(scrubbed.body()).unwrap();

        let expected = match format {
            JSON => format!(
                r#"{{"account":"acc-a","statement":"st-b","amount":"125.40","currency":"USD","note":"thanks","card":{{"number":"{token}","brand":"visa","last4":"4242","exp_month":12,"exp_year":2030}}}}"#
            ),
            FORM => form_urlencoded::Serializer::new(String::new())
                .extend_pairs([
                    ("account", "acc-a"),
                    ("statement", "st-b"),
                    ("amount", "125.40"),
                    ("currency", "USD"),
                    ("note", "thanks"),
                    ("card[number]", token.as_str()),
                    ("card[brand]", "visa"),
                    ("card[last4]", "4242"),
                    ("card[exp_month]", "12"),
                    ("card[exp_year]", "2030"),
                ])
                .finish(),
            _ => {
                assert!(
                    text.contains(token.as_str()) && text.contains("name=\"card[brand]\"\r\n\r\nvisa\r\n")
                );
                assert!(text.contains("name=\"card[last4]\"\r\n\r\n4242\r\n") && !text.contains("cvc"));
                text.to_owned()
            }
        };
        assert_eq!(text, expected);
        assert!(!text.contains("4242 4242") && !text.contains("123\""));
        assert!(house.vault.reveal(&tenant("clinic"), &token, "ch").await.unwrap().has_cvc());
        tokens.push(token);
    }
    assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]), "the route reuses");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_published_test_card_is_swapped_in_every_format() {
    let house = House::open().await;
    for number in include_str!("../vectors/test_cards.txt").lines().filter(|line| !line.starts_with('#')) {
        let cvc = if number.len() == 15 { "1234" } else { "123" };
        for format in [JSON, FORM, MULTIPART] {
            let mut message = settled(&house, head(), format, &body(format, number, cvc, "x"), &shape())
                .await
                .map_err(|e| (number, e))
                .unwrap();
            let card = message.cards()[0].card.clone();
            let scrubbed = message.scrub().unwrap();
            assert!(number.ends_with(card.last4.as_str()));
            assert_ne!(card.brand, tokens::Brand::Unknown, "{number}");
            let sent = scrubbed.body();
            assert!(
                !sent.windows(number.len()).any(|window| window == number.as_bytes()),
                "{number} {format}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_card_is_refused_wherever_it_stands() {
    let house = House::open().await;
    let plain = body(JSON, "4242424242424242", "123", "x");
    for format in [JSON, FORM, MULTIPART] {
        let in_note = body(format, "4242424242424242", "123", "my card 4111 1111 1111 1111");
        assert_eq!(code(&house, head(), format, &in_note, &shape()).await, "stray_pan", "{format}");
    }
    let (kept, as_key) = (
        plain.replace(r#""note":"x""#, r#""other":"5555555555554444""#),
        plain.replace(r#""note":"x""#, r#""4111111111111111":1"#),
    );
    assert_eq!(code(&house, head(), JSON, &kept, &keeping()).await, "stray_pan");
    assert_eq!(code(&house, head(), JSON, &as_key, &keeping()).await, "stray_pan");
    assert_eq!(
        code(&house, head(), JSON, &kept, &shape()).await,
        "stray_pan",
        "said before the unknown field"
    );
    let cvc_in_note = plain.replace(r#""note":"x""#, r#""cvv":"123""#);
    assert_eq!(code(&house, head(), JSON, &cvc_in_note, &keeping()).await, "stray_sensitive_data");

    let path = Head { path_and_query: "/portal/4111111111111111".to_owned(), ..head() };
    let query = Head { path_and_query: "/portal?c=4111+1111+1111+1111".to_owned(), ..head() };
    let header = Head { headers: headers(&[("x-card", "5555555555554444")]), ..head() };
    for head in [path, query, header] {
        assert_eq!(code(&house, head, JSON, &plain, &shape()).await, "stray_pan");
    }

    let frames = [
        http_body::Frame::data(Bytes::from(plain.clone())),
        http_body::Frame::trailers(headers(&[("x-note", "4111111111111111")])),
    ];
    let stream = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, std::convert::Infallible>)));
    let intake = house.vault.intake(&headers(&[("content-type", JSON)]), stream).await.unwrap();
    let refused = house.vault.draft_message(&tenant("clinic"), head(), intake, &shape()).await.err();
    assert_eq!(refused.map(|error| error.code()), Some("stray_pan"));
    let rows = house.tamper("UPDATE card SET brand = brand", vec![]).await;
    assert_eq!(rows, 0, "a refused message makes no token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_outside_its_shape_is_refused_by_name() {
    let house = House::open().await;
    let plain = body(JSON, "4242424242424242", "123", "x");
    for (text, expected) in [
        (plain.replace("4242424242424242", "4242424242424241"), "invalid_card_number"),
        (plain.replace(r#""number":"4242424242424242","#, ""), "missing_field"),
        (plain.replace(r#""4242424242424242""#, "4242424242424242"), "wrong_type"),
        (plain.replace(r#""exp_month":12"#, r#""exp_month":13"#), "invalid_expiry"),
        (plain.replace("2030", "2020"), "invalid_expiry"),
        (plain.replace(r#""cvc":"123""#, r#""cvc":"12""#), "invalid_cvc"),
        (plain.replace(r#""125.40""#, "125.40"), "wrong_type"),
        (plain.replace(r#""note":"x""#, &format!(r#""note":"{}""#, "x".repeat(501))), "invalid_value"),
        (plain.replace(r#""note":"x""#, r#""colour":"x""#), "unknown_field"),
        (plain.replace(r#""note":"x""#, r#""account":"x""#), "duplicate_key"),
        ("[]".to_owned(), "wrong_type"),
        ("\"x\"".to_owned(), "wrong_type"),
        (String::new(), "missing_field"),
    ] {
        assert_eq!(code(&house, head(), JSON, &text, &shape()).await, expected, "{text}");
    }
    let twice = body(FORM, "4242424242424242", "123", "x") + "&card%5Bnumber%5D=4242424242424242";
    assert_eq!(code(&house, head(), FORM, &twice, &shape()).await, "duplicate_key");
    let null = plain.replace(r#""cvc":"123""#, r#""cvc":null"#);
    assert_eq!(code(&house, head(), JSON, &null, &shape()).await, "accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_carries_our_credential_and_none_of_the_callers() {
    let house = House::open().await;
    let head = Head {
        headers: headers(&[
            ("authorization", "Bearer portal-secret"),
            ("cookie", "a=b"),
            ("connection", "x-hop, keep-alive"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("content-encoding", "gzip"),
            ("host", "portal.example"),
            ("pangate-request-id", "req_abc"),
        ]),
        ..head()
    };
    let text = body(JSON, "4242424242424242", "123", "x");
    let scrubbed = scrubbed(&house, head, JSON, &text, &shape()).await.unwrap();

    let target = Uri::from_static("https://claims.internal:9443/ignored");
    let request = scrubbed.into_request(&target, &SecretString::from("companion-key")).unwrap();

    assert_eq!(request.uri(), "https://claims.internal:9443/portal/payments?lang=en");
    assert_eq!(request.method(), Method::POST);
    let expected = headers(&[
        ("pangate-request-id", "req_abc"),
        ("content-type", "application/json"),
        ("authorization", "Bearer companion-key"),
    ]);
    assert_eq!(request.headers(), &expected);
    assert!(request.headers()["authorization"].is_sensitive());
}

async fn answer(house: &House, extra: &[(&str, &str)], body: &'static str) -> Result<Bytes, VaultError> {
    let mut response = Response::new(());
    *response.headers_mut() = headers(extra);
    let (parts, ()) = response.into_parts();
    let swept = house.vault.sweep_answer(parts, Full::new(Bytes::from_static(body.as_bytes()))).await?;
    assert!(!swept.headers().contains_key("connection"));
    Ok(swept.body().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_an_answer_that_echoes_a_card_is_withheld() {
    let house = House::open().await;
    let json = ("content-type", "application/json");
    let good = r#"{"id":"pay_a","card":{"brand":"visa","last4":"4242"}}"#;
    assert_eq!(answer(&house, &[json, ("connection", "close")], good).await.unwrap(), good.as_bytes());
    assert!(answer(&house, &[], "").await.is_ok());
    assert!(answer(&house, &[json, ("content-encoding", "gzip")], "").await.is_ok(), "an answer to HEAD");

    for (extra, body) in [
        (vec![json], r#"{"error":"no account for 4111111111111111"}"#),
        (vec![("content-type", "text/html")], "<p>4111 1111 1111 1111</p>"),
        (vec![json, ("location", "/cards/4111111111111111")], "{}"),
        (vec![json, ("set-cookie", "c=4111-1111-1111-1111")], "{}"),
    ] {
        assert_eq!(
            answer(&house, &extra, body).await.err().map(|e| e.code()),
            Some("stray_pan_in_answer"),
            "{body}"
        );
    }
    for (extra, body) in [
        (vec![], "no type"),
        (vec![json], "{"),
        (vec![("content-type", "application/octet-stream")], "x"),
        (vec![json, ("content-encoding", "gzip")], "{}"),
    ] {
        assert_eq!(answer(&house, &extra, body).await.err(), Some(VaultError::AnswerUnreadable), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_business_with_cards_comes_back_only_when_it_holds_none() {
    let house = House::open().await;
    let read = async |body: &str| {
        let intake = typed(&house.vault, JSON, body).await.unwrap();
        house.vault.plain(intake).map_err(|error| error.code())
    };
    let good = r#"{"token":"tok_test_uvzsubhuqmxxyjmzlefouuakdypdh","amount":"1.00"}"#;
    assert_eq!(read(good).await.unwrap(), good.as_bytes());
    assert_eq!(read(r#"{"token":"4111111111111111"}"#).await.err(), Some("stray_pan"));
    assert_eq!(read("{").await.err(), Some("malformed_json"));
}

#[test]
fn whatever_a_note_says_the_number_does_not_leave() {
    use proptest::prelude::*;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let house = runtime.block_on(House::open());
    let formats = prop::sample::select(vec![JSON, FORM, MULTIPART]);
    let note =
        prop_oneof![".{0,80}", "[0-9 .-]{0,40}", "(note )?4[0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}"];
    let law = |(format, note): (&str, String)| {
        let text = serde_json::to_string(&note).unwrap();
        let quoted = if format == JSON { text.trim_matches('"').to_owned() } else { note };
        let body = body(format, "5555 5555 5555 4444", "123", &quoted);
        if let Ok(scrubbed) = runtime.block_on(scrubbed(&house, head(), format, &body, &shape())) {
            let sent = String::from_utf8_lossy(scrubbed.body());
            prop_assert!(
                !sent.contains("5555 5555")
                    && !sent.contains("5555555555554444")
                    && sent.contains("tok_test_")
            );
            let content_type = if format == MULTIPART { None } else { Some(format) };
            if content_type.is_some() {
                let verdict = sweep::sweep_body(content_type, scrubbed.body(), &sweep::Limits::default());
                prop_assert_eq!(verdict, Ok(sweep::Verdict::Clean));
            }
        }
        Ok(())
    };
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    runner.run(&(formats, note), law).unwrap();
}
