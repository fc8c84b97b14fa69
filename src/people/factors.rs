//! Second factors follow the key that seals them: when it is rotated, or keys move to another device, each is sealed
//! anew. They are few, so whoever looks after the keys does it in passing.

use super::PeopleError;
use crate::record::{Event, Origin, Recorder};
use audit::{Action, Resource};
use store::Store;
use tokens::Principal;
use vault::{SealedFactor, Vault, VaultError};

/// Seals every factor anew that an older version of the KEK than `newest` seals; gives how many. One that does not open
/// stays as it is, is told to the log, and keeps its version from being destroyed.
///
/// # Errors
/// A part that is away; what was done before that stays done.
pub async fn renew_factors(
    store: &Store,
    vault: &Vault,
    recorder: &Recorder,
    origin: &Origin,
    newest: u32,
) -> Result<u64, PeopleError> {
    let mut reader = store.read().await?;
    let rows = reader
        .fetch_all(
            "SELECT principal, factor FROM person WHERE factor IS NOT NULL AND factor_kek_version < $1",
            vec![newest.into()],
        )
        .await?;
    drop(reader);
    let mut renewed = 0;
    for row in rows {
        let owner = Principal::parse(&row.text("principal")?).map_err(|_| VaultError::Integrity)?;
        let was = row.bytes("factor")?;
        match vault.renew_factor(&owner, &was).await {
            Ok(Some(sealed)) => renewed += replace(store, recorder, origin, owner, was, sealed).await?,
            Ok(None) => {}
            Err(VaultError::Integrity | VaultError::HsmRefused) => {
                tracing::error!(principal = owner.as_str(), "a second factor does not open; have it reset");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(renewed)
}

/// Only while it is still the one that was opened: a reset or a new enrolment wins.
async fn replace(
    store: &Store,
    recorder: &Recorder,
    origin: &Origin,
    owner: Principal,
    was: Vec<u8>,
    sealed: SealedFactor,
) -> Result<u64, PeopleError> {
    let (recorder, origin) = (recorder.clone(), origin.clone());
    store
        .commit(move |work| {
            Box::pin(async move {
                let changed = work
                    .execute(
                        "UPDATE person SET factor = $3, factor_kek_version = $4 WHERE principal = $1 AND factor = $2",
                        vec![
                            owner.as_str().into(),
                            was.into(),
                            sealed.bytes().into(),
                            sealed.kek_version().into(),
                        ],
                    )
                    .await?;
                if changed > 0 {
                    let event = Event::success(Action::DataKeyReseal, Resource::Credential(owner));
                    let _receipt = recorder.append(work, &origin, event).await?;
                }
                Ok(changed)
            })
        })
        .await
}
