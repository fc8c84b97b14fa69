//! What people do with their own accounts: sign in and out, change the password, enrol a second factor. Each that
//! changes what is proven ends every session and opens a new one.

use super::account::{self, Account};
use super::proof::Proven;
use super::{Parts, People, PeopleError, Shown, password, totp};
use crate::caller::{Caller, Duty};
use crate::credential::session::{self, Opened};
use crate::record::{Origin, Receipt, now_us};
use audit::Action;
use std::sync::Arc;
use store::Work;
use tokens::{Principal, SessionId};
use vault::SealedFactor;
use zeroize::Zeroizing;

/// A new session and whose it is.
pub struct SignedIn {
    /// The session, with its token.
    pub opened: Opened,
    /// Whose.
    pub account: Account,
    /// What has to be done first.
    pub duty: Option<Duty>,
}

/// A secret for an authenticator app, shown this once.
pub struct Enrolment {
    /// In Base32, to be typed.
    pub secret: Zeroizing<String>,
    /// The `otpauth` address, to be shown as a picture.
    pub address: Zeroizing<String>,
}

impl People {
    /// Opens a session.
    ///
    /// # Errors
    /// [`PeopleError::Refused`], whatever it was; [`PeopleError::Overloaded`]; or a part that is away.
    pub async fn sign_in(
        &self,
        origin: &Origin,
        name: Option<Principal>,
        shown: Shown,
    ) -> Result<(SignedIn, Receipt), PeopleError> {
        let proven = self.prove(origin, name, shown).await?;
        let (parts, origin) = (Arc::clone(&self.0), proven.account.origin(origin));
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let now = spend(work, &proven).await?;
                    let account = proven.account;
                    let second = proven.step.map(|_| now);
                    let duty = match (account.must_change, second) {
                        (true, _) => Some(Duty::ChangePassword),
                        (false, None) => Some(Duty::EnrolFactor),
                        (false, Some(_)) => None,
                    };
                    parts.opened(work, &origin, account, (second, duty), "signed_in").await
                })
            })
            .await
    }

    /// Ends the caller's session.
    ///
    /// # Errors
    /// The store's error.
    pub async fn sign_out(
        &self,
        origin: &Origin,
        caller: &Caller,
        id: &SessionId,
    ) -> Result<Receipt, PeopleError> {
        let (parts, origin, id) = (Arc::clone(&self.0), origin.clone(), id.clone());
        let owner = (caller.principal().clone(), caller.tenant().cloned());
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    session::end(work, &id).await?;
                    let owner = (&owner.0, owner.1);
                    let ended = Action::SessionEnd;
                    Ok(account::record(work, &parts.recorder, &origin, owner, ended, "signed_out").await?)
                })
            })
            .await
    }

    /// Gives the account another password.
    ///
    /// # Errors
    /// [`PeopleError::Refused`] as for a sign-in, [`PeopleError::Password`] for what the new one lacks.
    pub async fn change_password(
        &self,
        origin: &Origin,
        name: &Principal,
        shown: Shown,
        new: Zeroizing<String>,
    ) -> Result<(SignedIn, Receipt), PeopleError> {
        password::judge(&new, name).map_err(PeopleError::Password)?;
        let proven = self.prove(origin, Some(name.clone()), shown).await?;
        let former = proven.account.former();
        let (earlier, password) = (former.clone(), new.clone());
        let used =
            self.0.hasher.run(move || earlier.iter().any(|hash| password::verify(&password, hash))).await?;
        if used {
            return Err(PeopleError::Password("Choose a password that is none of your last four"));
        }
        let hash = self.0.hasher.run(move || password::hash(&new)).await?.ok_or(PeopleError::Overloaded)?;
        let (parts, origin) = (Arc::clone(&self.0), proven.account.origin(origin));
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let now = spend(work, &proven).await?;
                    let account = proven.account;
                    let former = former.get(..password::REMEMBERED - 1).unwrap_or(&former).join("\n");
                    work.execute(
                        "UPDATE person SET password_hash = $2, password_former = $3, password_changed_at = $4, \
                         must_change = 0, setup_until = CASE WHEN factor IS NULL THEN setup_until END \
                         WHERE principal = $1",
                        vec![
                            account.principal.as_str().into(),
                            hash.into(),
                            former.into(),
                            now.into(),
                        ],
                    )
                    .await?;
                    session::end_all(work, &account.principal).await?;
                    let second = proven.step.map(|_| now);
                    let duty = second.is_none().then_some(Duty::EnrolFactor);
                    let _receipt = parts.changed(work, &origin, &account, "password_changed").await?;
                    parts.opened(work, &origin, account, (second, duty), "password_changed").await
                })
            })
            .await
    }

    /// Draws a secret for the owner's authenticator app; it counts once [`People::confirm_factor`] saw its code. Whoever
    /// has a factor shows a code of it.
    ///
    /// # Errors
    /// [`PeopleError::Refused`] as for a sign-in, [`PeopleError::State`] before the first password is changed.
    pub async fn begin_factor(
        &self,
        origin: &Origin,
        name: &Principal,
        shown: Shown,
    ) -> Result<(Enrolment, Receipt), PeopleError> {
        let proven = self.prove(origin, Some(name.clone()), shown).await?;
        if proven.account.must_change {
            return Err(PeopleError::State("Change the first password, then enrol a second factor"));
        }
        let (secret, sealed) = self.0.vault.new_factor(name).await?;
        let enrolment = Enrolment {
            secret: Zeroizing::new(totp::spelt(&secret)),
            address: Zeroizing::new(totp::address(name, &secret)),
        };
        let (parts, origin) = (Arc::clone(&self.0), proven.account.origin(origin));
        let receipt = self
            .0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    spend(work, &proven).await?;
                    let account = proven.account;
                    work.execute(
                        "UPDATE person SET factor_pending = $2 WHERE principal = $1",
                        vec![account.principal.as_str().into(), sealed.bytes().into()],
                    )
                    .await?;
                    let receipt = parts.changed(work, &origin, &account, "factor_begun").await?;
                    Ok::<Receipt, PeopleError>(receipt)
                })
            })
            .await?;
        Ok((enrolment, receipt))
    }

    /// The first code of the new secret: from now on it is the account's second factor.
    ///
    /// # Errors
    /// [`PeopleError::State`] when none was begun, [`PeopleError::Refused`] for a wrong code, which counts as a try.
    pub async fn confirm_factor(
        &self,
        origin: &Origin,
        name: &Principal,
        code: &str,
    ) -> Result<(SignedIn, Receipt), PeopleError> {
        let tried = self.try_once(origin, Some(name.clone())).await?;
        let (account, compare) = tried.ok_or(PeopleError::Refused(None))?;
        let begin = PeopleError::State("Begin with POST /v1/account/factor, which gives the secret");
        let pending = account.factor_pending.clone().ok_or(begin)?;
        let secret = self.0.vault.open_factor(name, &pending).await?;
        let now = now_us();
        let step = totp::step_of(code, &secret, now, None);
        let step = step.filter(|_| compare && account.is_open(now));
        let step = step.ok_or_else(|| PeopleError::Refused(Some(name.clone())))?;
        let kek = SealedFactor::parse(&pending)?.kek_version();
        let (parts, origin) = (Arc::clone(&self.0), account.origin(origin));
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let now = now_us();
                    let taken = work
                        .execute(
                            "UPDATE person SET factor = factor_pending, factor_pending = NULL, factor_kek_version = $3, \
                             factor_since = $4, factor_step = $5, setup_until = NULL, failures = 0, \
                             locked_until = NULL, last_login_at = $4 \
                             WHERE principal = $1 AND factor_pending = $2 AND state = 'active' AND must_change = 0",
                            vec![
                                account.principal.as_str().into(),
                                pending.into(),
                                kek.into(),
                                now.into(),
                                step.into(),
                            ],
                        )
                        .await?;
                    if taken == 0 {
                        return Err(PeopleError::Refused(Some(account.principal)));
                    }
                    session::end_all(work, &account.principal).await?;
                    let _receipt = parts.changed(work, &origin, &account, "factor_enrolled").await?;
                    parts.opened(work, &origin, account, (Some(now), None), "factor_enrolled").await
                })
            })
            .await
    }
}

