//! Every published test number (standards §7.2) is found in every plain formatting; the deliberately bad are not.

use sweep::pan::{brand_of_pan_field, judge};
use sweep::{FieldContext, Limits, sweep_body, sweep_text};

const PUBLISHED: &[&str] = &[
    // Stripe
    "4242424242424242",
    "4000056655665556",
    "4000000000000002",
    "4000000000009995",
    "4000000000000069",
    "4000000000000127",
    "4000000000000119",
    "4000002500003155",
    "4000000000000077",
    "5555555555554444",
    "2223003122003222",
    "5200828282828210",
    "5105105105105100",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "6011000990139424",
    "6011981111111113",
    "3056930009020004",
    "36227206271667",
    "6555900000604105",
    "3566002020360505",
    "6200000000000005",
    "6200000000000047",
    "6205500000000000004",
    // Braintree
    "4111111111111111",
    "4005519200000004",
    "4009348888881881",
    "4012000033330026",
    "4012000077777777",
    "4012888888881881",
    "4217651111111119",
    "4500600000000061",
    "2223000048400011",
    "36259600000004",
    "6011000991300009",
    "3530111333300000",
    "6304000000000000",
    "6243030000000001",
    "6221261111117766",
    "6223164991230014",
    // Adyen
    "5100081112223332",
    "5577000055770004",
    "5454545454545454",
    "4988438843884305",
    "4166676667666746",
    "4444333322221111",
    "370000000000002",
    "374251018720018",
    "36006666333344",
    "6011601160116611",
    "6445644564456445",
    "3569990010095841",
    "6250947000000014",
    "6771798021000008",
    "4917610000000000003",
    // Authorize.net, Mastercard gateway, Worldpay
    "5424000000000015",
    "38000000000006",
    "6011000000000012",
    "3088000000000017",
    "5123450000000008",
    "2223000000000007",
    "4508750015741019",
    "371881634498004",
    "4917300800000000",
    "4484070000000000",
    "4462030000000000",
    "5496198584584769",
    "6759649826438453",
    "5019717010103742",
    "6011000400000000",
];

/// Thirteen digits: found where the field is named as a card, left alone elsewhere.
const SHORT: &[&str] = &["4007000000027", "4012888818888", "4222222222222"];

const BAD: &[&str] = &["4242424242424241", "3800000000000000", "5400000000000000"];

fn grouped(number: &str, separator: &str) -> String {
    let sizes: &[usize] = match number.len() {
        14 => &[4, 6, 4],
        15 => &[4, 6, 5],
        _ => &[4, 4, 4, 4, 3],
    };
    let mut groups = vec![];
    let mut rest = number;
    for size in sizes {
        let (group, after) = rest.split_at((*size).min(rest.len()));
        groups.push(group);
        rest = after;
    }
    groups.retain(|group| !group.is_empty());
    groups.join(separator)
}

fn found(text: &str, context: FieldContext) -> bool {
    !sweep_text(text, context).is_clean()
}

#[test]
fn every_published_number_is_found_in_every_plain_formatting() {
    for number in PUBLISHED {
        assert!(judge(number.as_bytes()).is_some());
        for separator in ["", " ", "-", ".", "/", "_", "\t", "\n", "\r\n", "\u{a0}", "  ", " - ", "\u{2013}"]
        {
            let text = grouped(number, separator);
            for text in
                [text.clone(), format!("card {text} please"), format!("<p>{text}</p>"), format!("x{text}x")]
            {
                assert!(found(&text, FieldContext::Plain), "{} digits by {separator:?}", number.len());
            }
        }
    }
}

#[test]
fn every_published_number_is_found_in_all_three_body_formats() {
    for number in PUBLISHED {
        let boundary = "boundaryboundaryxx";
        for (content_type, body) in [
            ("application/json".to_owned(), format!(r#"{{"x":{number}}}"#)),
            ("application/json".to_owned(), format!(r#"{{"x":["a",{{"y":"{}"}}]}}"#, grouped(number, " "))),
            ("application/x-www-form-urlencoded".to_owned(), format!("x={}", grouped(number, "+"))),
            (
                format!("multipart/form-data; boundary={boundary}"),
                format!(
                    "--{boundary}\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n{number}\r\n--{boundary}--\r\n"
                ),
            ),
        ] {
            let verdict = sweep_body(Some(&content_type), body.as_bytes(), &Limits::default());
            assert!(verdict.is_ok_and(|v| !v.is_clean()), "{content_type}");
        }
    }
}

#[test]
fn thirteen_digits_count_where_a_card_is_named() {
    for number in SHORT {
        assert!(found(number, FieldContext::Card));
        assert!(!found(number, FieldContext::Plain));
        let body = format!(r#"{{"card":{{"number":"{number}"}}}}"#);
        assert!(
            sweep_body(Some("application/json"), body.as_bytes(), &Limits::default())
                .is_ok_and(|v| !v.is_clean())
        );
    }
}

#[test]
fn a_declared_field_accepts_every_published_number_and_no_bad_one() {
    for number in PUBLISHED.iter().chain(SHORT) {
        assert!(brand_of_pan_field(number.as_bytes()).is_valid(), "{} digits", number.len());
    }
    for number in BAD {
        assert!(!brand_of_pan_field(number.as_bytes()).is_valid());
        assert!(!found(number, FieldContext::Plain));
        assert!(!found(&grouped(number, " "), FieldContext::FreeText));
    }
    assert!(brand_of_pan_field(b"4200000000000000").is_valid());
}
