//! From which amount on a refund needs a second person, and how long the approval may take.

use tokens::{Currency, Money};

/// An approval comes within a day or not at all, in microseconds.
pub const APPROVAL_WITHIN_US: i64 = 24 * 60 * 60 * 1_000_000;

/// The first amount that one person alone may not give back: about 250 US dollars, in round sums.
fn threshold_minor(currency: Currency) -> i64 {
    match currency {
        Currency::Usd | Currency::Cad | Currency::Eur | Currency::Gbp => 25_000,
        Currency::Mxn => 500_000,
        Currency::Jpy => 40_000,
        Currency::Kwd => 75_000,
    }
}

/// Whether another person has to approve. `amount` is what one charge would have given back without a second person,
/// the new refund included: in parts below the threshold nobody gets past it.
pub fn needs_second_person(amount: Money) -> bool {
    amount.minor() >= threshold_minor(amount.currency())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_itself_needs_a_second_person_and_a_cent_less_does_not() {
        for (text, currency, wanted) in [
            ("250.00", Currency::Usd, true),
            ("249.99", Currency::Usd, false),
            ("40000", Currency::Jpy, true),
            ("39999", Currency::Jpy, false),
            ("75.000", Currency::Kwd, true),
            ("74.999", Currency::Kwd, false),
        ] {
            assert_eq!(
                needs_second_person(Money::parse(text, currency).unwrap()),
                wanted,
                "{text} {currency}"
            );
        }
    }
}
