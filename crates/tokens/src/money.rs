//! Money: a decimal with its currency. Currencies never mix, nothing is ever a float.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::fmt;

/// ISO 4217 currencies that pangate handles, with their minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Currency {
    /// US dollar, 2 decimals.
    #[serde(rename = "USD")]
    Usd,
    /// Canadian dollar, 2 decimals.
    #[serde(rename = "CAD")]
    Cad,
    /// Euro, 2 decimals.
    #[serde(rename = "EUR")]
    Eur,
    /// Pound sterling, 2 decimals.
    #[serde(rename = "GBP")]
    Gbp,
    /// Mexican peso, 2 decimals.
    #[serde(rename = "MXN")]
    Mxn,
    /// Yen, no decimals.
    #[serde(rename = "JPY")]
    Jpy,
    /// Kuwaiti dinar, 3 decimals.
    #[serde(rename = "KWD")]
    Kwd,
}

/// The text is no currency that pangate handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown currency: use one of USD, CAD, EUR, GBP, MXN, JPY, KWD in capitals")]
pub struct CurrencyError;

impl Currency {
    const ALL: [Currency; 7] = [
        Currency::Usd,
        Currency::Cad,
        Currency::Eur,
        Currency::Gbp,
        Currency::Mxn,
        Currency::Jpy,
        Currency::Kwd,
    ];

    /// The ISO 4217 code in capitals.
    pub fn code(self) -> &'static str {
        match self {
            Currency::Usd => "USD",
            Currency::Cad => "CAD",
            Currency::Eur => "EUR",
            Currency::Gbp => "GBP",
            Currency::Mxn => "MXN",
            Currency::Jpy => "JPY",
            Currency::Kwd => "KWD",
        }
    }

    /// Digits after the decimal point (ISO 4217 minor unit).
    pub fn decimals(self) -> u32 {
        match self {
            Currency::Jpy => 0,
            Currency::Kwd => 3,
            Currency::Usd | Currency::Cad | Currency::Eur | Currency::Gbp | Currency::Mxn => 2,
        }
    }

    /// Parses an ISO 4217 code in capitals.
    ///
    /// # Errors
    /// [`CurrencyError`] for any other text.
    pub fn parse(code: &str) -> Result<Self, CurrencyError> {
        Currency::ALL.into_iter().find(|c| c.code() == code).ok_or(CurrencyError)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount, zero or more, with at most the currency's decimals and below 10^12 minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    amount: Decimal,
    currency: Currency,
}

/// What is wrong with an amount. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not digits with an optional decimal point.
    #[error("an amount is a decimal string such as \"125.40\": digits and one point, no sign, no exponent")]
    Form,
    /// More decimals than the currency has.
    #[error("the amount has more decimals than its currency")]
    Decimals,
    /// Beyond what is accepted.
    #[error("the amount is out of range: below 10^12 minor units")]
    Range,
    /// Two currencies in one sum.
    #[error("the currencies differ")]
    Currency,
    /// More taken away than there is.
    #[error("the result would be negative")]
    Negative,
}

const MINOR_LIMIT: i64 = 1_000_000_000_000;

impl Money {
    /// Zero of a currency.
    pub fn zero(currency: Currency) -> Self {
        Money { amount: Decimal::new(0, currency.decimals()), currency }
    }

