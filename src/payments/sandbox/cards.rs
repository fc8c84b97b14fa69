//! Which test card does what. The numbers are published by processors for testing; none was ever issued.

use crate::payments::DeclineCode;
use std::borrow::Cow;
use zeroize::Zeroizing;

/// What the test processor does with a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Approves.
    Approve,
    /// Declines.
    Decline(DeclineCode),
    /// Approves and books, and the answer never arrives.
    Silent,
}

/// Cards that do not simply approve, with the behaviour that Stripe documents for them. The last one is ours: no
/// processor publishes a card that times out, so it is a Luhn-valid number under the same test BIN, made to be
/// remembered by HTTP status 408.
const SPECIAL: &[(&str, Verdict)] = &[
    ("4000000000000002", Verdict::Decline(DeclineCode::CardDeclined)),
    ("4000000000000341", Verdict::Decline(DeclineCode::CardDeclined)),
    ("4000000000009995", Verdict::Decline(DeclineCode::InsufficientFunds)),
    ("4000000000009987", Verdict::Decline(DeclineCode::LostCard)),
    ("4000000000009979", Verdict::Decline(DeclineCode::StolenCard)),
    ("4000000000000069", Verdict::Decline(DeclineCode::ExpiredCard)),
    ("4000000000000127", Verdict::Decline(DeclineCode::IncorrectCvc)),
    ("4000000000000119", Verdict::Decline(DeclineCode::ProcessingError)),
    ("4000000000006975", Verdict::Decline(DeclineCode::CardVelocityExceeded)),
    ("4100000000000019", Verdict::Decline(DeclineCode::Fraudulent)),
    ("4000002500003155", Verdict::Decline(DeclineCode::AuthenticationRequired)),
    ("4000002760003184", Verdict::Decline(DeclineCode::AuthenticationRequired)),
    ("4000000000004087", Verdict::Silent),
];

/// Cards that approve: the lists of Stripe, Braintree, Adyen, Authorize.net, Mastercard and Worldpay.
#[rustfmt::skip]
const APPROVE: &[&str] = &[
    "4242424242424242", "4000056655665556", "4000000000000077", "5555555555554444", "2223003122003222",
    "5200828282828210", "5105105105105100", "378282246310005", "371449635398431", "6011111111111117",
    "6011000990139424", "6011981111111113", "3056930009020004", "36227206271667", "6555900000604105",
    "3566002020360505", "6200000000000005", "6200000000000047", "6205500000000000004",
    "4111111111111111", "4005519200000004", "4009348888881881", "4012000033330026", "4012000077777777",
    "4012888888881881", "4217651111111119", "4500600000000061", "2223000048400011", "36259600000004",
    "6011000991300009", "3530111333300000", "6304000000000000", "6243030000000001", "6221261111117766",
    "6223164991230014",
    "5100081112223332", "5577000055770004", "5454545454545454", "4988438843884305", "4166676667666746",
    "4444333322221111", "370000000000002", "374251018720018", "36006666333344", "6011601160116611",
    "6445644564456445", "3569990010095841", "6250947000000014", "6771798021000008", "4917610000000000003",
    "4007000000027", "4012888818888", "4222222222222", "5424000000000015", "38000000000006",
    "6011000000000012", "3088000000000017",
    "5123450000000008", "2223000000000007", "4508750015741019", "371881634498004",
    "4917300800000000", "4484070000000000", "4462030000000000", "5496198584584769", "6759649826438453",
    "5019717010103742", "6011000400000000",
];

/// Numbers under these BINs approve too: load tests need more cards than anybody publishes.
const TEST_BINS: &[&str] = &[
    "424242", "400000", "411111", "401288", "555555", "510510", "520082", "222300", "378282", "371449",
    "601111", "305693", "362272", "356600", "620000",
];

/// A card as it arrived at the processor. Wiped when dropped; of the verification code only the length is looked at.
pub(super) struct Card {
    number: Zeroizing<Vec<u8>>,
    exp_month: Option<u8>,
    exp_year: Option<u16>,
    cvc_length: Option<usize>,
}

