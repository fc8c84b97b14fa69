//! What may be known of a card outside the card room: brand, last four, expiry. Never more.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The card network, as the contract names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Brand {
    /// Visa.
    Visa,
    /// Mastercard.
    Mastercard,
    /// American Express.
    Amex,
    /// Discover.
    Discover,
    /// Diners Club.
    Diners,
    /// JCB.
    Jcb,
    /// UnionPay.
    Unionpay,
    /// Maestro.
    Maestro,
    /// Mir.
    Mir,
    /// Elo.
    Elo,
    /// Hipercard or Hiper.
    Hipercard,
    /// Troy.
    Troy,
    /// Verve.
    Verve,
    /// RuPay.
    Rupay,
    /// Dankort.
    Dankort,
    /// UATP.
    Uatp,
    /// None of the above.
    Unknown,
}

impl Brand {
    /// Every brand, in the order of the contract.
    pub const ALL: [Brand; 17] = [
        Brand::Visa,
        Brand::Mastercard,
        Brand::Amex,
        Brand::Discover,
        Brand::Diners,
        Brand::Jcb,
        Brand::Unionpay,
        Brand::Maestro,
        Brand::Mir,
        Brand::Elo,
        Brand::Hipercard,
        Brand::Troy,
        Brand::Verve,
        Brand::Rupay,
        Brand::Dankort,
        Brand::Uatp,
        Brand::Unknown,
    ];

    /// The brand's name in JSON, in the database and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Brand::Visa => "visa",
            Brand::Mastercard => "mastercard",
            Brand::Amex => "amex",
            Brand::Discover => "discover",
            Brand::Diners => "diners",
            Brand::Jcb => "jcb",
            Brand::Unionpay => "unionpay",
            Brand::Maestro => "maestro",
            Brand::Mir => "mir",
            Brand::Elo => "elo",
            Brand::Hipercard => "hipercard",
            Brand::Troy => "troy",
            Brand::Verve => "verve",
            Brand::Rupay => "rupay",
            Brand::Dankort => "dankort",
            Brand::Uatp => "uatp",
            Brand::Unknown => "unknown",
        }
    }

    /// The brand of that name; [`Brand::Unknown`] for any other text.
    pub fn from_name(name: &str) -> Brand {
        Brand::ALL.into_iter().find(|brand| brand.as_str() == name).unwrap_or(Brand::Unknown)
    }
}

impl fmt::Display for Brand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The last four digits of a card, which PCI DSS 3.4.1 lets anyone see.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Last4(String);

/// Not four digits. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("last four are exactly four digits")]
pub struct Last4Error;

impl Last4 {
    /// Parses exactly four ASCII digits.
    ///
    /// # Errors
    /// [`Last4Error`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Last4Error> {
        if text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Last4(text.to_owned()))
        } else {
            Err(Last4Error)
        }
    }

    /// The four digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Last4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Last4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Last4 {
    type Error = Last4Error;
    fn try_from(text: String) -> Result<Self, Last4Error> {
        Last4::parse(&text)
    }
}

impl From<Last4> for String {
    fn from(last4: Last4) -> String {
        last4.0
    }
}

/// Month and year through whose end a card is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry {
    year: u16,
    month: u8,
}

/// The expiry is no date a card can bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExpiryError {
    /// Months are 1 to 12.
    #[error("exp_month is 1 to 12")]
    Month,
    /// Years are four digits, 2000 to 2099.
    #[error("exp_year has four digits, 2000 to 2099")]
    Year,
}

impl Expiry {
    /// Month 1 to 12, year 2000 to 2099. Says nothing about whether it is past.
    ///
    /// # Errors
    /// [`ExpiryError`] naming the part out of range.
    pub fn new(month: u8, year: u16) -> Result<Self, ExpiryError> {
        if !(1..=12).contains(&month) {
            return Err(ExpiryError::Month);
        }
        if !(2000..=2099).contains(&year) {
            return Err(ExpiryError::Year);
        }
        Ok(Expiry { year, month })
    }

    /// 1 to 12.
    pub fn month(self) -> u8 {
        self.month
    }

    /// Four digits.
    pub fn year(self) -> u16 {
        self.year
    }

    /// Whether the card is past its date in that month (a card is good through the end of its month).
    pub fn is_past(self, month: u8, year: u16) -> bool {
        (self.year, self.month) < (year, month)
    }
}

/// What an answer may say of a card: `{"brand","last4","exp_month","exp_year"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskedCard {
    /// The network.
    pub brand: Brand,
    /// The last four digits.
    pub last4: Last4,
    /// 1 to 12.
    pub exp_month: u8,
    /// Four digits.
    pub exp_year: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_good_through_the_end_of_its_month() {
        let expiry = Expiry::new(11, 2026).unwrap();
        assert!(!expiry.is_past(11, 2026));
        assert!(expiry.is_past(12, 2026));
        assert!(expiry.is_past(1, 2027));
        assert!(!expiry.is_past(12, 2025));
        assert_eq!(Expiry::new(13, 2030), Err(ExpiryError::Month));
        assert_eq!(Expiry::new(12, 30), Err(ExpiryError::Year));
    }

    #[test]
    fn every_brand_is_found_by_its_name() {
        for brand in Brand::ALL {
            assert_eq!(Brand::from_name(brand.as_str()), brand);
            assert_eq!(serde_json::to_string(&brand).unwrap(), format!("\"{}\"", brand.as_str()));
        }
    }
}