/// The code is used, and what was compared still holds; gives the time of that.
async fn spend(work: &mut Work<'_>, proven: &Proven) -> Result<i64, PeopleError> {
    let now = now_us();
    let spent = account::succeed(work, &proven.account, proven.step, now).await?;
    if spent { Ok(now) } else { Err(PeopleError::Refused(Some(proven.account.principal.clone()))) }
}

impl Parts {
    /// Records inside `work` what the owner changed.
    async fn changed(
        &self,
        work: &mut Work<'_>,
        origin: &Origin,
        account: &Account,
        reason: &str,
    ) -> Result<Receipt, PeopleError> {
        let owner = (&account.principal, account.tenant.clone());
        Ok(account::record(work, &self.recorder, origin, owner, Action::CredentialChange, reason).await?)
    }

    /// Opens a session for the account inside `work`, recorded.
    async fn opened(
        &self,
        work: &mut Work<'_>,
        origin: &Origin,
        account: Account,
        (second, duty): (Option<i64>, Option<Duty>),
        reason: &str,
    ) -> Result<(SignedIn, Receipt), PeopleError> {
        let opened = session::open(work, self.realm, &account.principal, second).await?;
        let owner = (&account.principal, account.tenant.clone());
        let receipt =
            account::record(work, &self.recorder, origin, owner, Action::SessionOpen, reason).await?;
        Ok((SignedIn { opened, account, duty }, receipt))
    }
}
