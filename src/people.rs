//! Accounts of people: a password and a second factor, which together open a session.
//!
//! Whoever is refused learns nothing of why: an unknown name, a wrong password, a wrong code, a code that was used, a
//! locked account and a disabled one get the same answer after the same work, an HSM call and a slow hash among it.

pub mod account;
mod error;
mod factors;
mod hasher;
pub mod office;
mod own;
pub mod password;
mod proof;
mod totp;

pub use error::PeopleError;
pub use factors::renew_factors;
pub use office::{Change, NewPerson};
pub use own::{Enrolment, SignedIn};
pub use proof::Shown;

use crate::record::Recorder;
use hasher::Hasher;
use proof::Decoy;
use std::sync::Arc;
use store::Store;
use tokens::Realm;
use tokio::sync::OnceCell;
use vault::Vault;

/// Tries before an account is locked (PCI DSS 8.3.4).
pub const TRIES: i64 = 10;
/// How long it is locked then (PCI DSS 8.3.4).
pub const LOCKED_US: i64 = 30 * 60 * 1_000_000;
/// How long a first password, or an account whose factor was reset, can be set up.
pub const SETUP_US: i64 = 72 * 3600 * 1_000_000;

/// The accounts. Clones share them.
#[derive(Clone)]
pub struct People(Arc<Parts>);

/// What the rooms inside use.
struct Parts {
    store: Store,
    vault: Vault,
    recorder: Recorder,
    realm: Realm,
    hasher: Hasher,
    /// What the work for an unknown name is done on.
    decoy: OnceCell<Decoy>,
}

impl People {
    /// Puts the parts together and starts the hasher's thread.
    pub fn new(store: Store, vault: Vault, recorder: Recorder, realm: Realm) -> People {
        let (hasher, decoy) = (Hasher::start(), OnceCell::new());
        People(Arc::new(Parts { store, vault, recorder, realm, hasher, decoy }))
    }
}
