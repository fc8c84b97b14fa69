//! What two officers can agree to, in the one spelling that a ticket is bound to.

use std::fmt;

use hsm::{KeyLabel, KeyRef, KeyStatus, KeyVersion};

/// An act that needs two officers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// `create LABEL`
    Create(KeyLabel),
    /// `rotate LABEL`
    Rotate(KeyLabel),
    /// `status LABEL#VERSION STATUS`
    Status(KeyRef, KeyStatus),
    /// `destroy LABEL#VERSION`
    Destroy(KeyRef),
    /// `export-shares`
    ExportShares,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(label) => write!(f, "create {label}"),
            Self::Rotate(label) => write!(f, "rotate {label}"),
            Self::Status(key, status) => write!(f, "status {key} {}", status.as_str()),
            Self::Destroy(key) => write!(f, "destroy {key}"),
            Self::ExportShares => f.write_str("export-shares"),
        }
    }
}

impl Act {
    /// Reads an act; `None` for any text that is not its one spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let act = match *words.as_slice() {
            ["create", label] => Self::Create(KeyLabel::new(label).ok()?),
            ["rotate", label] => Self::Rotate(KeyLabel::new(label).ok()?),
            ["status", key, status] => Self::Status(key_ref(key)?, status_named(status)?),
            ["destroy", key] => Self::Destroy(key_ref(key)?),
            ["export-shares"] => Self::ExportShares,
            _ => return None,
        };
        (act.to_string() == text).then_some(act)
    }
}

fn key_ref(text: &str) -> Option<KeyRef> {
    let (label, version) = text.split_once('#')?;
    Some(KeyLabel::new(label).ok()?.at(KeyVersion::new(version.parse().ok()?)?))
}

fn status_named(name: &str) -> Option<KeyStatus> {
    (0..=u8::MAX).filter_map(KeyStatus::from_code).find(|status| status.as_str() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_act_has_one_spelling() {
        for text in [
            "create kek/card",
            "rotate sign/audit",
            "status kek/card#2 deactivated",
            "destroy mac/pan#4294967295",
            "export-shares",
        ] {
            assert_eq!(Act::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "create",
            "create ",
            "create  kek/card",
            "create kek/card ",
            "Create kek/card",
            "destroy kek/card",
            "destroy kek/card#0",
            "destroy kek/card#01",
            "destroy kek/card#+1",
            "destroy kek/card#1#1",
            "status kek/card#1",
            "status kek/card#1 gone",
            "export-shares now",
        ] {
            assert_eq!(Act::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_parses_is_spelled_the_same(text in "(create|rotate|status|destroy)? ?[a-z/#0-9 ]{0,20}") {
            if let Some(act) = Act::parse(&text) { prop_assert_eq!(act.to_string(), text); }
        }
    }
}
