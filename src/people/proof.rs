//! Whether somebody is who they say: the try is counted, then all of it is compared, then all of it decides at once.

use super::account::{self, Account};
use super::{Parts, People, PeopleError, password, totp};
use crate::record::{Origin, now_us};
use std::sync::{Mutex, PoisonError};
use tokens::Principal;
use vault::{FACTOR_SECRET, SealedFactor, VaultError};
use zeroize::Zeroizing;

/// What somebody shows.
pub struct Shown {
    /// The password.
    pub password: Zeroizing<String>,
    /// The authenticator app's code.
    pub code: Option<String>,
}

/// Somebody who showed everything that the account asks for. The code counts as used once
/// [`account::succeed`] says so.
pub(super) struct Proven {
    pub(super) account: Account,
    /// The step of the code; none while the account has no second factor.
    pub(super) step: Option<i64>,
}

/// What nobody's password and code are compared with, so that an unknown name costs what a known one does.
pub(super) struct Decoy {
    owner: Principal,
    password_hash: String,
    /// Made anew when the key that sealed it is gone.
    factor: Mutex<SealedFactor>,
}

impl People {
    /// Compares what is shown with the account of that name.
    ///
    /// # Errors
    /// [`PeopleError::Refused`] whatever it was that did not fit; [`PeopleError::Overloaded`], or a part that is away,
    /// whether there is such an account or not.
    pub(super) async fn prove(
        &self,
        origin: &Origin,
        name: Option<Principal>,
        shown: Shown,
    ) -> Result<Proven, PeopleError> {
        let parts = &self.0;
        let decoy = parts.decoy().await?;
        let (tried, compare) = match self.try_once(origin, name).await? {
            Some((account, compare)) => (Some(account), compare),
            None => (None, false),
        };
        let secret = parts.secret(tried.as_ref(), decoy).await?;
        let hash = tried.as_ref().map_or(&decoy.password_hash, |account| &account.password_hash).clone();
        let Shown { password, code } = shown;
        let right = parts.hasher.run(move || password::verify(&password, &hash)).await?;
        let now = now_us();
        let used = tried.as_ref().and_then(|account| account.factor_step);
        let step = totp::step_of(code.as_deref().unwrap_or_default(), &secret, now, used);
        let account = tried.ok_or(PeopleError::Refused(None))?;
        let step = if account.factor.is_some() { Some(step) } else { None };
        let fits = compare & right & account.is_open(now) & (step != Some(None));
        if fits {
            Ok(Proven { account, step: step.flatten() })
        } else {
            Err(PeopleError::Refused(Some(account.principal)))
        }
    }

    /// Counts a try, durably, before anything is compared.
    pub(super) async fn try_once(
        &self,
        origin: &Origin,
        name: Option<Principal>,
    ) -> Result<Option<(Account, bool)>, PeopleError> {
        let (recorder, origin) = (self.0.recorder.clone(), origin.clone());
        // A text that is no name costs the same statement.
        let name = match name {
            Some(name) => name,
            None => Principal::parse("nobody-of-that-name").map_err(|_| PeopleError::Refused(None))?,
        };
        self.0
            .store
            .commit(move |work| {
                Box::pin(
                    async move { Ok(account::try_once(work, &recorder, &origin, &name, now_us()).await?) },
                )
            })
            .await
    }
}

impl Parts {
    async fn decoy(&self) -> Result<&Decoy, PeopleError> {
        self.decoy
            .get_or_try_init(|| async {
                let owner = Principal::parse("nobody-of-that-name").map_err(|_| PeopleError::Overloaded)?;
                let (_, factor) = self.vault.new_factor(&owner).await?;
                let password = tokens::random_letters(40).map_err(|_| PeopleError::Overloaded)?;
                let hash = self.hasher.run(move || password::hash(&password)).await?;
                let password_hash = hash.ok_or(PeopleError::Overloaded)?;
                Ok(Decoy { owner, password_hash, factor: Mutex::new(factor) })
            })
            .await
    }

    /// The secret of the account's second factor, or the decoy's.
    async fn secret(
        &self,
        account: Option<&Account>,
        decoy: &Decoy,
    ) -> Result<Zeroizing<[u8; FACTOR_SECRET]>, PeopleError> {
        if let Some((owner, sealed)) =
            account.and_then(|found| Some((&found.principal, found.factor.as_deref()?)))
        {
            return Ok(self.vault.open_factor(owner, sealed).await?);
        }
        let sealed = decoy.factor.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match self.vault.open_factor(&decoy.owner, sealed.bytes()).await {
            // Nobody looks after a decoy when keys are destroyed or move.
            Err(VaultError::HsmRefused | VaultError::Integrity) => {
                let (secret, sealed) = self.vault.new_factor(&decoy.owner).await?;
                *decoy.factor.lock().unwrap_or_else(PoisonError::into_inner) = sealed;
                Ok(secret)
            }
            opened => Ok(opened?),
        }
    }
}
