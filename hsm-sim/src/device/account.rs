//! Who may log in: named accounts, each with one role, one PIN and its own count of tries.
//! Kept out: what a role may do, which `roles` says; how tries are spent, which `login` says.

use std::fmt;

use hsm::NameFault;

use super::pin::{MAX_TRIES, PinVerifier};

/// The name of an account: 1 to 32 bytes of `a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);

impl AccountName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 32;
    /// The account of the data plane, which every device has.
    pub const OPERATOR: &'static str = "operator";

    /// Reads a name.
    ///
    /// # Errors
    /// [`NameFault`] when it is empty, too long, or holds another character.
    pub fn new(text: &str) -> Result<Self, NameFault> {
        if text.is_empty() {
            return Err(NameFault::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(NameFault::TooLong);
        }
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if text.bytes().all(fits) { Ok(Self(text.to_owned())) } else { Err(NameFault::Character) }
    }

    /// The account of the data plane.
    #[must_use]
    pub fn operator() -> Self {
        Self(Self::OPERATOR.to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an account is for. Nobody holds two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Answers for keys: agrees to their making, status and end. Never uses one.
    Officer,
    /// Uses keys: the gateway's sessions. Never changes one without two officers' tickets.
    Operator,
    /// Reads and takes away the device's log.
    Auditor,
}

impl Role {
    /// Every role there is.
    pub const ALL: [Self; 3] = [Self::Officer, Self::Operator, Self::Auditor];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Officer => "officer",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }

    /// The byte that stands for it in stored forms.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Officer => 1,
            Self::Operator => 2,
            Self::Auditor => 3,
        }
    }

    /// The role a byte stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }
}

/// One account.
#[derive(Clone)]
pub struct Account {
    /// Its name, one of a kind on its device.
    pub name: AccountName,
    /// What it is for.
    pub role: Role,
    /// What is kept of its PIN.
    pub pin: PinVerifier,
    /// Wrong PINs left before it locks; 0 is locked.
    pub tries_left: u8,
}

impl Account {
    /// A new account with all its tries.
    #[must_use]
    pub fn new(name: AccountName, role: Role, pin: PinVerifier) -> Self {
        Self { name, role, pin, tries_left: MAX_TRIES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_alphabet_are_refused() {
        assert_eq!(AccountName::new(""), Err(NameFault::Empty));
        assert_eq!(AccountName::new(&"a".repeat(33)), Err(NameFault::TooLong));
        for text in ["Ada", "ada lovelace", "ada\n", "adá", "ada/1"] {
            assert_eq!(AccountName::new(text), Err(NameFault::Character), "{text:?}");
        }
        assert_eq!(AccountName::new(AccountName::OPERATOR), Ok(AccountName::operator()));
    }
}
