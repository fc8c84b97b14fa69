//! Published test cards (networks' and processors' documentation), and as many more as a load needs.

/// Stripe's, Braintree's, Adyen's, Authorize.net's, Mastercard's and Worldpay's published numbers.
pub const PUBLISHED: &[&str] = &[
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
    "4007000000027",
    "4012888818888",
    "4222222222222",
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

/// Numbers that circulate as test cards and fail the Luhn check.
pub const BAD: &[&str] = &["4242424242424241", "3800000000000000", "5400000000000000"];

/// What the sandbox documents for a published number: `None` approves, otherwise the decline code.
pub fn decline_of(number: &str) -> Option<&'static str> {
    match number {
        "4000000000000002" => Some("card_declined"),
        "4000000000009995" => Some("insufficient_funds"),
        "4000000000000069" => Some("expired_card"),
        "4000000000000127" => Some("incorrect_cvc"),
        "4000000000000119" => Some("processing_error"),
        "4000002500003155" => Some("authentication_required"),
        _ => None,
    }
}

/// The last four digits, all that a failing test may print.
pub fn last4(number: &str) -> &str {
    number.split_at_checked(number.len().saturating_sub(4)).map_or("", |(_, last)| last)
}

/// A CVC of the right length.
pub fn cvc_for(number: &str) -> &'static str {
    if number.starts_with("34") || number.starts_with("37") { "7373" } else { "737" }
}

/// The `n`th Luhn-valid number under the test BIN 424242.
pub fn generated(n: u64) -> String {
    let body = format!("424242{n:09}");
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0');
            if place % 2 == 0 { value / 5 + value * 2 % 10 } else { value }
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}
