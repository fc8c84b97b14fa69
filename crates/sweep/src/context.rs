//! What a field's name says about its value, and the reviewed exceptions for typed fields.

/// What a name suggests about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldContext {
    /// Nothing in particular: only whole numbers count.
    #[default]
    Plain,
    /// Free text such as a note: filled-up numbers count too.
    FreeText,
    /// A card number by its name: short ranges and windows inside longer digits count too.
    Card,
    /// A card verification code by its name: three or four digits are a hit.
    VerificationCode,
}

impl FieldContext {
    /// Derives the context from a field, header or key name such as `cardNumber`, `card[number]`, `x-note`.
    pub fn of_name(name: &str) -> FieldContext {
        if name.len() > 128 {
            return FieldContext::Plain;
        }
        let words = words(name);
        let has = |list: &[&str]| words.iter().any(|w| list.contains(&w.as_str()));
        let joined = words.concat();
        if has(CODE_WORDS) || CODE_JOINED.iter().any(|phrase| joined.contains(phrase)) {
            return FieldContext::VerificationCode;
        }
        if !has(OTHER_CARDS) && (has(CARD_WORDS) || CARD_JOINED.iter().any(|phrase| joined.contains(phrase)))
        {
            return FieldContext::Card;
        }
        if has(TEXT_WORDS) { FieldContext::FreeText } else { FieldContext::Plain }
    }

    /// The context of a value inside a field of this context.
    pub(crate) fn inside(self, name: &str) -> FieldContext {
        match (self, FieldContext::of_name(name)) {
            (_, FieldContext::VerificationCode) => FieldContext::VerificationCode,
            (FieldContext::Card, inner) if is_card_detail(name) => inner,
            (FieldContext::Card, _) => FieldContext::Card,
            (FieldContext::FreeText, FieldContext::Plain) => FieldContext::FreeText,
            (_, inner) => inner,
        }
    }
}

const CODE_WORDS: &[&str] = &["cvv", "cvv2", "cvc", "cvc2", "cvn", "cvn2", "cid", "csc", "cav2"];
const CODE_JOINED: &[&str] =
    &["securitycode", "cardcode", "cardverification", "verificationvalue", "cvvcode", "cvccode", "cvvnumber"];
const CARD_WORDS: &[&str] =
    &["card", "cards", "pan", "cc", "ccn", "ccnum", "ccno", "creditcard", "debitcard"];
const CARD_JOINED: &[&str] =
    &["cardnumber", "cardnum", "cardno", "ccnumber", "creditcard", "debitcard", "primaryaccount"];
/// Cards that no network issues.
const OTHER_CARDS: &[&str] = &["insurance", "member", "medicare", "medicaid", "id", "sim", "token"];
const TEXT_WORDS: &[&str] = &[
    "note",
    "notes",
    "comment",
    "comments",
    "message",
    "memo",
    "text",
    "description",
    "remark",
    "remarks",
    "reason",
    "body",
    "subject",
    "details",
    "instructions",
    "q",
    "query",
    "search",
];

/// Members of a card object that hold no card number: their digits are judged as plain ones.
fn is_card_detail(name: &str) -> bool {
    let words = words(name);
    let has = |list: &[&str]| words.iter().any(|w| list.contains(&w.as_str()));
    has(&[
        "exp",
        "expiry",
        "expiration",
        "month",
        "year",
        "brand",
        "last4",
        "holder",
        "name",
        "zip",
        "phone",
        "id",
        "token",
    ])
}

/// Lower-case words of a name, split at case changes, digits kept with their word.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![];
    let mut word = String::new();
    let mut was_lower = false;
    for c in name.chars() {
        let ends = !c.is_ascii_alphanumeric() || (c.is_ascii_uppercase() && was_lower);
        if ends && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
        was_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A typed field whose value may look like a card number: decided in policy, reviewed, never guessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption {
    /// Steps to the field; `*` stands for any one step, such as an array index.
    pub path: Vec<String>,
    /// What the field holds. A value of another shape is swept like any other.
    pub kind: Exempt,
}

/// Shapes that a typed field may promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exempt {
    /// RFC 9562 text, 8-4-4-4-12 hex digits.
    Uuid,
    /// 64 hex digits with a letter among them.
    Sha256,
    /// SIM number: `89` and 17 or 18 more digits.
    Iccid,
    /// 15 digits that start with a reporting body: 01, 35, 86, 91, 98, 99.
    Imei,
    /// Interchange, group, trace or claim number. Still judged as a whole, but never joined with neighbours.
    ControlNumber,
}

impl Exemption {
    /// Whether this exemption speaks of the field at `path`.
    pub(crate) fn covers(&self, path: &[&str]) -> bool {
        self.path.len() == path.len()
            && self.path.iter().zip(path).all(|(mine, theirs)| mine == "*" || mine == theirs)
    }
}

impl Exempt {
    /// Whether a value of this shape needs no judgement at all.
    pub(crate) fn frees(self, value: &str) -> bool {
        let bytes = value.as_bytes();
        let digits = |length: usize| bytes.len() == length && bytes.iter().all(u8::is_ascii_digit);
        match self {
            Exempt::Uuid => {
                bytes.len() == 36
                    && bytes.iter().enumerate().all(|(place, b)| match place {
                        8 | 13 | 18 | 23 => *b == b'-',
                        _ => b.is_ascii_hexdigit(),
                    })
            }
            Exempt::Sha256 => {
                bytes.len() == 64
                    && bytes.iter().all(u8::is_ascii_hexdigit)
                    && bytes.iter().any(u8::is_ascii_alphabetic)
            }
            Exempt::Iccid => value.starts_with("89") && (digits(19) || digits(20)),
            Exempt::Imei => {
                digits(15) && ["01", "35", "86", "91", "98", "99"].iter().any(|p| value.starts_with(p))
            }
            Exempt::ControlNumber => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_suggest_what_they_say() {
        use FieldContext::{Card, FreeText, Plain, VerificationCode};
        for (name, context) in [
            ("card_number", Card),
            ("cardNumber", Card),
            ("card[number]", Card),
            ("CCNumber", Card),
            ("pan", Card),
            ("X-Card", Card),
            ("cvv", VerificationCode),
            ("card[cvc]", VerificationCode),
            ("securityCode", VerificationCode),
            ("note", FreeText),
            ("cardiology_units", Plain),
            ("company", Plain),
            ("insurance_card_number", Plain),
            ("discard", Plain),
        ] {
            assert_eq!(FieldContext::of_name(name), context, "{name}");
        }
    }

    #[test]
    fn an_exemption_frees_only_its_own_shape() {
        assert!(Exempt::Uuid.frees("123e4567-e89b-12d3-a456-426614174000"));
        assert!(!Exempt::Uuid.frees("4111111111111111"));
        assert!(!Exempt::Sha256.frees(&"4".repeat(64)));
        assert!(Exempt::Iccid.frees("8944500102198304826"));
        assert!(!Exempt::Imei.frees("378282246310005"));
    }
}
