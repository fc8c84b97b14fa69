//! What can go wrong with an account; every sentence says what to do, none says which factor was wrong.

use crate::answer::{Code, Problem, store_problem, vault_problem};
use store::StoreError;
use tokens::Principal;
use vault::VaultError;

/// Why something did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeopleError {
    /// Name, password or code, or the account itself; for the log, whose account it was, where there is one.
    #[error(
        "Check name, password and code, and wait for a new code if this one was used; after ten failed tries an \
         account rests for 30 minutes, and an administrator can say how it stands"
    )]
    Refused(Option<Principal>),
    /// More sign-ins than are taken at once.
    #[error("Many people are signing in; retry shortly")]
    Overloaded,
    /// No such account, or one of another tenant.
    #[error("Check the name; `pangate user list` and GET /v1/people name the accounts")]
    Unknown,
    /// The name is somebody's.
    #[error("Choose another name: every person has one of their own")]
    Taken,
    /// What the new password lacks.
    #[error("{0}")]
    Password(&'static str),
    /// The factor, or the account, is at another stage.
    #[error("{0}")]
    State(&'static str),
    /// The HSM, through the card room.
    #[error("{0}")]
    Vault(VaultError),
    /// The database.
    #[error("{0}")]
    Store(StoreError),
}

impl PeopleError {
    /// The answer to the caller.
    pub fn problem(&self) -> Problem {
        let code = match self {
            PeopleError::Refused(_) => Code::SignInRefused,
            PeopleError::Overloaded => Code::Overloaded,
            PeopleError::Unknown => Code::UnknownPerson,
            PeopleError::Taken => Code::NameTaken,
            PeopleError::Password(_) => Code::PasswordRefused,
            PeopleError::State(_) => Code::AccountState,
            PeopleError::Vault(error) => return vault_problem(error),
            PeopleError::Store(error) => return store_problem(error),
        };
        Problem::new(code, self.to_string())
    }
}

impl From<StoreError> for PeopleError {
    fn from(error: StoreError) -> Self {
        PeopleError::Store(error)
    }
}

impl From<VaultError> for PeopleError {
    fn from(error: VaultError) -> Self {
        PeopleError::Vault(error)
    }
}
