//! Card-shaped tokens are digits, and are still never taken for a card: not in the messages they leave in, nor by the
//! companion that receives them, nor wherever a caller keeps them.

use crate::messages::{FORM, JSON, MULTIPART, body, head, settled};
use crate::support::{House, tenant};
use sweep::{FieldContext, Limits, Verdict, sweep_body, sweep_head, sweep_line, sweep_text};
use tokens::{Format, Token};
use vault::{CardsShape, Shape};

/// What the companion searches by.
const COMPANION: Limits = Limits { body: 64 * 1024, depth: 8, nodes: 512, parts: 32, ratio: 1 };

const SHAPE: &str = r#"{
    "cards": [{"number": "$.card.number", "cvc": "$.card.cvc", "exp_month": "$.card.exp_month",
               "exp_year": "$.card.exp_year"}],
    "account": "$.account", "statement": "$.statement", "amount": "$.amount", "currency": "$.currency",
    "note": "$.note", "format": "card_shaped"
}"#;

/// The `n`th number of `length` digits of an issuer that has numbers of that length.
fn number(length: usize, n: usize) -> String {
    let prefix = match length {
        12 => "6759",
        14 => "36",
        15 => "37",
        17 => "6250",
        _ => "4",
    };
    let body = format!("{prefix}{:0width$}", n * 7919, width = length - 1 - prefix.len());
    (0..10).map(|check| format!("{body}{check}")).find(|n| sweep::pan::luhn(n.as_bytes())).unwrap()
}

fn cvc(length: usize) -> &'static str {
    if length == 15 { "1234" } else { "123" }
}

fn clean(content_type: &str, body: &[u8], limits: &Limits) -> bool {
    matches!(sweep_body(Some(content_type), body, limits), Ok(Verdict::Clean))
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_a_message_with_a_card_shaped_token_leaves_and_arrives_whatever_the_length() {
    let house = House::open().await;
    let shape = Shape::new(&serde_json::from_str(SHAPE).unwrap()).unwrap();
    for length in 12..=19 {
        for (n, format) in [JSON, FORM, MULTIPART].into_iter().cycle().take(18).enumerate() {
            let text = body(format, &number(length, n), cvc(length), "thanks");
            let mut message = settled(&house, head(), format, &text, &shape).await.unwrap();
            let token = message.cards()[0].token.clone();
            assert_eq!((token.as_str().len(), message.cards()[0].format), (length, Format::CardShaped));
            let sent = message.scrub().unwrap_or_else(|error| panic!("{token} in {format}: {error}"));
            let content_type = if format == MULTIPART {
                "multipart/form-data; boundary=pangateboundarypangateboundary"
            } else {
                format
            };
            assert!(clean(content_type, sent.body(), &COMPANION), "{token} in {format}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_drawn_that_fits_beside_what_the_message_says() {
    let house = House::open().await;
    let text =
        SHAPE.replace(r#""format": "card_shaped""#, r#""format":"card_shaped","unknown_fields":"keep""#);
    let shape = Shape::new(&serde_json::from_str(&text).unwrap()).unwrap();
    // Four digits before a token of twelve make a number of Visa's length: one in ten has a valid check digit.
    for n in 0..60 {
        let text = body(JSON, &number(12, n), "123", "x")
            .replace(r#""card":{"#, &format!(r#""card":{{"suffix":"4{:03}","#, n * 13));
        let message = settled(&house, head(), JSON, &text, &shape).await.unwrap();
        assert!(message.scrub().is_ok(), "{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn card_shaped_tokens_pass_by_the_thousand_wherever_they_are_kept() {
    let house = House::open().await;
    for length in 12..=19 {
        let cards: Vec<String> = (0..256)
            .map(|n| {
                let (number, cvc) = (number(length, n), cvc(length));
                let month = 1 + n % 12;
                format!(
                    r#"{{"card":{{"number":"{number}","exp_month":{month},"exp_year":2031,"cvc":"{cvc}"}},"format":"card_shaped"}}"#
                )
            })
            .collect();
        let batch = format!(r#"{{"cards":[{}]}}"#, cards.join(","));
        let settled = house.post(&tenant("clinic"), &batch, CardsShape::Batch).await.unwrap();
        for (n, card) in settled.into_iter().enumerate() {
            let card = card.unwrap();
            assert_eq!(card.token.as_str().len(), length);
            passes(&card.token, card.card.last4.as_str(), 1 + n % 12);
        }
    }
}

/// Bodies in which callers keep tokens; none is one that the vault itself looked at.
fn passes(token: &Token, last4: &str, month: usize) {
    for context in [FieldContext::Plain, FieldContext::FreeText, FieldContext::Card] {
        assert!(sweep_text(token.as_str(), context).is_clean(), "{token}");
    }
    let json = [
        format!(
            r#"{{"account":"acc-a","amount":"125.40","card":{{"number":"{token}","brand":"visa","last4":"{last4}","exp_month":{month},"exp_year":2031,"holder":"M. Okafor"}}}}"#
        ),
        format!(
            r#"{{"card":{{"brand":"visa","exp_month":"{month:02}","exp_year":"31","last4":"{last4}","number":"{token}"}}}}"#
        ),
        format!(r#"{{"pan":"{token}","month":{month},"year":2031,"zip":"94502"}}"#),
        format!(r#"{{"cards":[{{"token":"{token}","exp_month":{month}}}]}}"#),
        format!(r#"{{"cardToken":{token},"amount":12540}}"#),
    ];
    for body in &json {
        assert!(clean(JSON, body.as_bytes(), &COMPANION), "{body}");
        assert!(clean(JSON, body.as_bytes(), &Limits::default()), "{body}");
        assert!(sweep_line(body.as_bytes()).is_clean(), "{body}");
    }
    let form = format!("card%5Bnumber%5D={token}&card%5Bexp_month%5D={month}&card%5Bexp_year%5D=2031");
    assert!(clean(FORM, form.as_bytes(), &COMPANION), "{form}");
    assert!(sweep_head(&format!("/v1/tokens/{token}"), []).is_clean(), "{token}");
}