    /// Parses a decimal string: digits, one optional point, no sign, no exponent, no spaces.
    ///
    /// # Errors
    /// [`MoneyError`] naming what is wrong.
    pub fn parse(amount: &str, currency: Currency) -> Result<Self, MoneyError> {
        let (whole, fraction) = match amount.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(MoneyError::Form),
            None => (amount, ""),
        };
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(MoneyError::Form);
        }
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(MoneyError::Form);
        }
        if fraction.len() > usize::try_from(currency.decimals()).unwrap_or(0) {
            return Err(MoneyError::Decimals);
        }
        if whole.len() > 13 {
            return Err(MoneyError::Range);
        }
        let amount = Decimal::from_str_exact(amount).map_err(|_| MoneyError::Form)?;
        Money::from_decimal(amount, currency)
    }

    /// From whole minor units (cents), as a database stores them.
    ///
    /// # Errors
    /// [`MoneyError::Negative`] or [`MoneyError::Range`].
    pub fn from_minor(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        if minor < 0 {
            return Err(MoneyError::Negative);
        }
        if minor >= MINOR_LIMIT {
            return Err(MoneyError::Range);
        }
        Ok(Money { amount: Decimal::new(minor, currency.decimals()), currency })
    }

    fn from_decimal(mut amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        amount.rescale(currency.decimals());
        i64::try_from(amount.mantissa())
            .map_err(|_| MoneyError::Range)
            .and_then(|minor| Money::from_minor(minor, currency))
    }

    /// Whole minor units (cents).
    pub fn minor(self) -> i64 {
        i64::try_from(self.amount.mantissa()).unwrap_or(i64::MAX)
    }

    /// The amount in major units.
    pub fn amount(self) -> Decimal {
        self.amount
    }

    /// The currency.
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// Whether nothing is left.
    pub fn is_zero(self) -> bool {
        self.amount.is_zero()
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::Currency`] or [`MoneyError::Range`].
    pub fn plus(self, other: Money) -> Result<Money, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Currency);
        }
        Money::from_minor(self.minor().saturating_add(other.minor()), self.currency)
    }

    /// What is left.
    ///
    /// # Errors
    /// [`MoneyError::Currency`], or [`MoneyError::Negative`] when `other` is more.
    pub fn minus(self, other: Money) -> Result<Money, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Currency);
        }
        Money::from_minor(self.minor().saturating_sub(other.minor()), self.currency)
    }
}

/// The decimal string alone, with all the currency's decimals: `125.40`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_decimal_strings_of_their_currency() {
        assert_eq!(Money::parse("125.40", Currency::Usd).unwrap().minor(), 12_540);
        assert_eq!(Money::parse("125.4", Currency::Usd).unwrap().to_string(), "125.40");
        assert_eq!(Money::parse("125", Currency::Jpy).unwrap().minor(), 125);
        assert_eq!(Money::parse("1.234", Currency::Kwd).unwrap().minor(), 1_234);
        for (text, currency, error) in [
            ("", Currency::Usd, MoneyError::Form),
            ("-1", Currency::Usd, MoneyError::Form),
            ("+1", Currency::Usd, MoneyError::Form),
            ("1e3", Currency::Usd, MoneyError::Form),
            ("1.", Currency::Usd, MoneyError::Form),
            (".5", Currency::Usd, MoneyError::Form),
            ("01", Currency::Usd, MoneyError::Form),
            ("1,000", Currency::Usd, MoneyError::Form),
            ("1.005", Currency::Usd, MoneyError::Decimals),
            ("1.5", Currency::Jpy, MoneyError::Decimals),
            ("10000000000.00", Currency::Usd, MoneyError::Range),
            ("99999999999999999999999999999999", Currency::Usd, MoneyError::Range),
        ] {
            assert_eq!(Money::parse(text, currency), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn taking_away_what_was_added_gives_the_same(a in 0..MINOR_LIMIT / 2, b in 0..MINOR_LIMIT / 2) {
            let (a, b) = (Money::from_minor(a, Currency::Usd).unwrap(), Money::from_minor(b, Currency::Usd).unwrap());
            prop_assert_eq!(a.plus(b).unwrap().minus(b), Ok(a));
            prop_assert_eq!(Money::parse(&a.to_string(), Currency::Usd), Ok(a));
        }

        #[test]
        fn any_text_parses_or_is_refused_without_a_panic(text in ".*") {
            let _ = Money::parse(&text, Currency::Usd);
        }
    }
}