impl Card {
    /// Reads `card[number]=…&card[exp_month]=…`; `None` when there is no number.
    pub(super) fn read(wire: &[u8]) -> Option<Card> {
        let mut card =
            Card { number: Zeroizing::new(Vec::new()), exp_month: None, exp_year: None, cvc_length: None };
        for pair in wire.split(|byte| *byte == b'&') {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
            let name = Cow::from(percent_encoding::percent_decode(name));
            match name.as_ref() {
                b"card[number]" => card.number.extend_from_slice(value),
                b"card[exp_month]" => card.exp_month = number(value),
                b"card[exp_year]" => {
                    card.exp_year =
                        number(value).map(|year: u16| if year < 100 { year + 2000 } else { year });
                }
                b"card[cvc]" => card.cvc_length = Some(value.len()),
                _ => {}
            }
        }
        (!card.number.is_empty()).then_some(card)
    }

    /// What the test network answers in that month.
    pub(super) fn judge(&self, month: u8, year: u16) -> Verdict {
        if !is_luhn_valid(&self.number) {
            return Verdict::Decline(DeclineCode::IncorrectNumber);
        }
        let special = SPECIAL.iter().find(|(number, _)| number.as_bytes() == self.number.as_slice());
        if let Some((_, verdict)) = special {
            return *verdict;
        }
        if self.exp_year.zip(self.exp_month).is_some_and(|expiry| expiry < (year, month)) {
            return Verdict::Decline(DeclineCode::ExpiredCard);
        }
        let amex = self.number.starts_with(b"34") || self.number.starts_with(b"37");
        if self.cvc_length.is_some_and(|length| length != if amex { 4 } else { 3 }) {
            return Verdict::Decline(DeclineCode::IncorrectCvc);
        }
        let known = APPROVE.iter().any(|number| number.as_bytes() == self.number.as_slice())
            || TEST_BINS.iter().any(|bin| self.number.starts_with(bin.as_bytes()));
        if known { Verdict::Approve } else { Verdict::Decline(DeclineCode::TestmodeDecline) }
    }
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok())
}

/// ISO/IEC 7812-1 annex B.
fn is_luhn_valid(digits: &[u8]) -> bool {
    let mut sum = 0u32;
    for (place, byte) in digits.iter().rev().enumerate() {
        let Some(value) = byte.checked_sub(b'0').filter(|value| *value < 10).map(u32::from) else {
            return false;
        };
        sum += if place % 2 == 0 { value } else { value / 5 + value * 2 % 10 };
    }
    (12..=19).contains(&digits.len()) && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verdict(wire: &str) -> Verdict {
        Card::read(wire.as_bytes()).unwrap().judge(11, 2026)
    }

    #[test]
    fn every_published_card_does_what_is_published() {
        for number in APPROVE {
            let cvc = if number.starts_with("37") { "1234" } else { "123" };
            let wire =
                format!("card[number]={number}&card[exp_month]=12&card[exp_year]=2030&card[cvc]={cvc}");
            assert_eq!(verdict(&wire), Verdict::Approve, "{number}");
        }
        for (number, wanted) in SPECIAL {
            assert_eq!(verdict(&format!("card%5Bnumber%5D={number}")), *wanted, "{number}");
        }
    }

    #[test]
    fn an_expired_card_a_wrong_code_and_a_strange_card_are_declined() {
        let good = "card[number]=4242424242424242";
        for (rest, wanted) in [
            ("&card[exp_month]=10&card[exp_year]=2026", Verdict::Decline(DeclineCode::ExpiredCard)),
            ("&card[exp_month]=11&card[exp_year]=26", Verdict::Approve),
            ("&card[cvc]=12", Verdict::Decline(DeclineCode::IncorrectCvc)),
            ("&card[cvc]=1234", Verdict::Decline(DeclineCode::IncorrectCvc)),
            ("", Verdict::Approve),
        ] {
            assert_eq!(verdict(&format!("{good}{rest}")), wanted, "{rest}");
        }
        assert_eq!(verdict("card[number]=4242424242424241"), Verdict::Decline(DeclineCode::IncorrectNumber));
        // 4539 57 is an issuer's own range, not one for tests.
        assert_eq!(verdict("card[number]=4539578763621486"), Verdict::Decline(DeclineCode::TestmodeDecline));
        assert!(Card::read(b"card[exp_month]=12").is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(wire in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Card::read(&wire).map(|card| card.judge(11, 2026));
        }
    }
}
